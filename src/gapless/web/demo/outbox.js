/** What was written and is not known to have arrived. It outlasts a reload of the tab. */
import { signal } from "./lib.js";

const KEY = "gapless.demo.outbox";
const WAITING_MAX = 50;

/** @typedef {{id: string, text: string, at: number}} Draft */

/** @returns {readonly Draft[]} */
function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

/** @type {import("./lib.js").Signal<readonly Draft[]>} */
export const waiting = signal(kept());

/** @param {readonly Draft[]} drafts */
function keep(drafts) {
  waiting.value = drafts;
  sessionStorage.setItem(KEY, JSON.stringify(drafts));
}

/** @param {Draft} draft */
export const put = (draft) => keep([...waiting.peek(), draft].slice(-WAITING_MAX));

/** @param {string} id */
const done = (id) => keep(waiting.peek().filter((draft) => draft.id !== id));

/** @type {Promise<void> | undefined} */
let flushing;

// how: outbox
/**
 * Send what waits, one after the other. Whatever fails stays, to be sent again with the same id.
 * @param {(draft: Draft) => Promise<unknown>} send
 */
async function sendAll(send) {
  for (let draft = waiting.peek()[0]; draft; draft = waiting.peek()[0]) {
    await send(draft);
    done(draft.id);
  }
}
// end

/** @param {(draft: Draft) => Promise<unknown>} send */
export function flush(send) {
  flushing ??= sendAll(send).finally(() => (flushing = undefined));
  return flushing;
}
