/** All streams, and what else groups read as one. */
import { call } from "../../api.js";
import { bytes, count, counted, duration } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { go, href } from "../../route.js";
import { Dialog } from "../../ui/acting.js";
import { Badge, Empty, GoTo, Loaded, Page, Panel, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { Pages } from "../../ui/pages.js";
import { Table } from "../../ui/table.js";
import { Declare } from "./declare.js";
import { isNamespace, kept } from "./source.js";

/** @typedef {import("./source.js").Options} Options */
/** @typedef {import("./source.js").Group} Group */
/** @typedef {{stream: string, options: Options, partitions: import("./source.js").Partition[], groups: number}} Row */

const PAGE = 100;
const POLL_MS = 4_000;

export function Streams() {
  const after = useChosen("after");
  const streams = useCall("stream/list", { after, limit: PAGE }, POLL_MS);
  const groups = useCall("stream/groups", {}, POLL_MS);
  const [declaring, setDeclaring] = useState(false);
  return html`
    <${Page} title="Streams" lead="Messages that stay, read by groups that each remember how far they are."
      actions=${html`<${GoTo} label="Open by name" place="streams" /><button type="button" onClick=${() => setDeclaring(true)}>New stream …</button>`}>
      <${Loaded} loaded=${streams}>${(/** @type {any} */ page) => html`<${List} page=${page} groups=${groups.data.value?.groups ?? []} />`}<//>
      ${declaring && html`<${New} close=${() => setDeclaring(false)} />`}
    <//>
  `;
}

/** @param {{page: {streams: Omit<Row, "groups">[], next?: string}, groups: Group[]}} props */
function List({ page, groups }) {
  const reading = (/** @type {string} */ name) => groups.filter(({ source }) => source === name).length;
  const rows = page.streams.map((each) => ({ ...each, groups: reading(each.stream) }));
  const empty = html`<${Empty} title="There are no streams yet">A worker declares the streams that it reads. Or make one here, or by ${command("stream create NAME")}.<//>`;
  return html`
    <${Panel}>
      <${Table} label="Streams" columns=${COLUMNS} rows=${rows} id=${(/** @type {Row} */ row) => row.stream}
        open=${(/** @type {Row} */ row) => go(["streams", row.stream])} empty=${empty} />
      <${Pages} next=${page.next} label="Pages of streams" />
    <//>
    <${Others} groups=${groups} listed=${page.streams.map(({ stream }) => stream)} isWhole=${!page.next} />
  `;
}

/** @type {import("../../ui/table.js").Column<Row>[]} */
const COLUMNS = [
  { key: "stream", title: "Stream", wide: true, cell: (row) => html`<a href=${href(["streams", row.stream])}>${row.stream}</a> ${isNamespace(row.stream) && html`<${Badge}>namespace<//>`} <${Kind} options=${row.options} />` },
  { key: "partitions", title: "Partitions", align: "end", cell: (row) => count(row.partitions.length) },
  { key: "kept", title: "Messages kept", align: "end", cell: (row) => count(kept(row.partitions)) },
  { key: "retention", title: "Retention", cell: (row) => retention(row.options) },
  { key: "groups", title: "Groups", align: "end", cell: (row) => (row.groups ? html`<a href=${href(["streams", row.stream], { tab: "groups" })}>${count(row.groups)}</a>` : "0") },
];

/** @param {{options: Options}} props */
export function Kind({ options }) {
  return html`${options.keyed && html`<${Badge}>keyed<//>`} ${options.compact && html`<${Badge}>compacted<//>`} ${options.audit && html`<${Badge}>audited<//>`}`;
}

/** @param {Options} options */
export function retention({ retention_messages, retention_ms, retention_bytes }) {
  const parts = [retention_messages && counted(retention_messages, "message"), retention_ms && duration(retention_ms), retention_bytes && bytes(retention_bytes)];
  return parts.filter(Boolean).join(", ") || "everything";
}

/** Channels that groups read: they are not listed as streams. @param {{groups: Group[], listed: string[], isWhole: boolean}} props */
function Others({ groups, listed, isWhole }) {
  const known = new Set(listed);
  const names = [...new Set(groups.map(({ source }) => source))].filter((name) => !known.has(name) && (isWhole || name.includes(":")));
  if (!names.length) return null;
  return html`
    <${Panel} title="Channels that groups read">
      <${Table} label="Channels" rows=${names} id=${String} open=${(/** @type {string} */ name) => go(["streams", name])} columns=${[
        { key: "source", title: "Channel", wide: true, cell: (/** @type {string} */ name) => html`<a href=${href(["streams", name])}>${name}</a>` },
        { key: "groups", title: "Groups", align: "end", cell: (/** @type {string} */ name) => count(groups.filter(({ source }) => source === name).length) },
      ]} />
    <//>
  `;
}

/** @param {{close: () => void}} props */
function New({ close }) {
  const declare = async (/** @type {string} */ stream, /** @type {object} */ options) => {
    const { fresh } = await call("stream/declare", { stream, options });
    close();
    go(["streams", stream]);
    return fresh ? `The stream ${stream} is there.` : `There was a stream ${stream}: it is kept like this from now on.`;
  };
  return html`<${Dialog} title="New stream" close=${close}><${Declare} declare=${declare} button="Make it" /><//>`;
}
