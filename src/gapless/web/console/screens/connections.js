/** Connections: who is here, and what happened to them and to those who are gone. */
import { html } from "../lib.js";
import { Connection } from "./connections/connection.js";
import { Connections } from "./connections/list.js";

/** @param {{path: string[]}} props */
export function Screen({ path: [client] }) {
  return client ? html`<${Connection} key=${client} client=${client} />` : html`<${Connections} />`;
}
