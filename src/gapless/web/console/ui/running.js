/**
 * Long work that this page does step by step, by call after call. It goes on whatever screen is looked at, but only
 * while the page is open; nothing of it is left behind by whoever stops.
 */
import { count, duration } from "../format.js";
import { effect, html, signal } from "../lib.js";
import { session } from "../session.js";
import { Progress } from "./basics.js";

/** @typedef {{title: string, unit: string, done: number, total: number, began_ms: number, ended_ms: number,
 *   state: "running" | "done" | "stopped" | "failed", error: string}} Run */
/** @typedef {{signal: AbortSignal, advance: (by: number) => void}} Steps */

const SHOWN_MS = 100; // thousands of steps a second would be thousands of drawings

/** @type {import("../lib.js").Signal<Record<string, Run>>} */
const runs = signal({});
/** @type {Map<string, AbortController>} */
const going = new Map();

effect(() => {
  if (!session.value) for (const each of going.values()) each.abort(); // nobody goes on in another's name
});

addEventListener("beforeunload", (event) => {
  if (going.size) event.preventDefault();
});

/** @param {string} key */
export const isRunning = (key) => runs.value[key]?.state === "running";

/**
 * Do `work` step by step, shown under a key; while it goes on it is not begun again.
 * @param {string} key
 * @param {{title: string, unit: string, total: number}} what
 * @param {(steps: Steps) => Promise<void>} work
 */
export async function begin(key, what, work) {
  if (going.has(key)) return;
  const stop = new AbortController();
  going.set(key, stop);
  /** @type {Run} */
  let run = { ...what, done: 0, began_ms: Date.now(), ended_ms: 0, state: "running", error: "" };
  const show = () => (runs.value = { ...runs.value, [key]: { ...run } });
  let shown_ms = 0;
  const advance = (/** @type {number} */ by) => {
    run.done += by;
    if (Date.now() < shown_ms + SHOWN_MS) return;
    shown_ms = Date.now();
    show();
  };
  show();
  const end = await ended(work({ signal: stop.signal, advance }), stop.signal);
  going.delete(key);
  run = { ...run, ...end, ended_ms: Date.now() };
  show();
}

/**
 * @param {Promise<void>} work
 * @param {AbortSignal} signal
 * @returns {Promise<{state: Run["state"], error: string}>}
 */
async function ended(work, signal) {
  try {
    await work;
    return { state: signal.aborted ? "stopped" : "done", error: "" };
  } catch (error) {
    return signal.aborted ? { state: "stopped", error: "" } : { state: "failed", error: /** @type {Error} */ (error).message };
  }
}

/**
 * Wait, unless it is stopped meanwhile.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** How far it is, with a button that stops it; then what came of it. @param {{id: string}} props */
export function Running({ id }) {
  const run = runs.value[id];
  if (!run) return null;
  const { [id]: _, ...others } = runs.value;
  return html`
    <div class=${`running note ${TONES[run.state]}`} role="group" aria-label=${run.title}>
      <div class="stack">
        <strong>${run.title}</strong>
        <${Progress} value=${run.done} max=${run.total} label=${told(run)} />
        ${run.state === "running" && html`<p class="muted small">It goes on only while this page is open, on other screens too.</p>`}
      </div>
      ${run.state === "running"
        ? html`<button type="button" onClick=${() => going.get(id)?.abort()}>Stop</button>`
        : html`<button type="button" onClick=${() => (runs.value = others)}>Dismiss</button>`}
    </div>
  `;
}

const TONES = { running: "", done: "good", stopped: "warn", failed: "bad" };

/** @param {Run} run */
function told({ state, done, total, unit, began_ms, ended_ms, error }) {
  const took_ms = (ended_ms || Date.now()) - began_ms;
  const amount = `${count(done)} of ${count(total)} ${unit}`;
  if (state === "running") return done ? `${amount}, ${duration((took_ms * Math.max(0, total - done)) / done)} left` : `${amount} …`;
  const said = { done: `${amount}, in ${duration(took_ms)}`, stopped: `Stopped after ${amount}`, failed: `Failed after ${amount}: ${error}` };
  return said[state];
}
