/** Who is connected, to any node; and the latest stories of all. */
import { bytes, count, counted, duration } from "../../format.js";
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { go, href, refine } from "../../route.js";
import { Badge, Empty, Loaded, Page, Search, Tabs, Time, useChosen, useOneOf } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { NodeName } from "../../ui/nodes.js";
import { Pages } from "../../ui/pages.js";
import { Table } from "../../ui/table.js";
import { Stories } from "./stories.js";
import { isBehind, lagOf, listed, sdk, short } from "./told.js";

/** @typedef {import("./told.js").Connected} Connected */

const EVERY_MS = 3_000;
const TABS = /** @type {[string, string][]} */ ([["open", "Open"], ["stories", "Stories"]]);

export function Connections() {
  const tab = useOneOf(TABS);
  return html`
    <${Page} title="Connections" lead="Who is here, how far each has read, and what became of those who were cut.">
      <${Tabs} label="Of connections" tabs=${TABS} forget=${["after", "what"]} />
      <section class="panel" role="tabpanel" aria-labelledby=${`tab-${tab}`}>
        <h2 class="sr-only">${tab === "stories" ? "Stories" : "Open"}</h2>
        ${tab === "stories" ? html`<${Stories} />` : html`<${Open} />`}
      </section>
    <//>
  `;
}

function Open() {
  const [user, channel, after] = [useChosen("user"), useChosen("channel"), useChosen("after")];
  const behind = Boolean(useChosen("behind"));
  const loaded = useLoaded((signal) => listed({ user, channel, after, behind }, signal), [user, channel, after, behind], EVERY_MS);
  return html`
    <div class="stack">
      <div class="row">
        <${Search} name="user" label="Of a user" placeholder="User" />
        <${Search} name="channel" label="Who follows a channel" placeholder="Channel" />
        <label class="check"><input type="checkbox" checked=${behind} onChange=${(/** @type {any} */ event) => refine({ behind: event.target.checked ? 1 : "", after: "" })} />Only laggards</label>
      </div>
      <${Loaded} loaded=${loaded}>${(/** @type {import("./told.js").Listed} */ told) => html`
        <${List} rows=${told.connections} empty=${html`<${Nobody} filtered=${Boolean(user || channel || after)} behind=${behind} total=${told.total} />`} />
        ${told.connections.length > 0 && html`<p class="muted small">${behind ? `${counted(told.connections.length, "laggard")} here, of ` : ""}${counted(told.total, "connection")}</p>`}
        <${Pages} label="Pages of connections" next=${told.next} />
      `}<//>
    </div>
  `;
}

/** @param {{rows: Connected[], empty: any}} props */
function List({ rows, empty }) {
  return html`<${Table} label="Connections" columns=${COLUMNS} rows=${rows} id=${(/** @type {Connected} */ row) => row.client}
    open=${(/** @type {Connected} */ row) => go(["connections", row.client])} empty=${empty} />`;
}

/** @type {import("../../ui/table.js").Column<Connected>[]} */
const COLUMNS = [
  { key: "user", title: "User", wide: true, cell: (row) => html`<a href=${href(["connections", row.client])}>${row.user || "anonymous"}</a> ${row.watches && html`<${Badge} tone="accent" title="This one looks through the console">console<//>`}<span class="under mono" title=${row.client}>${short(row.client)}</span>` },
  { key: "from", title: "From", cell: (row) => html`<span class="mono">${row.address}</span><span class="under">${sdk(row)}</span>` },
  { key: "protocol", title: "Over", cell: (row) => html`${row.transport}<span class="under">${row.protocol}</span>` },
  { key: "follows", title: "Follows", align: "end", cell: (row) => count(row.num_subs) },
  { key: "lag", title: "Lag", align: "end", cell: (row) => html`${count(lagOf(row))}${isBehind(row) && html`<span class="under"><${Badge} tone="warn">${row.stalled ? "full socket" : "behind"}<//></span>`}` },
  { key: "bytes", title: "In, out", align: "end", cell: (row) => html`${bytes(row.received_bytes)}<span class="under">${bytes(row.sent_bytes)}</span>` },
  { key: "rtt", title: "Round trip", align: "end", cell: (row) => duration(row.rtt_ms) },
  { key: "since", title: "Since", align: "end", cell: (row) => html`<${Time} at_ms=${row.connected_ms} /><span class="under"><${NodeName} uid=${row.node} /></span>` },
];

/** @param {{filtered: boolean, behind: boolean, total: number}} props */
function Nobody({ filtered, behind, total }) {
  if (behind) return html`<${Empty} title="Nobody lags behind">All of ${counted(total, "connection")} have what there is. <a href=${href(["connections"])}>Show all</a><//>`;
  if (filtered) {
    return html`<${Empty} title="Nobody who is connected fits">Users and channels are looked for by their whole names. Who is gone may have left <a href=${href(["connections"], { tab: "stories" })}>a story</a>. <a href=${href(["connections"])}>Show all</a><//>`;
  }
  return html`<${Empty} title="Nobody is connected">Come from a terminal: ${command("tail chat")}<//>`;
}
