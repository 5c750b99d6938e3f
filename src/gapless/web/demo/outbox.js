/** What was written and is not known to have arrived. It outlasts a reload of the tab. */
import { computed, signal } from "./lib.js";

const KEY = "gapless.demo.outbox";
const WAITING_MAX = 1000;
const TOGETHER_MAX = 20; // sent before the first of them is answered

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

export const isFull = computed(() => waiting.value.length >= WAITING_MAX);

/**
 * Keep something until it is sent, unless it is full: nothing that waits makes room.
 * @param {Draft} draft
 * @returns {boolean} whether it is kept
 */
export function put(draft) {
  if (isFull.peek()) return false;
  keep([...waiting.peek(), draft]);
  return true;
}

/** @param {ReadonlySet<Draft>} sent */
const done = (sent) => keep(waiting.peek().filter((draft) => !sent.has(draft)));

/** @type {Promise<void> | undefined} */
let flushing;

// how: outbox
/**
 * Send what waits, in its order, a few at a time. Whatever fails stays, to be sent again with the same id.
 * @param {(draft: Draft) => Promise<unknown>} send
 */
async function sendAll(send) {
  while (waiting.peek().length) {
    const some = waiting.peek().slice(0, TOGETHER_MAX);
    const answers = await Promise.allSettled(some.map(send));
    done(new Set(some.filter((_, index) => answers[index]?.status === "fulfilled")));
    const failed = answers.find(({ status }) => status === "rejected");
    if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason;
  }
}
// end

/** @param {(draft: Draft) => Promise<unknown>} send */
export function flush(send) {
  flushing ??= sendAll(send).finally(() => (flushing = undefined));
  return flushing;
}
