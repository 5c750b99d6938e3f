/** The playground: be somebody else, and see what the server answers and why. */
import { html } from "../lib.js";
import { Page, Tabs, useOneOf } from "../ui/basics.js";
import { Check } from "./playground/check.js";
import { Make } from "./playground/make.js";
import { Try } from "./playground/try.js";

/** @type {[string, string, any][]} */
const TABS = [
  ["try", "Try as a user", Try],
  ["make", "Make a token", Make],
  ["check", "Check a token", Check],
];

export function Screen() {
  const chosen = useOneOf(TABS);
  const [, , Tab] = TABS.find(([key]) => key === chosen) ?? TABS[0] ?? [];
  return html`
    <${Page} title="Playground" lead="Connect as somebody else with the public SDK, and see what the server answers and why.">
      <${Tabs} label="Playground" tabs=${TABS.map(([key, title]) => [key, title])} />
      <div class="stack" role="tabpanel" aria-labelledby=${`tab-${chosen}`}><${Tab} /></div>
    <//>
  `;
}
