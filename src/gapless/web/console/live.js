/** What comes by itself: one connection of the public SDK for all that the console follows. */
import { about, address, renew, session } from "./session.js";
import { effect, signal } from "./lib.js";

/** @typedef {{data: any, offset?: number, info?: any, tags?: Record<string, string>}} Publication */
/** @typedef {{offset: number, epoch: string}} Position */
/** @typedef {{wasRecovering: boolean, recovered: boolean, streamPosition?: Position}} Subscribed */

/**
 * What who follows a channel hears: each publication; how the subscription stands, at the start and whenever the
 * connection came back; and why it cannot be followed.
 * @typedef {{take: (publication: Publication) => void, subscribed?: (how: Subscribed) => void,
 *   failed?: (why: {code: number, message: string}) => void}} Follower `code` is 0 where the server was not asked
 */

/** @type {import("./lib.js").Signal<"connected" | "connecting" | "disconnected">} */
export const state = signal("disconnected");

/** @type {import("./lib.js").Signal<any>} the SDK's client; another one when somebody else logs in */
export const client = signal(null);

const INVALID_TOKEN = 3500;

/** @type {string | undefined} */
let who;

// A renewed token is fetched by the SDK itself, so only another person needs another connection.
effect(() => {
  const entered = session.value ? `${session.value.role} ${session.value.name}` : undefined;
  if (entered === who) return;
  who = entered;
  client.peek()?.disconnect();
  client.value = entered ? connect() : null;
  if (!entered) state.value = "disconnected";
});

/** Return the address that a client of the SDK connects to. */
export function socketAddress() {
  const url = address(about.value?.websocket ?? "");
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

function connect() {
  let token = session.value?.token ?? "";
  const connected = new Centrifuge(socketAddress(), { token, getToken: renew, name: "gapless-console" });
  connected.on("state", (change) => (state.value = change.newState));
  connected.on("disconnected", async ({ code }) => {
    const newer = code ? await renew() : ""; // by the server: the session may have ended
    if (!newer || newer === token || client.peek() !== connected) return;
    token = newer;
    connected.setToken(token);
    if (code === INVALID_TOKEN) connected.connect();
  });
  connected.connect();
  return connected;
}

/** @type {Map<string, {followers: Set<Follower>, subscription: any, how: Subscribed | null}>} */
const followed = new Map();

/**
 * Follow a channel, from a position if one is given; the answer ends it. Several who follow one channel share a
 * subscription, which begins where the first of them said.
 * @param {string} channel
 * @param {Follower} follower
 * @param {Position} [since]
 * @returns {() => void}
 */
export function follow(channel, follower, since) {
  if (!client.peek()) return () => {}; // who was here has just been logged out
  let entry = followed.get(channel);
  try {
    entry ??= subscribe(channel, since);
  } catch (error) {
    follower.failed?.({ code: 0, message: /** @type {Error} */ (error).message });
    return () => {};
  }
  entry.followers.add(follower);
  if (entry.how) follower.subscribed?.(entry.how);
  return () => {
    entry.followers.delete(follower);
    if (!entry.followers.size) unsubscribe(channel, entry);
  };
}

/**
 * Return a new subscription of a client. The SDK keeps them in an object, by their channels, and so takes what every
 * object has for a subscription that exists already.
 * @param {any} client
 * @param {string} channel
 * @param {object} options
 */
export function subscriptionTo(client, channel, options) {
  try {
    return client.newSubscription(channel, options);
  } catch (error) {
    throw channel in {} ? new Error("the public SDK cannot follow a channel of this name, which all objects of JavaScript have") : error;
  }
}

/**
 * @param {string} channel
 * @param {Position} [since]
 */
function subscribe(channel, since) {
  const options = { positioned: true, recoverable: true, ...(since ? { since } : {}) };
  const subscription = subscriptionTo(client.peek(), channel, options);
  /** @type {{followers: Set<Follower>, subscription: any, how: Subscribed | null}} */
  const entry = { followers: new Set(), subscription, how: null };
  followed.set(channel, entry);
  subscription.on("publication", (/** @type {Publication} */ publication) => {
    for (const follower of entry.followers) follower.take(publication);
  });
  subscription.on("subscribed", (/** @type {Subscribed} */ how) => {
    entry.how = how;
    for (const follower of entry.followers) follower.subscribed?.(how);
  });
  const failed = (/** @type {{code: number, message: string}} */ why) => {
    for (const follower of entry.followers) follower.failed?.(why);
  };
  subscription.on("error", (/** @type {any} */ told) => failed(told.error));
  subscription.on("unsubscribed", (/** @type {any} */ told) => failed({ code: told.code, message: told.reason }));
  subscription.subscribe();
  return entry;
}

/**
 * @param {string} channel
 * @param {{subscription: any}} entry
 */
function unsubscribe(channel, { subscription }) {
  if (followed.get(channel)?.subscription === subscription) followed.delete(channel);
  subscription.removeAllListeners();
  client.peek()?.removeSubscription(subscription);
}
