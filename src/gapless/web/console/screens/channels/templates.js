/** Messages to begin with: some that are built in, and those that somebody keeps in this browser. */
import { html, useState } from "../../lib.js";
import { tell } from "../../ui/acting.js";

/** @typedef {import("./draft.js").Draft} Draft */

const KEY = "gapless.templates";
const KEPT_MAX = 100;

/** @type {Record<string, Draft>} */
const BUILT_IN = {
  "A text": { data: pretty({ text: "Hello" }), tags: "" },
  "An event": { data: pretty({ event: "order.shipped", id: 1001, at: "2026-01-31T18:00:00Z" }), tags: "kind=event" },
  "A notification": { data: pretty({ title: "Your order is on its way", body: "It arrives tomorrow.", link: "/orders/1001" }), tags: "kind=notification" },
  "A token of a model": { data: pretty({ token: " world", index: 1, done: false }), tags: "" },
};

/** @param {unknown} data */
function pretty(data) {
  return JSON.stringify(data, null, 2);
}

/** @returns {Record<string, Draft>} */
function read() {
  try {
    const kept = Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
    return Object.fromEntries(kept.filter(([, each]) => typeof each?.data === "string" && typeof each.tags === "string"));
  } catch {
    return {};
  }
}

/** @param {{form: Draft, choose: (draft: Draft) => void}} props */
export function Templates({ form, choose }) {
  const [kept, setKept] = useState(read);
  const [name, setName] = useState("");
  const all = { ...BUILT_IN, ...kept };
  const keep = (/** @type {Record<string, Draft>} */ changed, /** @type {string} */ told) => {
    try {
      localStorage.setItem(KEY, JSON.stringify(changed));
      setKept(changed);
      tell(told);
    } catch {
      tell("This browser has no room for it.", "bad");
    }
  };
  const save = () => {
    const others = Object.entries(kept).filter(([each]) => each !== name);
    keep(Object.fromEntries([...others.slice(1 - KEPT_MAX), [name, { data: form.data, tags: form.tags }]]), `Kept ${name} in this browser.`);
  };
  const forget = () => keep(Object.fromEntries(Object.entries(kept).filter(([each]) => each !== name)), `Forgot ${name}.`);
  const pick = (/** @type {string} */ chosen) => {
    setName(chosen in kept ? chosen : "");
    const draft = all[chosen];
    if (draft) choose({ data: draft.data, tags: draft.tags });
  };
  return html`
    <div class="row">
      <select aria-label="Template" value="" onChange=${(/** @type {any} */ event) => (pick(event.target.value), (event.target.value = ""))}>
        <option value="">Begin with a template …</option>
        ${Object.keys(all).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select>
      <input aria-label="Name of a template" placeholder="Keep this as …" maxlength="100" value=${name} onInput=${(/** @type {any} */ event) => setName(event.target.value)} />
      <button type="button" disabled=${!name} onClick=${save}>Keep</button>
      <button type="button" class="plain" disabled=${!(name in kept)} onClick=${forget}>Forget</button>
    </div>
  `;
}
