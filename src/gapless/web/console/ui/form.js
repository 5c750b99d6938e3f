/** Forms: fields with labels, and a button that sends them; what was refused is told where one typed. */
import { html, useEffect, useRef, useState } from "../lib.js";
import { refine, route } from "../route.js";
import { Act } from "./acting.js";
import { ErrorNote, Field } from "./basics.js";
import { JsonField } from "./json.js";

/** @typedef {import("../lib.js").Children} Children */
/** @typedef {{id: string, values: Record<string, any>, set: (name: string, value: unknown) => void}} Filled */
/** @typedef {{form: Filled, name: string, label: string, hint?: string}} InForm */

/**
 * What is in a form. Its `id` tells its fields from those of other forms of the page.
 * @param {string} id
 * @param {Record<string, any>} start
 * @returns {Filled}
 */
export function useForm(id, start) {
  const [values, setValues] = useState(start);
  const set = (/** @type {string} */ name, /** @type {unknown} */ value) => setValues((before) => ({ ...before, [name]: value }));
  return { id, values, set };
}

/**
 * What is in a form whose fields stand in the address, as `id-name`, so that a link shows them. What an address says is
 * taken if it is among the `choices` of its field.
 * @param {string} id
 * @param {Record<string, string>} start what one can empty is empty
 * @param {Record<string, [string, string][]>} choices
 * @returns {Filled}
 */
export function useLinkedForm(id, start, choices) {
  const { query } = route.value;
  const said = Object.keys(start).map((name) => [name, query[`${id}-${name}`] ?? ""]);
  const taken = said.filter(([name = "", value]) => value && (!choices[name] || choices[name].some(([choice]) => choice === value)));
  const set = (/** @type {string} */ name, /** @type {any} */ value) => refine({ [`${id}-${name}`]: value === start[name] ? "" : value });
  return { id, values: { ...start, ...Object.fromEntries(taken) }, set };
}

/**
 * A form; `act` sends it and returns what to tell.
 * @param {{act: () => Promise<string | void>, button: Children, kind?: string, disabled?: boolean, children?: Children}} props
 */
export function Form({ act, button, kind = "primary", disabled = false, children }) {
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const send = async () => {
    if (!form.current?.reportValidity()) return;
    setError(null);
    try {
      return await act();
    } catch (caught) {
      setError(/** @type {Error} */ (caught));
    }
  };
  return html`
    <form class="fields sent" ref=${form} onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      ${children}
      <${ErrorNote} error=${error} />
      <div class="actions end"><${Act} type="submit" class=${kind} disabled=${disabled} act=${send}>${button}<//></div>
    </form>
  `;
}

/** @param {InForm & Record<string, any>} props what is not named here goes to the control */
export function Input({ form, name, label, hint, ...more }) {
  const id = `${form.id}-${name}`;
  const typed = (/** @type {any} */ event) => form.set(name, event.target.value);
  return html`<${Field} label=${label} id=${id} hint=${hint}><input id=${id} autocomplete="off" value=${form.values[name]} onInput=${typed} ...${more} /><//>`;
}

/** A time, which the form holds in milliseconds; one that lies `ago_ms` back is offered. @param {InForm & {ago_ms?: number}} props */
export function TimeInput({ form, name, label, ago_ms = 0 }) {
  const id = `${form.id}-${name}`;
  const at = form.values[name];
  useEffect(() => {
    if (!at) form.set(name, Date.now() - ago_ms);
  }, []);
  const typed = (/** @type {any} */ event) => form.set(name, event.target.value && new Date(event.target.value).getTime());
  return html`<${Field} label=${label} id=${id}><input id=${id} type="datetime-local" step="1" required value=${at && localTime(Number(at))} onInput=${typed} /><//>`;
}

/** @param {InForm & {options: [string, string][]} & Record<string, any>} props values, and what they mean */
export function Select({ form, name, label, hint, options, ...more }) {
  const id = `${form.id}-${name}`;
  return html`
    <${Field} label=${label} id=${id} hint=${hint}>
      <select id=${id} value=${form.values[name]} onChange=${(/** @type {any} */ event) => form.set(name, event.target.value)} ...${more}>
        ${options.map(([value, title]) => html`<option key=${value} value=${value} selected=${value === form.values[name]}>${title}</option>`)}
      </select>
    <//>
  `;
}

/** @param {InForm & {disabled?: boolean}} props */
export function Check({ form, name, label, hint, disabled }) {
  const ticked = (/** @type {any} */ event) => form.set(name, event.target.checked);
  return html`
    <label class="check">
      <input type="checkbox" checked=${form.values[name]} disabled=${disabled} onChange=${ticked} />
      <span>${label}${hint && html` <span class="muted small">${hint}</span>`}</span>
    </label>
  `;
}

/** @param {InForm & {rows?: number, kind?: "any" | "object", placeholder?: string}} props */
export function JsonInput({ form, name, ...more }) {
  const changed = (/** @type {string} */ text) => form.set(name, text);
  return html`<${JsonField} id=${`${form.id}-${name}`} text=${form.values[name]} onText=${changed} ...${more} />`;
}

/**
 * Return a number that was typed; nothing if none was.
 * @param {string | number} typed
 * @param {number} [times]
 */
export function number(typed, times = 1) {
  return typed === "" || typed == null ? undefined : Math.round(Number(typed) * times);
}

/** What `datetime-local` takes for a time. @param {number} at_ms */
export function localTime(at_ms) {
  const shifted = new Date(at_ms - new Date(at_ms).getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
