/** Queues: what waits, what is worked on, what died of what, and what recurs. */
import { html } from "../lib.js";
import { OpenJob } from "./queues/job.js";
import { Queues } from "./queues/list.js";
import { Queue } from "./queues/queue.js";

/** @param {{path: string[]}} props */
export function Screen({ path: [name] }) {
  return html`${name ? html`<${Queue} key=${name} name=${name} />` : html`<${Queues} />`}<${OpenJob} />`;
}
