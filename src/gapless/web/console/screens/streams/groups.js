/** Who reads a stream: how far each group is, who is in it, and moving it elsewhere. */
import { call } from "../../api.js";
import { count, digits, duration } from "../../format.js";
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { formless, refine } from "../../route.js";
import { shared } from "../../samples.js";
import { Act } from "../../ui/acting.js";
import { Badge, Empty, Loaded, useChosen } from "../../ui/basics.js";
import { Plot } from "../../ui/plot.js";
import { Table } from "../../ui/table.js";
import { Left } from "../../ui/ticking.js";
import { Seek } from "./seek.js";

/** @typedef {import("./source.js").Group} Group */
/** @typedef {import("./source.js").Source} Source */
/** @typedef {{partition: number, last: number, position?: {offset?: number, epoch: string}, lag: number, lag_ms: number,
 *   lost: boolean, member: string, fence_number: number}} Lag */

const POLL_MS = 3_000;
const ASKED_MAX = 20; // groups whose lag is asked for at once

/** @param {{source: Source, groups: import("../../loading.js").Loaded<{groups: Group[]}>}} props */
export function Groups({ source, groups }) {
  return html`<${Loaded} loaded=${groups}>${(/** @type {{groups: Group[]}} */ told) => html`<${List} source=${source} groups=${told.groups} reload=${groups.reload} />`}<//>`;
}

/** @param {{source: Source, groups: Group[], reload: () => void}} props */
function List({ source, groups, reload }) {
  const chosen = useChosen("group", groups[0]?.group);
  const group = groups.find((each) => each.group === chosen);
  const names = groups.slice(0, ASKED_MAX).map((each) => each.group);
  const lags = useLoaded((signal) => lagsOf(source.name, names, signal), [names.join("\n")], POLL_MS);
  const empty = html`<${Empty} title="No group reads it">A worker that handles the stream under a name is a group: <code>@gl.stream("${source.name}", group="billing")</code>.<//>`;
  return html`
    <${Table} label="Groups" columns=${columns(lags.data.value)} rows=${groups} id=${(/** @type {Group} */ each) => each.group} chosen=${chosen}
      open=${(/** @type {Group} */ each) => refine({ ...formless(), group: each.group })} empty=${empty} />
    ${group && html`<${Chosen} key=${group.group} source=${source} group=${group} reload=${reload} />`}
  `;
}

/**
 * @param {string} source
 * @param {string[]} groups
 * @param {AbortSignal} signal
 * @returns {Promise<Map<string, Lag[]>>}
 */
async function lagsOf(source, groups, signal) {
  const lags = await Promise.all(groups.map((group) => call("stream/lag", { source, group }, signal).catch(() => ({ partitions: [] }))));
  return new Map(groups.map((group, n) => [group, lags[n].partitions]));
}

/**
 * @param {Map<string, Lag[]> | null} lags
 * @returns {import("../../ui/table.js").Column<Group>[]}
 */
function columns(lags) {
  const of = (/** @type {Group} */ { group }) => lags?.get(group);
  const sum = (/** @type {Group} */ each) => of(each)?.reduce((all, { lag }) => all + lag, 0);
  const oldest = (/** @type {Group} */ each) => Math.max(0, ...(of(each) ?? []).map(({ lag_ms }) => lag_ms));
  return [
    { key: "group", title: "Group", wide: true, cell: (each) => html`${each.group} ${of(each)?.some(({ lost }) => lost) && html`<${Badge} tone="bad">lost messages<//>`}` },
    { key: "members", title: "Members", align: "end", cell: (each) => (each.members.length ? count(each.members.length) : html`<span class="warn">none</span>`) },
    { key: "lag", title: "Lag", align: "end", cell: (each) => html`<span class=${sum(each) ? "warn" : ""}>${count(sum(each))}</span>` },
    { key: "behind", title: "Oldest waits", align: "end", cell: (each) => (oldest(each) ? duration(oldest(each)) : "–") },
  ];
}

/** @param {{source: Source, group: Group, reload: () => void}} props */
function Chosen({ source: { name, partitions }, group, reload }) {
  const lag = useLoaded((signal) => call("stream/lag", { source: name, group: group.group }, signal), [], POLL_MS);
  const key = `${name}/${group.group}`;
  const drop = async () => {
    await call("stream/drop_group", { source: name, group: group.group });
    refine({ group: "" });
    reload();
    return `Dropped the group ${group.group}.`;
  };
  const ask = { title: "Drop this group?", body: "Where it stood is forgotten. Its members begin anew, where they say.", word: group.group, button: "Drop the group", danger: true };
  return html`
    <section class="stack">
      <div class="row toolbar"><h2>${group.group}</h2><span class="grow"></span><${Act} act=${drop} ask=${ask} class="danger">Drop the group …<//></div>
      <div class="plots">
        <${Plot} title="Lag" unit=${count} lines=${[{ label: "messages", series: shared((sample) => sample.groups?.[key]?.lag) }]} />
        <${Plot} title="The oldest waits for" unit=${duration} lines=${[{ label: "time", series: shared((sample) => sample.groups?.[key]?.lag_ms) }]} />
      </div>
      <div class="columns">
        <section class="stack"><h3>Partitions</h3><${Loaded} loaded=${lag}>${(/** @type {any} */ told) => html`<${Lags} lags=${told.partitions} />`}<//></section>
        <section class="stack"><h3>Members</h3><${Members} group=${group} /></section>
      </div>
      <${Seek} source=${name} group=${group.group} partitions=${partitions.map(({ partition }) => partition)} done=${() => (lag.reload(), reload())} />
    </section>
  `;
}

/** @type {import("../../ui/table.js").Column<Lag>[]} */
const LAGS = [
  { key: "partition", title: "Partition", cell: (each) => count(each.partition) },
  { key: "position", title: "Stands at", align: "end", cell: (each) => html`${digits(each.position ? (each.position.offset ?? 0) : null)} ${each.lost && html`<${Badge} tone="bad" title="Messages that it did not read are gone">lost<//>`}` },
  { key: "last", title: "Last", align: "end", cell: (each) => digits(each.last) },
  { key: "lag", title: "Lag", align: "end", cell: (each) => html`<span class=${each.lag ? "warn" : ""}>${count(each.lag)}</span>` },
  { key: "lag_ms", title: "Oldest waits", align: "end", cell: (each) => (each.lag_ms ? duration(each.lag_ms) : "–") },
  { key: "member", title: "Held by", cell: (each) => html`<span class="brief mono" title=${each.member}>${each.member || "nobody"}</span>` },
  { key: "fence", title: "Fence", align: "end", cell: (each) => (each.fence_number ? digits(each.fence_number) : "–") },
];

/** @param {{lags: Lag[]}} props */
function Lags({ lags }) {
  return html`<${Table} label="Lag by partition" columns=${LAGS} rows=${lags} id=${(/** @type {Lag} */ each) => `${each.partition}`} />`;
}

/** @typedef {Group["members"][0]} Member */
/** @type {import("../../ui/table.js").Column<Member>[]} */
const MEMBERS = [
  { key: "member", title: "Member", wide: true, cell: (each) => html`<span class="mono">${each.member}</span>` },
  { key: "partitions", title: "Holds", cell: (each) => each.partitions.join(", ") || "nothing" },
  { key: "session", title: "Session ends in", align: "end", cell: (each) => html`<${Left} at_ms=${each.session_until_ms} over="over" />` },
];

/** @param {{group: Group}} props */
function Members({ group }) {
  return html`<${Table} label="Members" columns=${MEMBERS} rows=${group.members} id=${(/** @type {Member} */ each) => each.member}
    empty=${html`<${Empty} title="Nobody is in it">The group stays where it is until a member comes.<//>`} />`;
}
