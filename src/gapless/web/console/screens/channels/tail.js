/** The live tail: what is published now, however fast. */
import { count, counted, rate } from "../../format.js";
import { html, useEffect, useMemo, useSignal, useState } from "../../lib.js";
import { client } from "../../live.js";
import { enter, refine } from "../../route.js";
import { Empty, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { MessageList } from "../../ui/messages.js";
import { resend } from "./draft.js";
import { followed } from "./following.js";
import { Tail as Model, WAITING_MAX } from "./tailing.js";

const RATE_MS = 1_000;

/** @param {{channel: string}} props */
export function Tail({ channel }) {
  const tail = useMemo(() => new Model(channel), [channel]);
  const [, show] = useState(0);
  const filter = useChosen("filter");
  const draw = useMemo(() => inFrames(tail, () => show((frame) => frame + 1)), [tail]);
  useEffect(() => followed(tail, draw), [tail, client.value]);
  useEffect(() => {
    tail.filter(filter);
    draw();
  }, [tail, filter]);
  const pause = (/** @type {boolean} */ paused) => {
    tail.paused = paused;
    draw();
  };
  return html`
    <div class="stack">
      <${Controls} tail=${tail} filter=${filter} pause=${pause} clear=${() => (tail.clear(), draw())} />
      ${tail.rows.length
        ? html`<${MessageList} id="tail-rows" label="Messages, the newest first" channel=${channel} items=${tail.rows}
            pressed=${(/** @type {any} */ _, /** @type {boolean} */ open) => open && pause(true)} resend=${(/** @type {any} */ message) => resend(channel, message)} />`
        : html`<${Empty} title=${tail.paused ? "Paused" : "Waiting for messages"}>
            <p>Publish one: <a href="?" onClick=${toPublish}>here</a>, or ${command(`publish ${channel} '{"text": "hi"}'`)}</p>
          <//>`}
    </div>
  `;
}

/** @param {Event} event */
function toPublish(event) {
  event.preventDefault();
  enter({ tab: "publish" });
}

/**
 * Return what asks for a frame, in which rows are built and shown; as often as it is called, there is one at a time.
 * @param {Model} tail
 * @param {() => void} show
 */
function inFrames(tail, show) {
  let asked = false;
  const draw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      if (tail.build()) draw();
      show();
    });
  };
  return draw;
}

/** @param {{tail: Model, filter: string, pause: (paused: boolean) => void, clear: () => void}} props */
function Controls({ tail, filter, pause, clear }) {
  const { paused, news } = tail;
  return html`
    <div class="row tail-controls">
      <button type="button" class=${paused ? "primary" : ""} aria-pressed=${paused} onClick=${() => pause(!paused)}>
        ${paused ? (news ? `Resume: ${count(news)} new` : "Resume") : "Pause"}
      </button>
      <input type="search" aria-label="Filter by text" placeholder="Filter by text" value=${filter}
        onInput=${(/** @type {any} */ event) => refine({ filter: event.target.value })} />
      <button type="button" class="plain" onClick=${clear}>Clear</button>
      <p class="tail-count"><strong id="tail-count" data-count=${tail.received}>${count(tail.received)}</strong> ${tail.received === 1 ? "message" : "messages"}${filter && html`, <strong>${count(tail.matched)}</strong> with it`}, <${Rate} tail=${tail} /></p>
    </div>
    ${paused && html`<p class="note warn">${whilePaused(tail)}</p>`}
  `;
}

/** @param {Model} tail */
function whilePaused({ passed, news }) {
  if (!news) return "Paused. What comes is counted, and waits here.";
  const gone = passed.number ? ` The newest ${WAITING_MAX} wait here; ${count(passed.number)} before them can be read in History.` : "";
  return `Paused. ${counted(news, "message")} came since.${gone}`;
}

/** How many came in the last second. @param {{tail: Model}} props */
function Rate({ tail }) {
  const seen = useSignal({ before: tail.received, rate: 0 });
  useEffect(() => {
    const timer = setInterval(() => {
      const { received } = tail;
      seen.value = { before: received, rate: received - seen.peek().before };
    }, RATE_MS);
    return () => clearInterval(timer);
  }, [tail]);
  return html`<span class="rate">${rate(seen.value.rate)}</span> a second`;
}
