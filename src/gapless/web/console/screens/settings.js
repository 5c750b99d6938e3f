/** Settings: what the server was told, its nodes, what was done by whom, and what this is made of. */
import { html } from "../lib.js";
import { session } from "../session.js";
import { Page, Tabs, Time, useOneOf } from "../ui/basics.js";
import { About } from "./settings/about.js";
import { Audit } from "./settings/audit.js";
import { Configuration } from "./settings/configuration.js";
import { Nodes } from "./settings/nodes.js";

/** @type {[string, string, any][]} */
const TABS = [
  ["configuration", "Configuration", Configuration],
  ["nodes", "Nodes", Nodes],
  ["audit", "Audit", Audit],
  ["about", "About", About],
];

export function Screen() {
  const chosen = useOneOf(TABS);
  const [, , Tab] = TABS.find(([key]) => key === chosen) ?? TABS[0] ?? [];
  return html`
    <${Page} title="Settings" lead=${html`<${Who} />`}>
      <${Tabs} label="Settings" tabs=${TABS.map(([key, title]) => [key, title])} />
      <div class="stack" role="tabpanel" aria-labelledby=${`tab-${chosen}`}><${Tab} /></div>
    <//>
  `;
}

/** Who is logged in, as what, until when. */
function Who() {
  const here = session.value;
  if (!here) return null;
  const role = here.role === "operator" ? "an operator, who may do everything" : "a reader, who may look and not act";
  return html`You are <strong>${here.name || "anybody"}</strong>, ${role}. This session lasts until <${Time} at_ms=${here.expires_ms} />, and is renewed while the page is open.`;
}
