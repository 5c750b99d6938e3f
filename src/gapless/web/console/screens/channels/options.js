/** The options that hold in a channel, and where each was set. */
import { html } from "../../lib.js";
import { href, refine } from "../../route.js";
import { Badge, Empty, useChosen } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

/** @typedef {{name: string, value: unknown, origin: string}} Option */

const DEFAULT = "default";

/** @param {{options: {namespace: string, options: Option[], private?: boolean, users?: string[]}}} props */
export function Options({ options: { namespace, options, private: isPrivate, users } }) {
  const own = useChosen("own") === "1";
  const text = useChosen("option").toLowerCase();
  const rows = options.filter(({ name, origin }) => name.includes(text) && (!own || origin !== DEFAULT));
  /** @type {import("../../ui/table.js").Column<Option>[]} */
  const columns = [
    { key: "name", title: "Option", wide: true, cell: ({ name }) => html`<span class="mono">${name}</span>` },
    { key: "value", title: "Value", cell: ({ value }) => html`<span class="mono wrap">${said(value)}</span>` },
    { key: "origin", title: "Set by", cell: ({ origin }) => (origin === DEFAULT ? html`<span class="muted">default</span>` : html`<${Badge} tone="accent">${origin}<//>`) },
  ];
  return html`
    <div class="stack">
      <p>
        ${namespace ? html`Those of the namespace <strong class="mono">${namespace}</strong>` : "Those of channels without a namespace"}${isPrivate && ". Private: it needs a subscription token"}${users && html`. Limited to ${users.join(", ")}`}.
        <span class="muted"> All settings: <a href=${href(["settings"])}>Settings</a>.</span>
      </p>
      <div class="row">
        <input type="search" aria-label="Search options" placeholder="Search options" value=${text} onInput=${(/** @type {any} */ event) => refine({ option: event.target.value })} />
        <label class="check"><input type="checkbox" checked=${own} onChange=${(/** @type {any} */ event) => refine({ own: event.target.checked ? 1 : "" })} /> Only what was set</label>
      </div>
      <${Table} label="Options" columns=${columns} rows=${rows} id=${(/** @type {Option} */ row) => row.name}
        empty=${html`<${Empty} title=${own && !text ? "Nothing was set: all options are at their defaults" : "No such option"} />`} />
    </div>
  `;
}

/** @param {unknown} value */
function said(value) {
  return typeof value === "string" ? value || '""' : JSON.stringify(value);
}
