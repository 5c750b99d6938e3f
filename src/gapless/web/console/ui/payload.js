/** What a message or a job carries, in a list and as a whole. */
import { oneLine } from "../format.js";
import { html } from "../lib.js";
import { Json } from "./basics.js";

/** @typedef {{data?: unknown, b64data?: string}} Carrying */

const CUT = 300; // characters that a row is given

/** @type {import("./table.js").Column<any>} */
export const PAYLOAD = { key: "payload", title: "Payload", wide: true, cell: ({ data, b64data }) => html`<span class="brief payload mono small">${(b64data ?? oneLine(data)).slice(0, CUT)}</span>` };

/** @param {Carrying & {title?: string}} props */
export function Payload({ data, b64data, title = "Payload" }) {
  return html`<section><h3>${title} ${b64data && html`<span class="muted">(bytes, as base64)</span>`}</h3><${Json} data=${b64data ?? data} /></section>`;
}

/** What there is to say, by name; what is nothing is not said. @param {{facts: [string, unknown][]}} props */
export function Facts({ facts }) {
  return html`<dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
