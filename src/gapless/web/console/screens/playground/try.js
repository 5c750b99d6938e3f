/** Trying: who does what where, what the server answers, why, and the same as code. */
import { html, useState } from "../../lib.js";
import { refine, route } from "../../route.js";
import { Act } from "../../ui/acting.js";
import { Field, Panel } from "../../ui/basics.js";
import { JsonField, parsed } from "../../ui/json.js";
import { connectionToken, subscriptionToken } from "./held.js";
import { Snippets } from "./snippets.js";
import { Transcript, useTranscript } from "./transcript.js";
import { Why } from "./why.js";

/** @typedef {import("./trying.js").Action} Action */
/** @typedef {{user: string, channel: string, act: Action, by: "made" | "pasted" | "none", first: boolean}} Said */

const ACTS = /** @type {Action[]} */ (["subscribe", "publish", "history", "presence"]);
/** @type {Record<Said["by"], string>} */
const TOKENS = { made: "A token made for this user", pasted: "A token that I have", none: "No token" };

/** What the address says is to be tried. @returns {Said} */
function said() {
  const { user = "", channel = "", act = "", with: by = "", first = "" } = route.value.query;
  const known = ACTS.find((each) => each === act) ?? "subscribe";
  const held = connectionToken.value ? "pasted" : user ? "made" : "none";
  return { user, channel, act: known, by: by in TOKENS ? /** @type {Said["by"]} */ (by) : held, first: first !== "0" };
}

export function Try() {
  const asked = said();
  const [data, setData] = useState('{"text": "hello"}');
  const { steps, run, leave, open } = useTranscript();
  const start = async () => run(asked, parsed(data).value);
  const wrong = !asked.channel || (asked.act === "publish" && !!parsed(data).error) || (asked.by === "pasted" && !connectionToken.value);
  return html`
    <div class="columns">
      <${Panel} title="Who does what">
        <div class="fields">
          <${What} asked=${asked} />
          ${asked.act === "publish" && html`<${JsonField} id="data" label="Payload" text=${data} onText=${setData} hint="Any JSON." />`}
          <${Token} asked=${asked} />
          <div class="actions">
            <${Go} asked=${asked} disabled=${wrong} start=${start} />
            <button type="button" disabled=${!open} onClick=${leave}>Leave</button>
          </div>
        </div>
      <//>
      <div class="stack">
        <${Why} asked=${asked} />
        <${Transcript} steps=${steps} />
      </div>
    </div>
    ${asked.channel && html`<${Snippets} asked=${asked} data=${parsed(data).value} />`}
  `;
}

/** Making a token and publishing are acts; the rest anybody may do who has a token. @param {{asked: Said, disabled: boolean, start: () => Promise<void>}} props */
function Go({ asked, disabled, start }) {
  const acts = asked.by === "made" || asked.act === "publish";
  if (acts) return html`<${Act} class="primary" act=${start} disabled=${disabled}>Try it<//>`;
  return html`<button type="button" class="primary" disabled=${disabled} onClick=${start}>Try it</button>`;
}

/** @param {{asked: Said}} props */
function What({ asked }) {
  const typed = (/** @type {string} */ name) => (/** @type {any} */ event) => refine({ [name]: event.target.value });
  return html`
    <${Field} label="User" id="user" hint="Nobody in particular: anonymous.">
      <input id="user" autocomplete="off" value=${asked.user} disabled=${asked.by !== "made" && asked.by !== "none"} onInput=${typed("user")} />
    <//>
    <${Field} label="Channel" id="channel"><input id="channel" data-search autocomplete="off" value=${asked.channel} onInput=${typed("channel")} /><//>
    <div class="choice fills" role="group" aria-label="What to do">
      ${ACTS.map((act) => html`<button type="button" key=${act} aria-pressed=${act === asked.act} onClick=${() => refine({ act })}>${act}</button>`)}
    </div>
    ${asked.act !== "subscribe" && html`
      <label class="check"><input type="checkbox" checked=${asked.first} onChange=${(/** @type {any} */ event) => refine({ first: event.target.checked ? "" : "0" })} /> Subscribe first: some things only subscribers may</label>
    `}
  `;
}

/** @param {{asked: Said}} props */
function Token({ asked }) {
  const typed = (/** @type {import("../../lib.js").Signal<string>} */ held) => (/** @type {any} */ event) => (held.value = event.target.value.trim());
  return html`
    <${Field} label="Connects with" id="with">
      <select id="with" value=${asked.by} onChange=${(/** @type {any} */ event) => refine({ with: event.target.value })}>
        ${Object.entries(TOKENS).map(([key, title]) => html`<option value=${key} key=${key}>${title}</option>`)}
      </select>
    <//>
    ${asked.by === "pasted" && html`
      <${Field} label="Connection token" id="token" hint="It stays in this page, and does not stand in its address.">
        <textarea id="token" rows="3" spellcheck="false" autocomplete="off" value=${connectionToken.value} onInput=${typed(connectionToken)}></textarea>
      <//>
    `}
    <details open=${!!subscriptionToken.value}>
      <summary>With a subscription token</summary>
      <${Field} label="Subscription token" id="subscription-token" hint="Where the rules of a channel alone do not let somebody in.">
        <textarea id="subscription-token" rows="3" spellcheck="false" autocomplete="off" value=${subscriptionToken.value} onInput=${typed(subscriptionToken)}></textarea>
      <//>
    </details>
  `;
}
