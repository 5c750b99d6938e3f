/** Where the partitions stand, how they are kept, and what makes them shorter. */
import { call } from "../../api.js";
import { count, counted, digits } from "../../format.js";
import { html, useState } from "../../lib.js";
import { go, href } from "../../route.js";
import { Act, confirmed } from "../../ui/acting.js";
import { Form, Input, Select, localTime, useForm } from "../../ui/form.js";
import { Table } from "../../ui/table.js";
import { Declare } from "./declare.js";

/** @typedef {import("./source.js").Partition} Partition */
/** @typedef {import("./source.js").Source} Source */
/** @typedef {{source: Source, changed: () => void}} Props */

const SHOWN = 32;

/** @param {Props} props */
export function Options({ source, changed }) {
  return html`
    <${Partitions} source=${source} />
    <div class="columns">
      ${source.declared && html`<${Kept} source=${source} changed=${changed} />`}
      <${Trim} source=${source} changed=${changed} />
    </div>
    ${source.declared && html`<${Ends} source=${source} changed=${changed} />`}
  `;
}

/** @param {{source: Source}} props */
function Partitions({ source: { name, partitions } }) {
  const [all, setAll] = useState(false);
  const shown = all ? partitions : partitions.slice(0, SHOWN);
  return html`
    <${Table} label="Partitions" columns=${COLUMNS} rows=${shown} id=${(/** @type {Partition} */ each) => `${each.partition}`}
      open=${(/** @type {Partition} */ each) => go(["streams", name], { partition: each.partition })} />
    ${shown.length < partitions.length && html`<button type="button" onClick=${() => setAll(true)}>Show all ${count(partitions.length)} partitions</button>`}
  `;
}

/** @type {import("../../ui/table.js").Column<Partition>[]} */
const COLUMNS = [
  { key: "partition", title: "Partition", cell: (each) => count(each.partition) },
  { key: "oldest", title: "Oldest", align: "end", cell: (each) => (each.last < each.oldest ? "–" : digits(each.oldest)) },
  { key: "last", title: "Last", align: "end", cell: (each) => digits(each.last) },
  { key: "kept", title: "Kept", align: "end", cell: (each) => count(each.last - each.oldest + 1) },
  { key: "epoch", title: "Epoch", wide: true, cell: (each) => html`<span class="mono">${each.epoch}</span>` },
];

/** @param {Props} props */
function Kept({ source, changed }) {
  const declare = async (/** @type {string} */ stream, /** @type {object} */ options) => {
    await call("stream/declare", { stream, options });
    changed();
    return `${stream} is kept like this from now on.`;
  };
  return html`
    <section class="stack">
      <h2>How it is kept</h2>
      <${Declare} name=${source.name} options=${source.options} declare=${declare} button="Keep it like this" />
      <p class="muted small">A rule of the configuration (<code>streams</code>) goes before what is said here.</p>
    </section>
  `;
}

/** @param {Props} props */
function Trim({ source: { name, partitions }, changed }) {
  const form = useForm("trim", { by: "time", partition: "", offset: "", at: localTime(Date.now()) });
  const { by, partition, offset, at } = form.values;
  const chosen = partition === "" ? partitions : partitions.filter((each) => `${each.partition}` === partition);
  const trim = async () => {
    const place = by === "time" ? { before_ms: new Date(at).getTime() } : { offset: Number(offset) };
    const number = await gone(name, chosen, place);
    const ask = { title: `Drop ${counted(number, "message")}?`, body: html`They are gone from <strong>${name}</strong> for good. Groups that did not read them are told that they were lost.`, button: "Drop them", danger: true };
    if (!(await confirmed(ask))) return;
    await call("stream/trim", { stream: name, ...(partition === "" ? {} : { partition: Number(partition) }), ...place });
    changed();
    return `Dropped ${counted(number, "message")}.`;
  };
  const where = /** @type {[string, string][]} */ (partitions.map((each) => [`${each.partition}`, `${each.partition}`]));
  return html`
    <section class="stack">
      <h2>Trim</h2>
      <${Form} act=${trim} button="Drop the oldest …" kind="danger">
        <div class="columns thin">
          <${Select} form=${form} name="by" label="Drop what is" options=${[["time", "older than a time"], ["offset", "up to an offset"]]} />
          <${Select} form=${form} name="partition" label="Of partition" options=${by === "time" ? [["", "all"], ...where] : [["", "choose one"], ...where]} required=${by === "offset"} />
          ${by === "time"
            ? html`<${Input} form=${form} name="at" label="Older than" type="datetime-local" step="1" required />`
            : html`<${Input} form=${form} name="offset" label="Up to offset" type="number" min="1" required />`}
        </div>
      <//>
    </section>
  `;
}

/**
 * Return how many messages a trim drops.
 * @param {string} source
 * @param {Partition[]} partitions
 * @param {{before_ms?: number, offset?: number}} place
 */
async function gone(source, partitions, { before_ms, offset }) {
  const counts = await Promise.all(partitions.map(async ({ partition, oldest, last }) => {
    const through = offset ?? (await call("stream/find", { source, partition, at_ms: before_ms })).offset ?? 0;
    return Math.max(0, Math.min(through, last) - oldest + 1);
  }));
  return counts.reduce((sum, each) => sum + each, 0);
}

/** @param {Props} props */
function Ends({ source: { name, options }, changed }) {
  const drop = async () => {
    await call("stream/drop", { stream: name });
    go(["streams"]);
    return `Dropped ${name}.`;
  };
  const compact = async () => {
    const { erased } = await call("stream/compact", { stream: name });
    changed();
    return `Erased ${counted(erased ?? 0, "message")} that later ones had replaced.`;
  };
  const ask = { title: "Drop this stream?", body: "It goes with all its messages, and with the groups that read it.", word: name, button: "Drop the stream", danger: true };
  return html`
    <div class="row toolbar">
      ${options?.keyed && html`<${Act} act=${compact} ask=${{ title: "Compact this stream?", body: "Of each key only the last message stays.", button: "Compact it", danger: true }}>Compact now …<//>`}
      <a href=${href(["settings"], { tab: "audit", name })}>What was done to it</a>
      <span class="grow"></span>
      <${Act} act=${drop} ask=${ask} class="danger">Drop the stream …<//>
    </div>
  `;
}
