/** Taking text along. */
import { html } from "../lib.js";
import { tell } from "./acting.js";

/**
 * A button that copies a text. `what` says what that is.
 * @param {{text: string, what: string}} props
 */
export function Copy({ text, what }) {
  const copy = async () => {
    const done = await copied(text);
    tell(done ? `Copied ${what}.` : `This browser does not let a page copy: select ${what} and copy it.`, done ? "good" : "bad");
  };
  return html`<button type="button" disabled=${!text} aria-label=${`Copy ${what}`} title=${`Copy ${what}`} onClick=${copy}>Copy</button>`;
}

/** Browsers have a clipboard for https and this machine only. @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedFromField(text);
  }
}

/** @param {string} text */
function copiedFromField(text) {
  const field = document.createElement("textarea");
  field.className = "sr-only";
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
