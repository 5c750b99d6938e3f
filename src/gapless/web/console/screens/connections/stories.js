/** The latest that happened to anybody, those who are gone among them. */
import { counted } from "../../format.js";
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { go, href, refine } from "../../route.js";
import { Empty, Loaded, Search, Time, useChosen } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { NodeName } from "../../ui/nodes.js";
import { Table } from "../../ui/table.js";
import { Happened } from "./timeline.js";
import { short } from "./told.js";

/** @typedef {import("./words.js").Event} Event */

const EVERY_MS = 3_000;
const LIMIT = 200;
const LIMIT_MAX = 1_000;

/** @type {Record<string, [string, (event: Event) => boolean]>} */
const KINDS = {
  "": ["Everything", () => true],
  returns: ["Who came back", ({ what }) => what === "recovered" || what === "lost"],
  lost: ["Gaps", ({ what }) => what === "lost"],
  cuts: ["Cuts", ({ what, by }) => what === "disconnected" && by !== "client"],
  full: ["Full sockets", ({ what }) => what === "stalled" || what === "resumed"],
};

export function Stories() {
  const [user, kind, more] = [useChosen("user"), useChosen("what"), useChosen("more")];
  const limit = more || kind ? LIMIT_MAX : LIMIT;
  const loaded = useCall("connection/stories", { user, limit }, EVERY_MS);
  const [, fits] = KINDS[kind] ?? ["", () => true];
  return html`
    <div class="stack">
      <div class="row">
        <${Search} name="user" label="Of a user" placeholder="User" />
        <select aria-label="What happened" value=${kind} onChange=${(/** @type {any} */ event) => refine({ what: event.target.value })}>
          ${Object.entries(KINDS).map(([key, [title]]) => html`<option key=${key} value=${key} selected=${key === kind}>${title}</option>`)}
        </select>
      </div>
      <${Loaded} loaded=${loaded}>${(/** @type {{events: Event[]}} */ { events }) => html`<${Latest} events=${events.filter(fits)} full=${events.length >= limit} limit=${limit} narrowed=${Boolean(user || kind)} />`}<//>
    </div>
  `;
}

/** @param {{events: Event[], full: boolean, limit: number, narrowed: boolean}} props */
function Latest({ events, full, limit, narrowed }) {
  /** @type {import("../../ui/table.js").Column<Event & {key: string}>[]} */
  const columns = [
    { key: "at", title: "When", cell: ({ at_ms }) => html`<${Time} at_ms=${at_ms} />` },
    { key: "who", title: "Who", cell: ({ user, client }) => html`<a class="cut" href=${href(["connections", client])} title=${user}>${user || "anonymous"}</a><span class="under mono">${short(client)}</span>` },
    { key: "what", title: "What happened", wide: true, cell: (event) => html`<${Happened} event=${event} />` },
    { key: "node", title: "Node", cell: ({ node }) => html`<span class="muted"><${NodeName} uid=${node} /></span>` },
  ];
  return html`
    <${Table} label="Stories" columns=${columns} rows=${keyed(events)} id=${(/** @type {{key: string}} */ row) => row.key}
      open=${(/** @type {Event} */ event) => go(["connections", event.client])} empty=${html`<${Nothing} narrowed=${narrowed} />`} />
    ${full && limit < LIMIT_MAX && html`<p><button type="button" onClick=${() => refine({ more: 1 })}>Show ${counted(LIMIT_MAX, "event")}</button></p>`}
  `;
}

/** One connection may do several things of a kind in a millisecond. @param {Event[]} events */
function keyed(events) {
  /** @type {Map<string, number>} */
  const same = new Map();
  return events.map((event) => {
    const key = `${event.client} ${event.at_ms} ${event.what} ${event.channel ?? ""}`;
    const number = (same.get(key) ?? 0) + 1;
    same.set(key, number);
    return { ...event, key: `${key} ${number}` };
  });
}

/** @param {{narrowed: boolean}} props */
function Nothing({ narrowed }) {
  if (narrowed) return html`<${Empty} title="Nothing of that happened lately"><a href=${href(["connections"], { tab: "stories" })}>Show everything</a><//>`;
  return html`<${Empty} title="Nothing happened yet">A story begins when somebody connects: ${command("tail chat")}<//>`;
}
