/** The channels that somebody follows, by their names. */
import { count } from "../../format.js";
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { go, href } from "../../route.js";
import { Empty, GoTo, Loaded, Page, Panel, Search, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { Pages } from "../../ui/pages.js";
import { Table } from "../../ui/table.js";

const LIMIT = 50;
const EVERY_MS = 3_000;

/** @typedef {{name: string, num_clients: number}} Followed */

export function Channels() {
  const q = useChosen("q");
  const after = useChosen("after");
  const loaded = useCall("channels", { pattern: pattern(q), limit: LIMIT, after }, EVERY_MS);
  return html`
    <${Page} title="Channels" lead="Those that somebody follows now. Any other can be opened by its name."
      actions=${html`<${GoTo} label="Name of a channel" place="channels" />`}>
      <div class="row"><${Search} label="Search channels" placeholder="Name, or a pattern: chat:*" /></div>
      <${Panel}><${Loaded} loaded=${loaded}>${(/** @type {any} */ told) => html`<${List} told=${told} q=${q} after=${after} />`}<//><//>
    <//>
  `;
}

/** A word without wildcards may stand anywhere in a name. @param {string} q */
function pattern(q) {
  if (!q) return "";
  const literal = q.replaceAll("[", "[[]"); // a set of characters is not what somebody means who types that
  return /[*?]/.test(q) ? literal : `*${literal}*`;
}

/** @param {{told: {channels: Record<string, {num_clients: number}>, next?: string}, q: string, after: string}} props */
function List({ told, q, after }) {
  /** @type {Followed[]} */
  const rows = Object.entries(told.channels).map(([name, { num_clients }]) => ({ name, num_clients }));
  /** @type {import("../../ui/table.js").Column<Followed>[]} */
  const columns = [
    { key: "name", title: "Channel", wide: true, cell: ({ name }) => html`<a class="mono" href=${href(["channels", name])}>${name}</a>` },
    { key: "subscribers", title: "Subscribers", align: "end", cell: ({ name, num_clients }) => html`<a href=${href(["connections"], { channel: name })}>${count(num_clients)}</a>` },
  ];
  return html`
    <${Table} label="Channels" columns=${columns} rows=${rows} id=${(/** @type {Followed} */ row) => row.name}
      open=${(/** @type {Followed} */ row) => go(["channels", row.name])} empty=${html`<${Nobody} q=${q} after=${after} />`} />
    <${Pages} label="Pages of channels" next=${told.next} />
  `;
}

/** @param {{q: string, after: string}} props */
function Nobody({ q, after }) {
  if (after) return html`<${Empty} title="No more channels"><a href=${href(["channels"], { q })}>Back to the first page</a><//>`;
  if (q) {
    return html`
      <${Empty} title="No channel that is followed has such a name">
        <p>A word is looked for anywhere in a name; <code>*</code> stands for anything. <a href=${href(["channels"])}>Show all</a>, or <a href=${href(["channels", q])}>open ${q}</a>.</p>
      <//>
    `;
  }
  return html`
    <${Empty} title="Nobody follows a channel now">
      <p>Follow one from a terminal: ${command("tail chat")}, or <a href=${href(["channels", "chat"])}>open chat</a> here.</p>
    <//>
  `;
}
