/** The nodes: what each is called, runs, and stores in. */
import { count, duration } from "../../format.js";
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { Badge, Loaded, Panel } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

/** @typedef {import("../overview.js").Node} Node */

const NODES_MS = 5_000;

export function Nodes() {
  return html`<${Loaded} loaded=${useCall("info", {}, NODES_MS)}>${(/** @type {{nodes: Node[]}} */ { nodes }) => html`<${All} nodes=${nodes} />`}<//>`;
}

/** @param {{nodes: Node[]}} props */
function All({ nodes }) {
  const versions = new Set(nodes.map((node) => node.version));
  const stores = new Set(nodes.map((node) => node.store.epoch));
  return html`
    ${versions.size > 1 && html`<p class="note warn">The nodes run ${versions.size} versions. That is meant for the time of a rollout only.</p>`}
    ${stores.size > 1 && html`<p class="note bad">The nodes name ${stores.size} generations of the store: they may not share one.</p>`}
    <${Panel} title=${nodes.length === 1 ? "One node" : `${nodes.length} nodes`}>
      <${Table} label="Nodes" columns=${COLUMNS} rows=${nodes} id=${(/** @type {Node} */ node) => node.uid} />
    <//>
  `;
}

/** @type {import("../../ui/table.js").Column<Node>[]} */
const COLUMNS = [
  { key: "name", title: "Node", wide: true, cell: (node) => html`<span class="mono">${node.name}</span><br /><span class="mono muted small" title="Its id, another one after each start">${node.uid}</span>` },
  { key: "version", title: "Version", cell: (node) => node.version },
  { key: "uptime", title: "Up for", align: "end", cell: (node) => duration(node.uptime * 1_000) },
  { key: "clients", title: "Connections", align: "end", cell: (node) => count(node.num_clients) },
  { key: "users", title: "Users", align: "end", cell: (node) => count(node.num_users) },
  { key: "subs", title: "Subscriptions", align: "end", cell: (node) => count(node.num_subs) },
  { key: "store", title: "Store", cell: (node) => html`${node.store.engine} <${Badge}>${node.store.durability}<//>` },
  { key: "epoch", title: "Generation", cell: (node) => html`<span class="mono">${node.store.epoch}</span>` },
];
