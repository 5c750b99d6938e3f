/** The effective configuration: each option with its value, and where that was said. */
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { refine } from "../../route.js";
import { Badge, Empty, Loaded, Panel, Search, useChosen } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

/** @typedef {{key: string, value: unknown, origin: string}} Line */

const DEFAULT = "default";

export function Configuration() {
  const loaded = useCall("config");
  return html`<${Loaded} loaded=${loaded}>${(/** @type {{node: string, lines: Line[]}} */ config) => html`<${Lines} ...${config} />`}<//>`;
}

/** @param {{node: string, lines: Line[]}} props */
function Lines({ node, lines }) {
  const text = useChosen("q").toLowerCase();
  const only = useChosen("only") === "set";
  const found = lines.filter((line) => (!only || isSet(line)) && says(line, text));
  const sections = [...new Set(found.map(section))];
  const set = lines.filter(isSet).length;
  return html`
    <div class="row">
      <${Search} label="Search options" placeholder="Search options, values, origins" />
      <div class="choice" role="group" aria-label="Which options">
        <button type="button" aria-pressed=${!only} onClick=${() => refine({ only: "" })}>All ${lines.length}</button>
        <button type="button" aria-pressed=${only} onClick=${() => refine({ only: "set" })}>Set ${set}</button>
      </div>
    </div>
    <p class="muted small">As node <span class="mono">${node}</span> runs with it now. Secrets are masked. The same on the command line: <code>gapless config</code>.</p>
    ${!found.length && html`<${Nothing} only=${only && !text} />`}
    ${sections.map((name) => html`<${Section} key=${name} name=${name} lines=${found.filter((line) => section(line) === name)} />`)}
  `;
}

/** @param {{only: boolean}} props */
function Nothing({ only }) {
  if (only) return html`<${Empty} title="Nothing was set: all options are what they are by default">Say otherwise in a file (<code>gapless serve --config</code>), a variable (<code>GAPLESS_…</code>) or with <code>--set</code>.<//>`;
  return html`<${Empty} title="No option fits"><button type="button" onClick=${() => refine({ q: "", only: "" })}>Show all options</button><//>`;
}

/** @param {{name: string, lines: Line[]}} props */
function Section({ name, lines }) {
  const rows = [...lines.filter(isSet), ...lines.filter((line) => !isSet(line))];
  const set = lines.filter(isSet).length;
  return html`
    <${Panel} title=${name} aside=${set > 0 && html`<${Badge} tone="accent">${set} set<//>`}>
      <${Table} label=${`Options of ${name}`} columns=${COLUMNS} rows=${rows} id=${(/** @type {Line} */ line) => line.key} />
    <//>
  `;
}

/** @type {import("../../ui/table.js").Column<Line>[]} */
const COLUMNS = [
  { key: "key", title: "Option", wide: true, cell: (line) => html`<span class=${`mono ${isSet(line) ? "set" : ""}`}>${line.key}</span>` },
  { key: "value", title: "Value", cell: (line) => html`<span class="mono wraps">${written(line.value)}</span>` },
  { key: "origin", title: "From", cell: (line) => html`<span class=${isSet(line) ? "wraps from" : "muted"}>${line.origin}</span>` },
];

/** @param {Line} line */
const isSet = (line) => line.origin !== DEFAULT;

/** Options of one section stand together: `client.token` is of `client`. @param {Line} line */
const section = (line) => line.key.split(/[.[]/, 1)[0] ?? "";

/** @param {Line} line @param {string} text */
function says({ key, value, origin }, text) {
  return `${key} ${written(value)} ${origin}`.toLowerCase().includes(text);
}

/** @param {unknown} value */
function written(value) {
  return value === "" ? "“”" : typeof value === "string" ? value : JSON.stringify(value);
}
