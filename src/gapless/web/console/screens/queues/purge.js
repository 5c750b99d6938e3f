/** Removing all jobs of a state, a page at a time. */
import { call } from "../../api.js";
import { counted } from "../../format.js";
import { html } from "../../lib.js";
import { Act } from "../../ui/acting.js";
import { begin, isRunning } from "../../ui/running.js";

const AT_ONCE = 1_000;

/** @type {Record<string, string>} */
const WHAT = { waiting: "waiting job", dead: "dead letter", done: "job that is done" };
/** @type {Record<string, string>} */
const MANY = { waiting: "waiting jobs", dead: "dead letters", done: "jobs that are done" };

/**
 * @param {string} queue
 * @param {string} state
 */
export const purging = (queue, state) => `purge ${state} ${queue}`;

/** @param {{queue: string, state: string, total: number, done: () => void}} props */
export function Purge({ queue, state, total, done }) {
  const what = counted(total, WHAT[state] ?? "", MANY[state]);
  const ask = {
    title: `Purge ${what}?`,
    body: html`All of them are removed from <strong>${queue}</strong> for good, with what they carry.`,
    word: queue,
    button: "Purge",
    danger: true,
  };
  const act = async () => {
    purge(queue, state, total).then(done);
  };
  return html`<${Act} act=${act} ask=${ask} class="danger" disabled=${!total || isRunning(purging(queue, state))}>Purge all …<//>`;
}

/**
 * @param {string} queue
 * @param {string} state
 * @param {number} total
 */
function purge(queue, state, total) {
  const what = { title: `Purging ${MANY[state]} of ${queue}`, unit: "jobs", total };
  return begin(purging(queue, state), what, async ({ signal, advance }) => {
    for (let left = total; left > 0 && !signal.aborted; ) {
      const { jobs, more } = await call("queue/purge", { queue, state, limit: Math.min(left, AT_ONCE) });
      advance(jobs);
      left -= jobs;
      if (!jobs || !more) return;
    }
  });
}
