/** Publishing to a channel by hand: with a check of the JSON, templates, tags and a key. */
import { call } from "../../api.js";
import { digits } from "../../format.js";
import { html, useEffect, useState } from "../../lib.js";
import { href } from "../../route.js";
import { Act, carried } from "../../ui/acting.js";
import { Field, useChosen } from "../../ui/basics.js";
import { JsonField, parsed } from "../../ui/json.js";
import { draft } from "./draft.js";
import { Templates } from "./templates.js";

/** @typedef {import("./draft.js").Draft} Draft */

const BEGIN = { data: '{\n  "text": "Hello"\n}', tags: "", key: "" };
/** What was typed stays while one looks at what came of it. */
let typed = { channel: "", form: BEGIN };

/** @param {{channel: string}} props */
export function Publish({ channel }) {
  const from = useChosen("from");
  const [form, setForm] = useState(typed.channel === channel ? typed.form : BEGIN);
  useEffect(() => void (typed = { channel, form }), [channel, form]);
  const [done, setDone] = useState(/** @type {{offset?: number, key: string, again: boolean} | null} */ (null));
  useEffect(() => {
    carried(async () => {
      const taken = await draft(channel, from);
      if (taken) setForm((is) => ({ ...is, ...taken }));
    });
  }, [channel, from]);
  const set = (/** @type {Partial<typeof form>} */ change) => setForm({ ...form, ...change });
  const data = parsed(form.data);
  const tags = readTags(form.tags);
  const publish = async () => {
    const body = { channel, data: data.value, tags: tags.value, idempotency_key: form.key || undefined };
    const { offset } = await call("publish", body);
    setDone({ offset, key: form.key, again: Boolean(form.key && offset && done?.key === form.key && done.offset === offset) });
  };
  const wrong = data.error || tags.error || data.value === undefined;
  return html`
    <form class="fields publish" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <${Templates} form=${form} choose=${(/** @type {Draft} */ chosen) => set(chosen)} />
      <${JsonField} id="publish-data" label="Payload" rows=${10} text=${form.data} hint="Any JSON." onText=${(/** @type {string} */ text) => set({ data: text })} />
      <div class="columns">
        <${Field} id="publish-tags" label="Tags" hint=${tags.error ? html`<span class="bad">${tags.error}</span>` : "One a line: kind=greeting"}>
          <textarea id="publish-tags" rows="2" class="short" spellcheck="false" aria-invalid=${!!tags.error} value=${form.tags} onInput=${(/** @type {any} */ event) => set({ tags: event.target.value })}></textarea>
        <//>
        <${Field} id="publish-key" label="Idempotency key" hint="A repeat with the same key publishes nothing new.">
          <input id="publish-key" autocomplete="off" value=${form.key} onInput=${(/** @type {any} */ event) => set({ key: event.target.value })} />
        <//>
      </div>
      <div class="actions"><${Act} type="submit" class="primary" act=${publish} disabled=${!!wrong}>Publish<//><${Done} channel=${channel} done=${done} /></div>
    </form>
  `;
}

/** @param {{channel: string, done: {offset?: number, again: boolean} | null}} props */
function Done({ channel, done }) {
  const at = done?.offset && html`<a href=${href(["channels", channel], { tab: "history", offset: done.offset })}>offset ${digits(done.offset)}</a>`;
  return html`
    <p role="status" id="published">
      ${!done ? "" : done.again ? html`Nothing new: this key was published as ${at}.` : at ? html`Published as ${at}.` : "Published. This channel keeps no history, so it has no offset."}
    </p>
  `;
}

/**
 * Read tags, one a line.
 * @param {string} text
 * @returns {{value: Record<string, string> | undefined, error: string}}
 */
function readTags(text) {
  const lines = text.split("\n").map((line) => line.trim());
  const at = lines.findIndex((line) => line && line.indexOf("=") < 1);
  if (at >= 0) return { value: undefined, error: `Line ${at + 1} is no tag: it says name=value.` };
  const tags = lines.filter(Boolean).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
  return { value: tags.length ? Object.fromEntries(tags) : undefined, error: "" };
}
