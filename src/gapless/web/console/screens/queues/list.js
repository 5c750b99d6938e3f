/** All queues: which one is behind, and where something died. */
import { count, duration, rate } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { go, href, refine } from "../../route.js";
import { call } from "../../api.js";
import { Dialog } from "../../ui/acting.js";
import { Badge, Empty, Loaded, Page, Panel, Search, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { Form, Input, useForm } from "../../ui/form.js";
import { Table } from "../../ui/table.js";
import { FindJob } from "./job.js";

/** @typedef {{queue: string, paused: boolean, ready: number, delayed: number, leased: number, dead: number, done: number,
 *   oldest_ms: number, claimers: number, enqueued_per_second: number, acked_per_second: number,
 *   failed_per_second: number, died_per_second: number}} Stats */

const POLL_MS = 3_000;
const SHOWN_MAX = 100;

/** @type {Record<string, [string, (a: Stats, b: Stats) => number]>} */
const ORDERS = {
  name: ["name", () => 0],
  oldest: ["oldest job", (a, b) => b.oldest_ms - a.oldest_ms],
  depth: ["depth", (a, b) => b.ready + b.delayed - a.ready - a.delayed],
  dead: ["dead letters", (a, b) => b.dead - a.dead],
};

export function Queues() {
  const stats = useCall("queue/stats", {}, POLL_MS);
  const [declaring, setDeclaring] = useState(false);
  return html`
    <${Page} title="Queues" lead="Jobs that are each done by one worker, and tried again when that fails."
      actions=${html`<${FindJob} /><button type="button" onClick=${() => setDeclaring(true)}>New queue …</button>`}>
      <${Loaded} loaded=${stats}>${(/** @type {{queues: Stats[]}} */ { queues }) => html`<${List} all=${queues} />`}<//>
      ${declaring && html`<${Declare} close=${() => setDeclaring(false)} />`}
    <//>
  `;
}

/** @param {{all: Stats[]}} props */
function List({ all }) {
  const sought = useChosen("q").toLowerCase();
  const [, by] = ORDERS[useChosen("sort", "name")] ?? ["", () => 0];
  const found = all.filter(({ queue }) => queue.toLowerCase().includes(sought)).sort(by);
  const shown = found.slice(0, SHOWN_MAX);
  if (!all.length) return html`<${Panel}><${NoQueues} /><//>`;
  return html`
    <${Panel} class="stack">
      <div class="row toolbar"><${Search} label="Search by name" /><${Sort} /></div>
      <${Table} label="Queues" columns=${COLUMNS} rows=${shown} id=${(/** @type {Stats} */ row) => row.queue}
        open=${(/** @type {Stats} */ row) => go(["queues", row.queue])} empty=${html`<${Empty} title="No queue has such a name" />`} />
      ${found.length > shown.length && html`<p class="muted small">${count(shown.length)} of ${count(found.length)} are shown: search by name for others.</p>`}
    <//>
  `;
}

function Sort() {
  const chosen = useChosen("sort", "name");
  return html`
    <label class="sort">Sort by
      <select onChange=${(/** @type {any} */ event) => refine({ sort: event.target.value })}>
        ${Object.entries(ORDERS).map(([key, [title]]) => html`<option key=${key} value=${key} selected=${key === chosen}>${title}</option>`)}
      </select>
    </label>
  `;
}

/** @type {import("../../ui/table.js").Column<Stats>[]} */
const COLUMNS = [
  { key: "queue", title: "Queue", wide: true, cell: (row) => html`<a href=${href(["queues", row.queue])}>${row.queue}</a> ${row.paused && html`<${Badge} tone="warn">paused<//>`}` },
  { key: "ready", title: "Ready", align: "end", cell: (row) => count(row.ready) },
  { key: "delayed", title: "Delayed", align: "end", cell: (row) => count(row.delayed) },
  { key: "leased", title: "In flight", align: "end", cell: (row) => count(row.leased) },
  { key: "dead", title: "Dead", align: "end", cell: (row) => (row.dead ? html`<a class="bad" href=${href(["queues", row.queue], { tab: "dead" })}>${count(row.dead)}</a>` : "0") },
  { key: "oldest", title: "Oldest", align: "end", cell: (row) => (row.oldest_ms ? duration(row.oldest_ms) : "–") },
  { key: "in", title: "In/s", align: "end", cell: (row) => rate(row.enqueued_per_second) },
  { key: "done", title: "Done/s", align: "end", cell: (row) => rate(row.acked_per_second) },
  { key: "failed", title: "Failed/s", align: "end", cell: (row) => rate(row.failed_per_second) },
  { key: "claimers", title: "Claimers", align: "end", cell: (row) => count(row.claimers) },
];

function NoQueues() {
  return html`
    <${Empty} title="There are no queues yet">
      A worker declares the queues that it works on. Or make one here, or by ${command("queue create NAME")}.
    <//>
  `;
}

/** @param {{close: () => void}} props */
function Declare({ close }) {
  const form = useForm("declare", { queue: "" });
  const declare = async () => {
    await call("queue/declare", { queue: form.values.queue });
    close();
    go(["queues", form.values.queue]);
    return `The queue ${form.values.queue} is there.`;
  };
  return html`
    <${Dialog} title="New queue" close=${close}>
      <${Form} act=${declare} button="Make it">
        <${Input} form=${form} name="queue" label="Name" required autofocus hint="Letters, digits, and - _ . between them. How it behaves, its worker or the configuration may say later." />
      <//>
    <//>
  `;
}
