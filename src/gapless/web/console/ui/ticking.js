/** What changes while one looks at it: how long something still has. */
import { duration } from "../format.js";
import { html, signal, useEffect } from "../lib.js";

const TICK_MS = 1_000;

const now = signal(Date.now());
let looking = 0;
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

/** Return the time, again each second; one clock for all who look. */
function useNow() {
  useEffect(() => {
    now.value = Date.now(); // it stood still while nobody looked
    if (!looking++) timer = setInterval(() => (now.value = Date.now()), TICK_MS);
    return () => {
      if (!--looking) clearInterval(timer);
    };
  }, []);
  return now.value;
}

/**
 * How long it is until a time; `over` stands there when it has passed.
 * @param {{at_ms: number, over: string}} props
 */
export function Left({ at_ms, over }) {
  const left_ms = at_ms - useNow();
  return html`<span>${left_ms > 0 ? duration(Math.ceil(left_ms / TICK_MS) * TICK_MS) : over}</span>`;
}
