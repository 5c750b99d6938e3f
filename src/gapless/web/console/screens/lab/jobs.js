/** Jobs and a worker that one stops or kills: an acknowledged job never runs again. */
import { call } from "../../api.js";
import { count, counted } from "../../format.js";
import { html, useEffect, useRef, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { Act } from "../../ui/acting.js";
import { Badge, ErrorNote, Panel, Stat } from "../../ui/basics.js";
import { sending } from "./sending.js";

/** @typedef {{ready: number, delayed: number, leased: number, dead: number, enqueued: number, acked: number, failed: number}} Stats */
/** @typedef {{acked: number, waiting: number, error: string, before: Stats}} Enqueued */

export const QUEUE = "lab-jobs";
const STATS_MS = 1_000;

/** Jobs that are enqueued while one looks; counted from where the queue stood. */
function useEnqueuing() {
  const [enqueued, setEnqueued] = useState(/** @type {Enqueued | null} */ (null));
  const [running, setRunning] = useState(false);
  const ending = useRef(() => {});
  const away = useRef(false);
  const end = () => {
    ending.current();
    setRunning(false);
  };
  const start = async () => {
    await call("queue/declare", { queue: QUEUE });
    const { queues: [before] } = await call("queue/stats", { queue: QUEUE });
    if (away.current) return;
    const run = Date.now();
    setEnqueued({ acked: 0, waiting: 0, error: "", before });
    setRunning(true);
    const body = (/** @type {number} */ number) => ({ jobs: [{ queue: QUEUE, data: { number }, message_id: `${run}-${number}` }] });
    const merge = (/** @type {Partial<Enqueued>} */ some) => setEnqueued((last) => last && { ...last, ...some });
    ending.current = sending({ method: "queue/enqueue", body }, merge, (error) => merge({ error: error.message }));
  };
  useEffect(() => () => {
    away.current = true;
    ending.current();
  }, []);
  return { enqueued, running, start, end };
}

/** @param {{worker?: {running?: boolean, pid?: number}}} props */
export function Jobs({ worker }) {
  const { enqueued, running, start, end } = useEnqueuing();
  const works = !!worker?.running;
  const aside = html`
    <${Badge} tone=${works ? "good" : ""}>${works ? "a worker runs" : "no worker runs"}<//>
    ${running ? html`<button type="button" onClick=${end}>Stop enqueuing</button>` : html`<${Act} class="primary" act=${start}>Enqueue jobs<//>`}
  `;
  return html`
    <${Panel} title="Stop or kill a worker" aside=${aside}>
      <div class="stack">
        <p>A job whose worker is killed runs again once its lease is over, and one that was acknowledged never does. A worker that is asked to stop finishes what it has begun.</p>
        <p class="muted small">The promise: <q>An acknowledged job never runs again</q></p>
        ${enqueued && html`<${Numbers} ...${enqueued} />`}
        <${Workers} works=${works} />
      </div>
    <//>
  `;
}

/** @param {{works: boolean}} props */
function Workers({ works }) {
  const act = (/** @type {string} */ method, /** @type {object} */ body, /** @type {string} */ said) => async () => {
    await call(method, body);
    return said;
  };
  return html`
    <div class="actions">
      <${Act} disabled=${works} act=${act("lab/start_worker", {}, "A worker was started.")}>Start a worker<//>
      <${Act} disabled=${!works} act=${act("lab/stop_worker", { kill: false }, "The worker was asked to stop.")}>Stop it<//>
      <${Act} class="danger" disabled=${!works} act=${act("lab/stop_worker", { kill: true }, "The worker was killed.")}>Kill it (kill -9)<//>
    </div>
  `;
}

/** Where jobs are, or how they ended: each stands in one of these once, so more than were enqueued means that some ended twice. @param {Stats} stats */
const ends = ({ ready, delayed, leased, dead, acked }) => ready + delayed + leased + dead + acked;

/** @param {Enqueued} props */
function Numbers({ acked, waiting, error, before }) {
  const { data } = useCall("queue/stats", { queue: QUEUE }, STATS_MS);
  /** @type {Stats} */
  const now = data.value?.queues[0] ?? before;
  const done = now.acked - before.acked;
  const again = now.failed - before.failed;
  const twice = Math.max(0, ends(now) - ends(before) - (now.enqueued - before.enqueued));
  return html`
    <div class="stats six">
      <${Stat} label="Enqueued" value=${count(acked)} note=${waiting > 1 ? `${count(waiting)} wait to be sent` : "and acknowledged"} />
      <${Stat} label="Waiting" value=${count(now.ready + now.delayed)} note="for a worker" />
      <${Stat} label="Being done" value=${count(now.leased)} note="under a lease" />
      <${Stat} label="Done" value=${count(done)} note="and acknowledged" />
      <${Stat} label="Begun again" value=${count(again)} tone=${again ? "warn" : ""} note="were not done yet" />
      <${Stat} label="Done twice" value=${count(twice)} tone=${twice ? "bad" : acked ? "good" : ""} note=${now.dead ? `${counted(now.dead, "dead letter")}` : "has to stay 0"} />
    </div>
    ${error && html`<${ErrorNote} error=${new Error(error)} />`}
  `;
}
