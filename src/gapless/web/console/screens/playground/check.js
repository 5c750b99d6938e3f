/** Checking a token: whether it is accepted, or why not, which the server does not tell a stranger. */
import { call } from "../../api.js";
import { html, useSignal } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { refine, route } from "../../route.js";
import { Badge, Empty, Field, Json, Loaded, Panel, Time } from "../../ui/basics.js";
import { Left } from "../../ui/ticking.js";

/** @typedef {{valid: boolean, reason: string, claims?: Record<string, unknown>, expires_ms?: number}} Checked */

const TYPING_MS = 250;

export function Check() {
  const token = useSignal("");
  const { channel = "" } = route.value.query;
  return html`
    <div class="columns">
      <${Panel} title="A token">
        <div class="fields">
          <${Field} label="Token" id="checked" hint="It is sent to this server alone, and does not stand in the address.">
            <textarea id="checked" class="token" rows="8" spellcheck="false" autocomplete="off" value=${token.value}
              onInput=${(/** @type {any} */ event) => (token.value = event.target.value.trim())}></textarea>
          <//>
          <${Field} label="Channel" id="channel" hint="Only for a subscription token.">
            <input id="channel" autocomplete="off" value=${channel} onInput=${(/** @type {any} */ event) => refine({ channel: event.target.value })} />
          <//>
        </div>
      <//>
      <${Panel} title="What the server says of it">
        ${token.value ? html`<${Verdict} token=${token.value} channel=${channel} />` : html`<${Empty} title="No token yet">Paste one: whether it is accepted, why not, and what it says stands here then. On the command line: <code>gapless token check</code>.<//>`}
      <//>
    </div>
  `;
}

/** @param {{token: string, channel: string}} props */
function Verdict({ token, channel }) {
  const loaded = useLoaded(async (signal) => {
    await new Promise((resolve) => setTimeout(resolve, TYPING_MS));
    return signal.aborted ? null : /** @type {Checked} */ (await call("token/check", { token, ...(channel ? { channel } : {}) }, signal));
  }, [token, channel]);
  return html`<${Loaded} loaded=${loaded}>${(/** @type {Checked} */ told) => html`<${Told} ...${told} />`}<//>`;
}

/** @param {Checked} props */
function Told({ valid, reason, claims, expires_ms }) {
  return html`
    <div class="stack">
      <p class="wraps"><${Badge} tone=${valid ? "good" : "bad"}>${valid ? "valid" : "not valid"}<//> ${reason}</p>
      ${expires_ms ? html`<p>Expires <${Time} at_ms=${expires_ms} /> (<${Left} at_ms=${expires_ms} over="it has" />).</p>` : claims && html`<p>It does not say when it expires.</p>`}
      ${claims && html`<h3>What it says</h3><${Json} data=${claims} />`}
    </div>
  `;
}
