/** One input, both phones. */
import * as kept from "../kept.js";
import { html, signal } from "../lib.js";
import { newId } from "../name.js";
import { isFull, waiting } from "../outbox.js";
import * as plain from "../plain.js";
import { inTunnel } from "../radio.js";
import { counted } from "./bubble.js";

const TEXT_CHARACTERS_MAX = 500;

const text = signal("");
const isRefused = signal(false);

export function Composer() {
  const hint = inTunnel.value ? "No signal. Write anyway …" : "Write from both phones …";
  return html`
    <form class="composer" onSubmit=${submit}>
      <label class="sr-only" for="text">Message, sent from both phones</label>
      <input id="text" autocomplete="off" maxlength=${TEXT_CHARACTERS_MAX} placeholder=${hint} value=${text.value}
        onInput=${(/** @type {any} */ event) => (text.value = event.target.value)} />
      <button type="submit" class="primary" disabled=${!text.value.trim()}>Send</button>
    </form>
    ${isRefused.value && isFull.value ? html`<${Full} />` : null}
    ${kept.trouble.value ? html`<p class="trouble" role="alert">${kept.trouble.value}</p>` : null}
  `;
}

function Full() {
  const said = `${counted(waiting.value.length)} wait. One of them has to go out before you can write another.`;
  return html`<p class="trouble" role="alert">${said}</p>`;
}

/** @param {Event} event */
function submit(event) {
  event.preventDefault();
  const said = text.peek().trim();
  if (!said) return;
  const draft = { id: newId(), text: said, at: Date.now() };
  isRefused.value = !kept.write(draft);
  if (isRefused.peek()) return;
  text.value = "";
  void plain.write(draft);
}
