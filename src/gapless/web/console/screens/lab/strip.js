/** The strip beside the faults: whether the promises hold, in numbers, and over the last minute. */
import { count, counted } from "../../format.js";
import { html, useEffect, useRef, useState } from "../../lib.js";
import { Act } from "../../ui/acting.js";
import { Badge, ErrorNote, Panel, Stat } from "../../ui/basics.js";
import { CHANNEL, NOTHING, observe } from "./observing.js";

/** @typedef {import("./observing.js").Seen} Seen */
/** @typedef {import("./observing.js").Bucket} Bucket */

const BARS = 120;
const HEIGHT = 40;
const FULL = 12; // in half a second; more is a full bar

/** An observer that one starts and ends; it ends with the screen. @returns {{seen: Seen, start: () => Promise<void>, end: () => void}} */
export function useObserver() {
  const [seen, setSeen] = useState(NOTHING);
  const ending = useRef(() => {});
  const end = () => {
    ending.current();
    setSeen((last) => ({ ...last, state: "", client: "" }));
  };
  const start = async () => {
    ending.current();
    ending.current = observe(setSeen);
  };
  useEffect(() => () => ending.current(), []);
  return { seen, start, end };
}

/** @param {{observer: ReturnType<typeof useObserver>}} props */
export function Strip({ observer: { seen, start, end } }) {
  const running = seen.state !== "";
  const aside = html`
    <${State} seen=${seen} />
    ${running ? html`<button type="button" onClick=${end}>Stop watching</button>` : html`<${Act} class="primary" act=${start}>Watch<//>`}
  `;
  return html`
    <${Panel} title="Do the promises hold?" class="strip" aside=${aside}>
      <div class="stack">
        <${Numbers} seen=${seen} />
        <${Timeline} buckets=${seen.buckets} />
        ${seen.error && html`<${ErrorNote} error=${new Error(seen.error)} />`}
      </div>
    <//>
  `;
}

/** @param {{seen: Seen}} props */
function State({ seen }) {
  if (!seen.state) return null;
  return html`<${Badge} tone=${seen.state === "live" ? "good" : "warn"}>${seen.state === "live" ? "reads live" : seen.state}<//>`;
}

/** @param {{seen: Seen}} props */
function Numbers({ seen }) {
  const waits = seen.waiting > 1 ? `${count(seen.waiting)} wait to be sent` : seen.refused ? `${counted(seen.refused, "call")} made again` : "and acknowledged";
  return html`
    <div class="stats six">
      <${Stat} label="Sent" value=${count(seen.acked)} note=${waits} />
      <${Stat} label="Received" value=${count(seen.received)} note="by the reader" />
      <${Stat} label="Missing now" value=${count(seen.missing)} tone=${seen.missing > 1 ? "warn" : seen.acked ? "good" : ""} note=${seen.missing > 1 ? "on their way" : "nothing"} />
      <${Stat} label="Twice" value=${count(seen.duplicates)} tone=${seen.duplicates ? "bad" : seen.acked ? "good" : ""} note="has to stay 0" />
      <${Stat} label="Out of order" value=${count(seen.disordered)} tone=${seen.disordered ? "bad" : seen.acked ? "good" : ""} note="has to stay 0" />
      <${Stat} label="Recovered" value=${count(seen.recovered)} tone=${seen.losses ? "bad" : ""} note=${seen.losses ? `told of ${counted(seen.losses, "gap")}` : `in ${counted(seen.recoveries, "reconnect")}`} />
    </div>
  `;
}

/** What came in each half second of the last minute: live, recovered, and when something was missing. @param {{buckets: Bucket[]}} props */
function Timeline({ buckets }) {
  const from = BARS - buckets.length;
  return html`
    <svg class="timeline" viewBox=${`0 0 ${BARS} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${told(buckets)}>
      ${buckets.map((bucket, at) => html`<${Bar} key=${at} x=${from + at} ...${bucket} />`)}
    </svg>
    <ul class="legend small muted">
      <li><i class="line-1"></i>came live</li><li><i class="line-2"></i>recovered</li><li><i class="gap"></i>something was missing</li><li>the last minute of <code>${CHANNEL}</code></li>
    </ul>
  `;
}

/** @param {Bucket & {x: number}} props */
function Bar({ x, live, recovered, missing }) {
  const scale = HEIGHT / Math.max(FULL, live + recovered);
  const [low, high] = [live * scale, recovered * scale];
  return html`
    ${missing > 1 && html`<rect class="gap" x=${x} y="0" width="1" height=${HEIGHT} />`}
    <rect class="live" x=${x} y=${HEIGHT - low} width="0.8" height=${low} />
    <rect class="recovered" x=${x} y=${HEIGHT - low - high} width="0.8" height=${high} />
  `;
}

/** @param {Bucket[]} buckets */
function told(buckets) {
  const sum = (/** @type {"live" | "recovered"} */ name) => buckets.reduce((all, bucket) => all + bucket[name], 0);
  return `The last minute: ${sum("live")} came live, ${sum("recovered")} were recovered`;
}
