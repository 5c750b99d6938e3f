/** Streams: what is kept, who reads it and how far behind, and giving it again. */
import { html } from "../lib.js";
import { Streams } from "./streams/list.js";
import { Stream } from "./streams/stream.js";

/** @param {{path: string[]}} props */
export function Screen({ path: [name] }) {
  return name ? html`<${Stream} key=${name} name=${name} />` : html`<${Streams} />`;
}
