/** Fields for JSON, which is checked while it is typed. */
import { read } from "../exact.js";
import { html } from "../lib.js";
import { mistake } from "./json_mistake.js";

/**
 * @typedef {{value: any, error: string}} Parsed what a text is; nothing at all is `undefined`
 */

/**
 * Read JSON, or say what is wrong with it.
 * @param {string} text
 * @param {"any" | "object"} [kind]
 * @returns {Parsed}
 */
export function parsed(text, kind = "any") {
  if (!text.trim()) return { value: undefined, error: "" };
  try {
    const value = read(text);
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return kind === "object" && !isObject ? { value: undefined, error: "This is no JSON object: it begins with { and ends with }." } : { value, error: "" };
  } catch {
    return { value: undefined, error: `This is no JSON: ${mistake(text)}.` };
  }
}

/**
 * @param {{id: string, label: string, text: string, onText: (text: string) => void, kind?: "any" | "object",
 *   placeholder?: string, hint?: string, rows?: number}} props
 */
export function JsonField({ id, label, text, onText, kind = "any", placeholder, hint, rows = 3 }) {
  const { error } = parsed(text, kind);
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      <textarea id=${id} rows=${rows} spellcheck="false" placeholder=${placeholder} value=${text} aria-invalid=${!!error}
        aria-describedby=${`${id}-hint`} onInput=${(/** @type {any} */ event) => onText(event.target.value)}></textarea>
      <p class=${error ? "hint bad" : "hint"} id=${`${id}-hint`}>${error || hint}</p>
    </div>
  `;
}
