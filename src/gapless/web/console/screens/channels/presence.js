/** Who is in a channel. */
import { count, counted, oneLine } from "../../format.js";
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { go, href } from "../../route.js";
import { Empty, Loaded } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

const EVERY_MS = 3_000;
const SHOWN_MAX = 500;

/** @typedef {{client: string, user: string, conn_info?: unknown, chan_info?: unknown}} Present */

/** @param {{channel: string}} props */
export function Presence({ channel }) {
  const loaded = useCall("presence", { channel }, EVERY_MS);
  const error = /** @type {import("../../api.js").ApiError | null} */ (loaded.error.value);
  if (error?.reason === "not_available") {
    return html`
      <${Empty} title="This channel keeps no presence">
        <p>Set <code>presence</code> of its namespace: see the <a href=${href(["channels", channel], { tab: "options" })}>options</a>. Who is subscribed can be seen among the <a href=${href(["connections"], { channel })}>connections</a>.</p>
      <//>
    `;
  }
  return html`<${Loaded} loaded=${loaded}>${(/** @type {any} */ told) => html`<${People} channel=${channel} present=${Object.values(told.presence)} />`}<//>`;
}

/** @param {{channel: string, present: Present[]}} props */
function People({ channel, present }) {
  const users = new Set(present.map(({ user }) => user)).size;
  const rows = present.sort((a, b) => (a.user < b.user ? -1 : a.user > b.user ? 1 : a.client < b.client ? -1 : 1)).slice(0, SHOWN_MAX);
  /** @type {import("../../ui/table.js").Column<Present>[]} */
  const columns = [
    { key: "user", title: "User", wide: true, cell: ({ user }) => (user ? html`<a href=${href(["connections"], { user })}>${user}</a>` : html`<span class="muted">anonymous</span>`) },
    { key: "client", title: "Connection", cell: ({ client }) => html`<a class="mono" href=${href(["connections", client])} title=${client}>${client.slice(0, 8)}</a>` },
    { key: "info", title: "Info", wide: true, cell: (row) => html`<span class="mono small">${infoOf(row)}</span>` },
  ];
  return html`
    <div class="stack">
      ${present.length > 0 && html`<p role="status"><strong>${counted(present.length, "connection")}</strong> of <strong>${counted(users, "user")}</strong>${present.length > rows.length && `, of which the first ${count(rows.length)} are shown`}</p>`}
      <${Table} label="Who is here" columns=${columns} rows=${rows} id=${(/** @type {Present} */ row) => row.client}
        open=${(/** @type {Present} */ row) => go(["connections", row.client])}
        empty=${html`<${Empty} title="Nobody is here">Subscribers appear here as they come. <a href=${href(["channels", channel])}>Follow the channel yourself</a>: the console does not enter presence.<//>`} />
    </div>
  `;
}

/** @param {Present} row */
function infoOf({ conn_info, chan_info }) {
  return [conn_info, chan_info].filter((info) => info != null).map(oneLine).join(" ") || "–";
}
