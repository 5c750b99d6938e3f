/** Channels: which are followed, and all that there is of one. */
import { html } from "../lib.js";
import { Channel } from "./channels/channel.js";
import { Channels } from "./channels/list.js";

/** @param {{path: string[]}} props */
export function Screen({ path: [channel] }) {
  return channel ? html`<${Channel} key=${channel} channel=${channel} />` : html`<${Channels} />`;
}
