/** What this is, and what it is made of. */
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { about } from "../../session.js";
import { Loaded, Panel } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

/** @typedef {{file: string, package: string, version: string, licence: string, licence_files: string[]}} Vendored */

export function About() {
  const made = useLoaded(() => fetch("vendor/versions.json").then((answer) => answer.json()), []);
  return html`
    <${Panel} title="This server">
      <dl class="facts">
        <dt>Version</dt><dd>${about.value?.version}</dd>
        <dt>API</dt><dd class="mono">${about.value?.api}</dd>
        <dt>WebSocket</dt><dd class="mono">${about.value?.websocket}</dd>
        <dt>Messages</dt><dd class="mono">${about.value?.messages ?? "off"}</dd>
        <dt>Started by</dt><dd>${about.value?.dev ? html`<code>gapless dev</code>: for development only` : html`<code>gapless serve</code>`}</dd>
      </dl>
    <//>
    <${Panel} title="What this page loads of others">
      <${Loaded} loaded=${made}>${(/** @type {Vendored[]} */ all) => html`<${Table} label="Libraries" columns=${COLUMNS} rows=${packages(all)} id=${(/** @type {Vendored} */ each) => each.package} />`}<//>
    <//>
  `;
}

/** Several files may come of one package. @param {Vendored[]} all */
const packages = (all) => [...new Map(all.map((each) => [each.package, each])).values()];

/** @type {import("../../ui/table.js").Column<Vendored>[]} */
const COLUMNS = [
  { key: "package", title: "Library", wide: true, cell: (each) => html`<span class="mono">${each.package}</span>` },
  { key: "version", title: "Version", cell: (each) => each.version },
  { key: "licence", title: "Licence", cell: (each) => each.licence },
  { key: "texts", title: "Its text", cell: (each) => each.licence_files.map((file) => html`<a key=${file} href=${`vendor/${file}`}>${file.replace(/^.*\//, "")}</a> `) },
];
