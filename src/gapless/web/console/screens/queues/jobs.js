/** The jobs of a queue by where they are, looked at without touching them. */
import { call } from "../../api.js";
import { count, counted } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { enter } from "../../route.js";
import { Act } from "../../ui/acting.js";
import { Badge, Empty, Loaded, Time, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { PAYLOAD } from "../../ui/payload.js";
import { Pages } from "../../ui/pages.js";
import { Running } from "../../ui/running.js";
import { Table } from "../../ui/table.js";
import { Left } from "../../ui/ticking.js";
import { Purge, purging } from "./purge.js";
import { Redrive, redriving } from "./redrive.js";

/** @typedef {import("./list.js").Stats} Stats */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("../../ui/table.js").Column<Job>} Column */
/** @typedef {{stats: Stats, changed: () => void}} Props */

const PAGE = 50;
const POLL_MS = 3_000;

/**
 * @param {string} queue
 * @param {string} state
 */
function useJobs(queue, state) {
  return useCall("queue/browse", { queue, state, after: useChosen("after"), limit: PAGE }, POLL_MS);
}

/** @type {Column} */
const ID = { key: "id", title: "Job", cell: (job) => html`<span class="mono">${job.id}</span>` };
/** @type {Column} */
const KEY = { key: "key", title: "Key", cell: (job) => html`<span class="brief mono" title=${job.key}>${job.key ?? "–"}</span>` };
/** @type {Column} */
const ATTEMPT = { key: "attempt", title: "Attempt", align: "end", cell: (job) => count(job.attempt) };

/** @param {{loaded: import("../../loading.js").Loaded<any>, columns: Column[], label: string, empty: unknown}} props */
function Jobs({ loaded, columns, label, empty }) {
  return html`
    <${Loaded} loaded=${loaded}>
      ${(/** @type {{jobs: Job[], next?: string}} */ { jobs, next }) => html`
        <${Table} label=${label} columns=${columns} rows=${jobs} id=${(/** @type {Job} */ job) => job.id} chosen=${useChosen("job")}
          open=${(/** @type {Job} */ job) => enter({ job: job.id })} empty=${empty} />
        <${Pages} next=${next} label=${`Pages of ${label.toLowerCase()}`} />
      `}
    <//>
  `;
}

/** @param {Props} props */
export function Waiting({ stats, changed }) {
  const loaded = useJobs(stats.queue, "waiting");
  const reload = () => (loaded.reload(), changed());
  const cancel = (/** @type {Job} */ job) => async () => {
    await call("queue/cancel", { id: job.id });
    reload();
    return `Cancelled ${job.id}.`;
  };
  /** @type {Column[]} */
  const columns = [
    ID, KEY, ATTEMPT,
    { key: "due", title: "Due", cell: (job) => html`<${Due} job=${job} />` },
    PAYLOAD,
    { key: "acts", title: "", align: "end", cell: (job) => html`<${Act} act=${cancel(job)} label=${`Cancel ${job.id}`} ask=${asked(job)}>Cancel<//>` },
  ];
  const empty = html`<${Empty} title="Nothing waits">Enqueue a job above, or by ${command(`queue push ${stats.queue} '{"n": 1}'`)}.<//>`;
  return html`
    <div class="row toolbar end"><${Purge} queue=${stats.queue} state="waiting" total=${stats.ready + stats.delayed} done=${reload} /></div>
    <${Running} id=${purging(stats.queue, "waiting")} />
    <${Jobs} loaded=${loaded} columns=${columns} label="Waiting jobs" empty=${empty} />
  `;
}

/** @param {Job} job @returns {import("../../ui/acting.js").Question} */
export function asked(job) {
  return { title: "Cancel this job?", body: html`It is removed, and nobody will do it: <span class="mono">${job.id}</span>`, button: "Cancel the job", danger: true };
}

/** A job is delayed until its time; after a failure that is when it is tried again. @param {{job: Job}} props */
export function Due({ job }) {
  if (job.due_ms <= Date.now()) return html`<${Time} at_ms=${job.due_ms} />`;
  return html`<${Badge} tone="accent">${job.attempt ? "again" : "delayed"}<//> in <${Left} at_ms=${job.due_ms} over="0 s" />, <${Time} at_ms=${job.due_ms} />`;
}

/** @param {Props} props */
export function InFlight({ stats }) {
  const loaded = useJobs(stats.queue, "leased");
  /** @type {Column[]} */
  const columns = [
    ID, KEY, ATTEMPT,
    { key: "worker", title: "Worker", cell: (job) => html`<span class="brief mono" title=${job.worker}>${job.worker || "–"}</span>` },
    { key: "left", title: "Lease left", align: "end", cell: (job) => html`<${Left} at_ms=${job.due_ms} over="over" />` },
    PAYLOAD,
  ];
  const empty = html`<${Empty} title="Nothing is in flight">${stats.claimers ? "Workers wait for jobs." : html`No worker claims from this queue. Start one by <code>gapless worker module:app</code>.`}<//>`;
  return html`<${Jobs} loaded=${loaded} columns=${columns} label="Jobs in flight" empty=${empty} />`;
}

/** @param {Props} props */
export function Dead({ stats, changed }) {
  const { queue, dead } = stats;
  const loaded = useJobs(queue, "dead");
  const [chosen, setChosen] = useState(/** @type {ReadonlySet<string>} */ (new Set()));
  const reload = () => (setChosen(new Set()), loaded.reload(), changed());
  const here = /** @type {Job[]} */ (loaded.data.value?.jobs ?? []).map(({ id }) => id);
  const ids = here.filter((id) => chosen.has(id));
  const choose = (/** @type {Job} */ { id }) => setChosen((before) => toggled(before, id));
  /** @type {Column[]} */
  const columns = [
    { key: "chosen", title: "", cell: (job) => html`<input type="checkbox" aria-label=${`Choose ${job.id}`} checked=${chosen.has(job.id)} onChange=${() => choose(job)} />` },
    ID, ATTEMPT,
    { key: "died", title: "Died", cell: (job) => html`<${Time} at_ms=${job.ended_ms} />` },
    { key: "reason", title: "Reason", wide: true, cell: (job) => html`<span class="brief" title=${job.reason}>${job.reason || "–"}</span>` },
    PAYLOAD,
  ];
  const empty = html`<${Empty} title="Nothing died">A job that fails as often as its queue allows is kept here, with the reason, until it is redriven or purged.<//>`;
  return html`
    ${here.length > 0 && html`
      <div class="row toolbar">
        <button type="button" onClick=${() => setChosen(new Set(ids.length < here.length ? here : []))}>${ids.length < here.length ? "Choose this page" : "Choose none"}</button>
        <${RedriveChosen} queue=${queue} ids=${ids} done=${reload} />
        <${PurgeChosen} queue=${queue} ids=${ids} done=${reload} />
        <span class="grow"></span>
        <${Redrive} queue=${queue} total=${dead} done=${reload} />
        <${Purge} queue=${queue} state="dead" total=${dead} done=${reload} />
      </div>
    `}
    <${Running} id=${redriving(queue)} />
    <${Running} id=${purging(queue, "dead")} />
    <${Jobs} loaded=${loaded} columns=${columns} label="Dead letters" empty=${empty} />
  `;
}

/**
 * @param {ReadonlySet<string>} set
 * @param {string} id
 */
function toggled(set, id) {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** @param {{queue: string, ids: string[], done: () => void}} props */
function RedriveChosen({ queue, ids, done }) {
  const act = async () => {
    const { jobs } = await call("queue/redrive", { queue, ids });
    done();
    return `${counted(jobs, "job")} ${jobs === 1 ? "waits" : "wait"} again.`;
  };
  return html`<${Act} act=${act} disabled=${!ids.length}>Redrive ${ids.length || ""} chosen<//>`;
}

/** @param {{queue: string, ids: string[], done: () => void}} props */
function PurgeChosen({ queue, ids, done }) {
  const act = async () => {
    const { jobs } = await call("queue/purge", { queue, ids });
    done();
    return `Removed ${counted(jobs, "dead letter")}.`;
  };
  const ask = { title: `Remove ${counted(ids.length, "dead letter")}?`, body: "They are gone for good, with what they carry.", button: "Remove them", danger: true };
  return html`<${Act} act=${act} ask=${ask} class="danger" disabled=${!ids.length}>Remove ${ids.length || ""} chosen<//>`;
}

/** @param {Props} props */
export function Done({ stats, changed }) {
  const loaded = useJobs(stats.queue, "done");
  const reload = () => (loaded.reload(), changed());
  /** @type {Column[]} */
  const columns = [ID, KEY, ATTEMPT, { key: "ended", title: "Done", cell: (job) => html`<${Time} at_ms=${job.ended_ms} />` }, PAYLOAD];
  const empty = html`<${Empty} title="Nothing that is done is kept">A queue with <code>result_ms</code> keeps what was done, with its result, for so long.<//>`;
  return html`
    <div class="row toolbar end"><${Purge} queue=${stats.queue} state="done" total=${stats.done} done=${reload} /></div>
    <${Running} id=${purging(stats.queue, "done")} />
    <${Jobs} loaded=${loaded} columns=${columns} label="Jobs that are done" empty=${empty} />
  `;
}
