/** Trying for real: a connection of its own, whose every answer is told as a step. */
import { oneLine } from "../../format.js";
import { socketAddress, subscriptionTo } from "../../live.js";

/** @typedef {"subscribe" | "publish" | "history" | "presence"} Action */
/** @typedef {{at_ms: number, tone: "" | "good" | "bad", title: string, told?: Record<string, unknown>}} Step */
/** @typedef {{token: string, subscriptionToken: string, channel: string, act: Action, first: boolean, data: unknown}} Asked */
/** @typedef {(tone: Step["tone"], title: string, told?: Record<string, unknown>) => void} Say */

const ANSWER_MS = 5_000;
const HISTORY = 10;

/**
 * Connect and do what is asked; the connection stays until it is ended by what is returned.
 * @param {Asked} asked
 * @param {Say} say
 * @returns {() => void}
 */
export function begin(asked, say) {
  const client = new Centrifuge(socketAddress(), { token: asked.token, name: "gapless-try" });
  let acted = false;
  client.on("connecting", ({ code, reason }) => say("", code ? "The connection is lost: connecting again" : "Connecting", code ? { code, reason } : undefined));
  client.on("connected", (answer) => {
    say("good", "Connected", { client: answer.client, data: answer.data });
    if (!acted) act(client, asked, say);
    acted = true;
  });
  client.on("disconnected", ({ code, reason }) => code && say("bad", "Disconnected by the server, for good", { code, reason }));
  client.on("error", ({ type, error }) => say("bad", `An error of the ${type}`, { code: error.code, message: error.message }));
  client.connect();
  return () => client.disconnect();
}

/**
 * @param {any} client
 * @param {Asked} asked
 * @param {Say} say
 */
async function act(client, asked, say) {
  if (asked.act === "subscribe" || asked.first) await subscribe(client, asked, say).catch(({ message }) => say("bad", "Cannot subscribe", { message }));
  if (asked.act !== "subscribe") await answered(ACTS[asked.act](client, asked), asked, say);
}

/** @type {Record<Exclude<Action, "subscribe">, (client: any, asked: Asked) => Promise<any>>} */
const ACTS = {
  publish: (client, { channel, data }) => client.publish(channel, data ?? null),
  history: (client, { channel }) => client.history(channel, { limit: HISTORY, reverse: true }),
  presence: (client, { channel }) => client.presence(channel),
};

/** What is said once it is done. */
const DONE = { publish: "Published", history: "History read", presence: "Presence read" };

/**
 * @param {Promise<any>} answer
 * @param {Asked} asked
 * @param {Say} say
 */
async function answered(answer, { act: what }, say) {
  const done = DONE[/** @type {keyof typeof DONE} */ (what)];
  try {
    const told = await answer;
    say("good", done, what === "publish" ? undefined : told);
  } catch (error) {
    const { code, message } = /** @type {any} */ (error);
    say("bad", `Refused: ${what}`, { code, message });
  }
}

/**
 * @param {any} client
 * @param {Asked} asked
 * @param {Say} say
 */
async function subscribe(client, { channel, subscriptionToken }, say) {
  const options = subscriptionToken ? { token: subscriptionToken } : {};
  const subscription = subscriptionTo(client, channel, { ...options, positioned: true, recoverable: true });
  let was = false;
  subscription.on("subscribed", (/** @type {any} */ told) => {
    was = true;
    say("good", "Subscribed", subscribed(told));
  });
  subscription.on("publication", (/** @type {any} */ { data, offset }) => say("", "A publication", { offset, data: oneLine(data) }));
  subscription.on("error", (/** @type {any} */ { error }) => say("bad", "Refused: subscribe", { code: error.code, message: error.message }));
  subscription.on("unsubscribed", (/** @type {any} */ { code, reason }) => code && say("bad", was ? "Unsubscribed by the server" : "Refused: subscribe", was ? { code, reason } : { code, message: reason }));
  subscription.subscribe();
  await subscription.ready(ANSWER_MS).catch(() => {}); // it was told why
}

/** What the answer to a subscription says of its position. @param {any} told */
function subscribed({ positioned, recoverable, wasRecovering, recovered, streamPosition, data }) {
  const recovery = wasRecovering ? { recovered } : {};
  return { positioned, recoverable, ...recovery, ...streamPosition, ...(data === undefined ? {} : { data }) };
}
