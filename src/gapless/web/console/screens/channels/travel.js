/** Time travel: a slider over what is kept, by time or by offset, and steps to and fro. */
import { digits, time } from "../../format.js";
import { html, useEffect, useRef, useState } from "../../lib.js";
import { refine, route } from "../../route.js";

/** @typedef {import("./history.js").Bounds} Bounds */
/** @typedef {import("./stored.js").Stretch} Stretch */
/** @typedef {(to: import("../../route.js").Query) => void} Go */

const SETTLE_MS = 120; // a slider that is dragged tells of every place on its way
const TIME_STEPS = 1_000;

/** @param {{bounds: Bounds | null, shown: Stretch | null, travel: Go}} props */
export function Travel({ bounds, shown, travel }) {
  const { query } = route.value;
  const by = query.by === "offset" ? "offset" : "time";
  return html`
    <div class="travel">
      <div class="row">
        <div class="choice" role="group" aria-label="Travel by">
          ${[["time", "By time"], ["offset", "By offset"]].map(([key, title]) => html`
            <button type="button" key=${key} aria-pressed=${by === key} onClick=${() => refine({ by: key === "time" ? "" : key })}>${title}</button>
          `)}
        </div>
        <${Steps} shown=${shown} travel=${travel} />
        <${Jump} key=${by} by=${by} travel=${travel} />
      </div>
      ${bounds && bounds.head >= bounds.oldest && bounds.head > 0 && html`<${Slider} key=${by} by=${by} asked=${Number(by === "time" ? query.at : query.offset) || null} bounds=${bounds} shown=${shown} travel=${travel} />`}
    </div>
  `;
}

/** @param {{shown: Stretch | null, travel: Go}} props */
function Steps({ shown, travel }) {
  return html`
    <div class="actions" role="group" aria-label="Pages">
      <button type="button" disabled=${!shown?.has_before} onClick=${() => travel({ after: "0" })}>Oldest</button>
      <button type="button" disabled=${!shown?.has_before} onClick=${() => travel({ before: shown?.before_cursor })}>Older</button>
      <button type="button" disabled=${!shown?.has_after} onClick=${() => travel({ after: shown?.after_cursor })}>Newer</button>
      <button type="button" onClick=${() => travel({})}>Newest</button>
    </div>
  `;
}

/** @param {{by: "time" | "offset", asked: number | null, bounds: Bounds, shown: Stretch | null, travel: Go}} props */
function Slider({ by, asked, bounds, shown, travel }) {
  const [dragged, setDragged] = useState(/** @type {number | null} */ (null));
  const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  useEffect(() => setDragged(null), [shown]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const [min, max] = by === "time" ? [bounds.from_ms, bounds.to_ms] : [bounds.oldest, bounds.head];
  const value = Math.min(Math.max(dragged ?? asked ?? placeOf(by, shown) ?? max, min), max);
  const told = by === "time" ? time(value) : `offset ${digits(value)}`;
  const drag = (/** @type {any} */ event) => {
    const to = Number(event.target.value);
    setDragged(to);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => travel(by === "time" ? { at: to } : { offset: to }), SETTLE_MS);
  };
  return html`
    <div class="slider">
      <input type="range" aria-label=${by === "time" ? "Time" : "Offset"} aria-valuetext=${told} min=${min} max=${max}
        step=${by === "time" ? Math.max(1, Math.floor((max - min) / TIME_STEPS)) : 1} value=${value} onInput=${drag} />
      <p class="muted small"><span>${by === "time" ? time(min) : digits(min)}</span><output>${told}</output><span>${by === "time" ? time(max) : digits(max)}</span></p>
    </div>
  `;
}

/**
 * Where a page is of which no place was asked for: by its middle.
 * @param {"time" | "offset"} by
 * @param {Stretch | null} shown
 */
function placeOf(by, shown) {
  if (!shown?.items.length) return null;
  const at = shown.has_after ? (shown.has_before ? Math.floor(shown.items.length / 2) : shown.items.length - 1) : 0;
  const item = shown.items[at];
  return by === "time" ? item.time : item.offset;
}

/** @param {{by: "time" | "offset", travel: Go}} props */
function Jump({ by, travel }) {
  const [text, setText] = useState("");
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    travel(by === "time" ? { at: new Date(text).getTime() } : { offset: text });
  };
  const label = by === "time" ? "Jump to a time" : "Jump to an offset";
  return html`
    <form class="row" onSubmit=${submit}>
      ${by === "time"
        ? html`<input type="datetime-local" step="1" aria-label=${label} value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)} />`
        : html`<input type="number" min="1" step="1" aria-label=${label} placeholder="Offset" value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)} />`}
      <button type="submit" disabled=${!text}>Jump</button>
    </form>
  `;
}
