/** Why: what the server would decide, by what it decides really, and the option that does. */
import { call } from "../../api.js";
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { href } from "../../route.js";
import { Badge, Empty, Loaded, Panel } from "../../ui/basics.js";
import { connectionToken, subscriptionToken } from "./held.js";

/** @typedef {import("./try.js").Said} Said */
/** @typedef {{asked: Said, allowed: boolean | null, reason: string, option?: string}} Explained */

const TYPING_MS = 250;

/** Ask the server, once nobody types any more, what it would decide. @param {{asked: Said}} props */
export function Why({ asked }) {
  const body = explained(asked);
  const loaded = useLoaded(async (signal) => {
    await new Promise((resolve) => setTimeout(resolve, TYPING_MS));
    return asked.channel && !signal.aborted ? /** @type {Explained} */ ({ asked, ...(await call("explain", body, signal)) }) : null;
  }, [JSON.stringify(body)]);
  return html`
    <${Panel} title="Why">
      ${asked.channel ? html`<${Loaded} loaded=${loaded}>${(/** @type {Explained} */ told) => html`<${Answer} ...${told} />`}<//>` : html`<${Empty} title="Nothing is asked yet">Name a channel, and a user.<//>`}
    <//>
  `;
}

/** @param {Said} asked */
function explained({ user, channel, act, by }) {
  const tokens = { token: by === "pasted" ? connectionToken.value : "", subscription_token: subscriptionToken.value };
  const given = Object.fromEntries(Object.entries(tokens).filter(([, token]) => token));
  return { user: by === "made" ? user : "", channel, act, ...given };
}

/** What was answered, and to what: somebody may have typed since. @param {Explained} props */
function Answer({ asked, allowed, reason, option }) {
  const who = asked.by === "pasted" ? "The holder of this token" : asked.by === "made" && asked.user ? asked.user : "Somebody anonymous";
  const [verdict, tone] = allowed === null ? ["a hook decides", "warn"] : allowed ? ["allowed", "good"] : ["refused", "bad"];
  return html`
    <div class="stack">
      <p class="wraps"><${Badge} tone=${tone}>${verdict}<//> <strong><bdi>${who}</bdi></strong> · ${asked.act} · <bdi class="mono">${asked.channel}</bdi></p>
      <p class="wraps">${reason}</p>
      ${option && html`<p class="muted small wraps">What decides: <a class="mono" href=${href(["settings"], { q: option })}>${option}</a></p>`}
    </div>
  `;
}
