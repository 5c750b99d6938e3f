/** What came of trying, step by step. */
import { call } from "../../api.js";
import { html, useEffect, useRef, useState } from "../../lib.js";
import { Empty, Panel, Time } from "../../ui/basics.js";
import { connectionToken, subscriptionToken } from "./held.js";
import { begin } from "./trying.js";

/** @typedef {import("./try.js").Said} Said */
/** @typedef {import("./trying.js").Step} Step */

const STEPS_MAX = 100;
const TRIAL_S = 600;

/** The steps so far, and the connection that they are of. */
export function useTranscript() {
  const [steps, setSteps] = useState(/** @type {Step[]} */ ([]));
  const [open, setOpen] = useState(false);
  const end = useRef(() => {});
  const away = useRef(false);
  const say = (/** @type {Step["tone"]} */ tone, /** @type {string} */ title, /** @type {Record<string, unknown> | undefined} */ told) =>
    setSteps((before) => [...before, { at_ms: Date.now(), tone, title, ...(told ? { told } : {}) }].slice(-STEPS_MAX));
  const leave = () => {
    end.current();
    end.current = () => {};
    setOpen(false);
  };
  const run = async (/** @type {Said} */ asked, /** @type {unknown} */ data) => {
    leave();
    setSteps([]);
    const token = await tokenFor(asked, say);
    if (token === null || away.current) return;
    end.current = begin({ ...asked, token, subscriptionToken: subscriptionToken.value, data }, say);
    setOpen(true);
  };
  useEffect(() => () => {
    away.current = true;
    end.current();
  }, []);
  return { steps, run, leave, open };
}

/**
 * Return what to connect with, null if nothing could be made.
 * @param {Said} asked
 * @param {import("./trying.js").Say} say
 */
async function tokenFor({ by, user }, say) {
  if (by === "none") return "";
  if (by === "pasted") return connectionToken.value;
  try {
    const { token } = await call("token/make", { user, expires_in_s: TRIAL_S });
    say("good", `A token is made for ${user || "somebody anonymous"}, good for 10 minutes`);
    return token;
  } catch (error) {
    say("bad", "No token could be made", { message: /** @type {Error} */ (error).message });
    return null;
  }
}

/** @param {{steps: Step[]}} props */
export function Transcript({ steps }) {
  return html`
    <${Panel} title="What the server answers">
      ${steps.length ? html`<ol class="transcript" aria-live="polite">${steps.map((step, at) => html`<${Shown} key=${at} ...${step} />`)}</ol>` : html`<${Empty} title="Nothing was tried yet"><strong>Try it</strong> opens a real connection, and tells each answer here.<//>`}
    <//>
  `;
}

/** @param {Step} props */
function Shown({ at_ms, tone, title, told }) {
  return html`
    <li class=${tone}>
      <div><strong>${title}</strong><${Time} at_ms=${at_ms} /></div>
      ${told && html`<code class="wraps">${Object.entries(told).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("   ")}</code>`}
    </li>
  `;
}
