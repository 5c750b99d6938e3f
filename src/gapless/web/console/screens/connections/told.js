/** Connections as the API tells them, and the few words for what they are. */
import { call } from "../../api.js";

/** @typedef {{channel: string, offset: number, lag: number, behind: boolean, server_side: boolean}} Followed */
/** @typedef {{client: string, user: string, node: string, address: string, transport: string, protocol: string,
 *   name: string, version: string, connected_ms: number, watches?: boolean, stalled?: boolean, buffered_bytes: number,
 *   num_subs: number, subscriptions: Followed[], received_bytes?: number, sent_bytes?: number, rtt_ms?: number}} Connected */
/** @typedef {{connections: Connected[], total: number, next?: string}} Listed */

const LIMIT = 50;
const LOOKED_AT = 1_000; // at once, for laggards
const TURNS_MAX = 10;

/** SDKs call themselves by their language. */
const SDKS = new Set(["js", "dart", "swift", "java", "go", "python", "csharp"]);

/** @param {{name?: string | null, version?: string | null}} said */
export function sdk({ name, version }) {
  if (!name) return "an unnamed client";
  return [SDKS.has(name) ? `centrifuge-${name}` : name, version].filter(Boolean).join(" ");
}

/** @param {Connected} connected */
export const isBehind = ({ stalled, subscriptions }) => Boolean(stalled) || subscriptions.some(({ behind }) => behind);

/** @param {Connected} connected */
export const lagOf = ({ subscriptions }) => subscriptions.reduce((most, { lag }) => Math.max(most, lag), 0);

/** What is enough of a client id to tell it from others. @param {string} client */
export const short = (client) => client.slice(0, 8);

/**
 * Return a page of connections. The server does not tell laggards from others, so they are looked for here.
 * @param {{user: string, channel: string, after: string, behind: boolean}} query
 * @param {AbortSignal} signal
 * @returns {Promise<Listed>}
 */
export async function listed({ user, channel, after, behind }, signal) {
  const asked = { user, channel };
  if (!behind) return call("connection/list", { ...asked, after, limit: LIMIT }, signal);
  /** @type {Listed} */
  let page = { connections: [], total: 0, next: after };
  /** @type {Connected[]} */
  const found = [];
  for (let turn = 0; turn < TURNS_MAX && found.length < LIMIT && (page.next || !turn); turn++) {
    page = await call("connection/list", { ...asked, after: page.next, limit: LOOKED_AT }, signal);
    found.push(...page.connections.filter(isBehind));
  }
  return { ...page, connections: found };
}
