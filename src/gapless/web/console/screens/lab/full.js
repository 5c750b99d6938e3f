/** A queue that is full refuses, and says so. */
import { call } from "../../api.js";
import { count, counted } from "../../format.js";
import { html, useState } from "../../lib.js";
import { go } from "../../route.js";
import { Act } from "../../ui/acting.js";
import { Card } from "./card.js";
import { asProgram } from "./sending.js";

/** @typedef {{result?: object, error?: {code: number, message: string}}} Item */
/** @typedef {{taken: number, refused: number, error: {code: number, message: string} | undefined}} Filled */

const QUEUE = "lab-full";
const WAITING_MAX = 100;
const AT_ONCE = 30;

/** Enqueue until no more is taken. @returns {Promise<Filled>} */
async function fill() {
  await call("queue/declare", { queue: QUEUE, options: { waiting_max: WAITING_MAX } });
  let taken = 0;
  while (taken <= WAITING_MAX) {
    const jobs = Array.from({ length: AT_ONCE }, (_, at) => ({ queue: QUEUE, data: { number: taken + at + 1 } }));
    /** @type {{jobs: Item[]}} */
    const answer = await asProgram("queue/enqueue", { jobs, atomic: false });
    const errors = answer.jobs.map((job) => job.error).filter((error) => error !== undefined);
    taken += jobs.length - errors.length;
    if (errors.length) return { taken, refused: errors.length, error: errors[0] };
  }
  return { taken, refused: 0, error: undefined };
}

export function Full() {
  const [filled, setFilled] = useState(/** @type {Filled | null} */ (null));
  const run = async () => setFilled(await fill());
  const empty = async () => {
    const { jobs } = await call("queue/drop", { queue: QUEUE });
    setFilled(null);
    return `Removed the queue ${QUEUE} with its ${counted(jobs, "job")}.`;
  };
  return html`
    <${Card} title="Fill a queue" promise="Never silence" expect=${`A queue of its own takes ${WAITING_MAX} jobs that wait. What is more is refused, and told: a backend can wait or say no. What was taken stays.`}>
      ${filled && html`<${Outcome} ...${filled} />`}
      <div class="actions">
        <${Act} class="danger" act=${run}>Fill it<//>
        ${filled && html`<${Act} act=${empty}>Remove the queue<//> <button type="button" onClick=${() => go(["queues", QUEUE])}>Look into it</button>`}
      </div>
    <//>
  `;
}

/** @param {Filled} props */
function Outcome({ taken, refused, error }) {
  const said = error ? `${count(taken)} more were taken, then ${count(refused)} refused. Error ${error.code}: ${error.message}` : `${count(taken)} were taken, and none refused`;
  return html`<p class=${`note ${error ? "good" : "bad"}`} role="status">${said}</p>`;
}
