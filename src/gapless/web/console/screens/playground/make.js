/** Making tokens, as a backend does. */
import { call } from "../../api.js";
import { html, useState } from "../../lib.js";
import { go, route } from "../../route.js";
import { Copy } from "../../ui/copy.js";
import { Empty, Json, Panel, Time } from "../../ui/basics.js";
import { Form, Input, JsonInput, Select, number, useForm } from "../../ui/form.js";
import { parsed } from "../../ui/json.js";
import { Left } from "../../ui/ticking.js";
import { connectionToken, subscriptionToken } from "./held.js";

/** @typedef {{token: string, claims: Record<string, unknown>, expires_ms?: number}} Made */

/** @type {[string, string][]} */
const KINDS = [["connection", "A connection: who somebody is"], ["subscription", "A subscription to one channel"]];
/** @type {[string, string][]} in seconds */
const LIFETIMES = [["600", "10 minutes"], ["3600", "an hour"], ["86400", "a day"], ["2592000", "30 days"], ["0", "ever"]];

export function Make() {
  const { user = "", channel = "" } = route.value.query;
  const form = useForm("make", { user, channel, kind: "connection", lifetime: "600", info: "", claims: "" });
  const [made, setMade] = useState(/** @type {(Made & {kind: string}) | null} */ (null));
  const { kind, info, claims } = form.values;
  const make = async () => setMade({ kind, ...(await call("token/make", asked(form.values))) });
  return html`
    <div class="columns">
      <${Panel} title="What it says">
        <${Form} act=${make} button="Make a token" disabled=${!!parsed(info).error || !!parsed(claims, "object").error}>
          <${Select} form=${form} name="kind" label="A token for" options=${KINDS} />
          <${Input} form=${form} name="user" label="User" hint="Nobody in particular: anonymous." />
          ${kind === "subscription" && html`<${Input} form=${form} name="channel" label="Channel" required />`}
          <${Select} form=${form} name="lifetime" label="Good for" options=${LIFETIMES} />
          <${JsonInput} form=${form} name="info" label="Info" placeholder=${'{"name": "Ann"}'} hint="What others see of the user. Any JSON." />
          <${JsonInput} form=${form} name="claims" label="Further claims" kind="object" placeholder=${'{"channels": ["news"]}'} hint="A JSON object, laid over what stands in the token anyway." />
        <//>
      <//>
      <${Panel} title="The token">${made ? html`<${Shown} ...${made} />` : html`<${Empty} title="None is made yet">It is signed with <code>client.token.hmac_secret_key</code>, as your backend does it. On the command line: <code>gapless token make</code>.<//>`}<//>
    </div>
  `;
}

/** @param {Record<string, string>} values */
function asked({ user, channel, kind, lifetime, info = "", claims = "" }) {
  const said = { info: parsed(info).value, claims: parsed(claims, "object").value, channel: kind === "subscription" ? channel : undefined };
  return { user, expires_in_s: number(lifetime ?? 0), ...said };
}

/** @param {Made & {kind: string}} props */
function Shown({ token, claims, expires_ms, kind }) {
  const tryIt = () => {
    (kind === "subscription" ? subscriptionToken : connectionToken).value = token;
    go(["playground"], { ...route.value.query, tab: "try", user: String(claims["sub"] ?? ""), ...(kind === "subscription" ? { channel: String(claims["channel"] ?? "") } : { with: "pasted" }) });
  };
  return html`
    <div class="stack">
      <textarea class="token" readonly rows="6" aria-label="Token" value=${token}></textarea>
      <div class="actions">
        <${Copy} text=${token} what="the token" />
        <button type="button" onClick=${tryIt}>Try it</button>
      </div>
      <p>${expires_ms ? html`Good until <${Time} at_ms=${expires_ms} />, for <${Left} at_ms=${expires_ms} over="no longer" />.` : "Good for ever, until it is revoked or the secret is another."}</p>
      <h3>Claims</h3>
      <${Json} data=${claims} />
    </div>
  `;
}
