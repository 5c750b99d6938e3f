/** Overview: is everything well, and since when not. */
import { bytes, count, counted, duration, rate } from "../format.js";
import { html } from "../lib.js";
import { useCall } from "../loading.js";
import { href } from "../route.js";
import { gauge, history, now, nowRate, RANGES, rates, series, shared, whole, worst } from "../samples.js";
import { Badge, ErrorNote, Page, Panel, Stat } from "../ui/basics.js";
import { Plot } from "../ui/plot.js";
import { Range, useRange } from "../ui/range.js";
import { Table } from "../ui/table.js";

const NODES_MS = 5_000;
const LAG_WARNS = 1_000;

/** @typedef {{uid: string, name: string, version: string, num_clients: number, num_users: number, num_channels: number,
 *   num_subs: number, uptime: number, store: {engine: string, durability: string, epoch: string,
 *   statistics: Record<string, number>}}} Node */

export function Screen() {
  const range = useRange();
  const info = useCall("info", {}, NODES_MS);
  const queues = useCall("queue/stats", {}, NODES_MS);
  /** @type {Node[]} */
  const nodes = info.data.value?.nodes ?? [];
  return html`
    <${Page} title="Overview" lead=${nodes.length ? storeOf(nodes) : "\u00a0"} actions=${html`<${Range} chosen=${range} />`}>
      <${ErrorNote} error=${info.error.value ?? queues.error.value} retry=${() => (info.reload(), queues.reload())} />
      <${Traffic} nodes=${nodes} />
      <${Health} nodes=${nodes} queues=${queues.data.value?.queues} />
      <${Plots} />
      <${Nodes} nodes=${nodes} />
    <//>
  `;
}

/** @param {Node[]} nodes */
function storeOf(nodes) {
  const store = nodes[0]?.store;
  return html`Store <strong>${store?.engine}</strong>, durability <strong>${store?.durability}</strong>: ${PROMISES[store?.durability ?? ""] ?? ""}`;
}

/** @type {Record<string, string>} what an acknowledgement is worth */
const PROMISES = {
  memory: "an acknowledged message may be lost when the machine fails.",
  process: "an acknowledged message survives the end of the process.",
  disk: "an acknowledged message is on disk.",
  quorum: "an acknowledged message is on the disks of several machines.",
};

/** @param {{nodes: Node[]}} props */
function Traffic({ nodes }) {
  const sum = (/** @type {(node: Node) => number} */ read) => nodes.reduce((all, node) => all + read(node), 0);
  return html`
    <div class="stats">
      <${Stat} label="Connections" value=${count(nodes.length ? sum((node) => node.num_clients) : null)}
        note=${nodes.length ? `of ${counted(sum((node) => node.num_users), "user")}` : ""} href=${href(["connections"])} />
      <${Stat} label="Channels followed" value=${count(nodes.length ? sum((node) => node.num_channels) : null)}
        note=${nodes.length ? counted(sum((node) => node.num_subs), "subscription") : ""} href=${href(["channels"])} />
      <${Stat} label="Published" value=${rate(nowRate("publications"))} note="a second" />
      <${Stat} label="Delivered" value=${rate(nowRate("deliveries"))} note=${`a second, ${bytes(nowRate("delivered_bytes"))}`} />
      <${Recoveries} />
    </div>
  `;
}

/** Positions that were presented within the range of the plots, and how many of them could not be recovered. */
function Recoveries() {
  const recovered = risen("recovered");
  const lost = risen("lost");
  const all = recovered + lost;
  const share = all ? `${((100 * recovered) / all).toFixed(lost ? 2 : 0)} %` : "–";
  const range = RANGES[history.value.range]?.title ?? "";
  return html`<${Stat} label="Recovered" value=${share} tone=${lost ? "warn" : all ? "good" : ""}
    note=${all ? `${count(recovered)} came back, ${count(lost)} told of a gap in ${range}` : `nobody came back in ${range}`} href=${href(["connections"])} />`;
}

/** By how much a counter rose, over all nodes and what was heard of them. @param {string} name */
function risen(name) {
  const [, values] = series((sample, before) =>
    before && before.started_ms === sample.started_ms ? (sample.counters[name] ?? 0) - (before.counters[name] ?? 0) : 0,
  );
  return values.reduce((/** @type {number} */ sum, value) => sum + (value ?? 0), 0);
}

/** @param {{nodes: Node[], queues?: {queue: string, dead: number, oldest_ms: number}[]}} props not known yet */
function Health({ nodes, queues }) {
  const behind = now("behind");
  const stalled = now("stalled");
  const oldest = queues?.reduce((oldest, queue) => (queue.oldest_ms > (oldest?.oldest_ms ?? 0) ? queue : oldest), queues[0]);
  const dead = queues?.reduce((sum, queue) => sum + queue.dead, 0);
  const [group, lag] = worstGroup();
  const p99_ms = nodes.length ? Math.max(...nodes.map((node) => (node.store.statistics.commit_ns_p99 ?? 0) / 1e6)) : null;
  return html`
    <div class="stats">
      <${Stat} label="Laggards" value=${count(behind)} tone=${behind ? "warn" : ""} note=${`${count(stalled)} with a full socket`} href=${href(["connections"], { behind: 1 })} />
      <${Stat} label="Commit, p99" value=${duration(p99_ms)} note=${`${rate(nowRate("commits"))} commits a second`} />
      <${Stat} label="Oldest job" value=${oldest?.oldest_ms ? duration(oldest.oldest_ms) : "–"} note=${oldest?.oldest_ms ? `in ${oldest.queue}` : queues && "none waits"} href=${href(["queues"])} />
      <${Stat} label="Dead letters" value=${count(dead)} tone=${dead ? "bad" : ""} note=${dead ? "to look at, and redrive" : queues && "none"} href=${href(["queues"])} />
      <${Stat} label="Consumer lag" value=${count(lag)} tone=${lag && lag > LAG_WARNS ? "warn" : ""} note=${group ? `most: ${group}` : lag === 0 && "no group reads"} href=${href(["streams"])} />
    </div>
  `;
}

/** @returns {[string, number | null]} none if that is not known yet */
function worstGroup() {
  const told = whole();
  if (!told) return ["", null];
  /** @type {[string, {lag: number}][]} */
  const groups = Object.entries(told.groups ?? {});
  const most = groups.sort(([, a], [, b]) => b.lag - a.lag)[0];
  return most ? [most[0], most[1].lag] : ["", 0];
}

function Plots() {
  const depth = shared((sample) => total(sample.queues, (queue) => queue.ready + queue.delayed));
  const oldest = shared((sample) => sample.queues && Math.max(0, ...Object.values(sample.queues).map((queue) => queue.oldest_ms)));
  const dead = shared((sample) => total(sample.queues, (queue) => queue.dead));
  const lag = shared((sample) => total(sample.groups, (group) => group.lag));
  return html`
    <div class="plots">
      <${Plot} title="Messages a second" unit=${rate} lines=${[{ label: "published", series: rates("publications") }, { label: "delivered", series: rates("deliveries") }]} />
      <${Plot} title="Connections" unit=${count} lines=${[{ label: "open", series: gauge("connections") }, { label: "behind", series: gauge("behind") }]} />
      <${Plot} title="Recoveries a second" unit=${rate} lines=${[{ label: "recovered", series: rates("recovered") }, { label: "told of a gap", series: rates("lost") }]} />
      <${Plot} title="Commits" unit=${duration} lines=${[{ label: "p50", series: worst("commit_p50_ms") }, { label: "p99", series: worst("commit_p99_ms") }]} />
      <${Plot} title="Jobs" unit=${count} lines=${[{ label: "waiting", series: depth }, { label: "dead", series: dead }]} />
      <${Plot} title="Oldest job" unit=${duration} lines=${[{ label: "age", series: oldest }]} />
      <${Plot} title="Consumer lag" unit=${count} lines=${[{ label: "messages", series: lag }]} />
      <${Plot} title="Memory" unit=${bytes} lines=${[{ label: "resident", series: gauge("rss_bytes") }]} />
    </div>
  `;
}

/**
 * @template T
 * @param {Record<string, T> | undefined} all
 * @param {(each: T) => number} read
 */
function total(all, read) {
  return all && Object.values(all).reduce((sum, each) => sum + read(each), 0);
}

/** @param {{nodes: Node[]}} props */
function Nodes({ nodes }) {
  /** @type {import("../ui/table.js").Column<Node>[]} */
  const columns = [
    { key: "name", title: "Node", wide: true, cell: (node) => html`<span class="mono">${node.name}</span>` },
    { key: "version", title: "Version", cell: (node) => node.version },
    { key: "uptime", title: "Up for", align: "end", cell: (node) => duration(node.uptime * 1_000) },
    { key: "clients", title: "Connections", align: "end", cell: (node) => count(node.num_clients) },
    { key: "waiting", title: "Waits for a commit", align: "end", cell: (node) => count(node.store.statistics.queue_entries) },
    { key: "store", title: "Store", cell: (node) => html`${node.store.engine} <${Badge}>${node.store.durability}<//>` },
  ];
  return html`<${Panel} title="Nodes"><${Table} label="Nodes" columns=${columns} rows=${nodes} id=${(/** @type {Node} */ node) => node.uid} /><//>`;
}
