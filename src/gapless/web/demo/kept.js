/** The phone on the right: a gapless channel. */
import { about, address, websocketUrl } from "./about.js";
import { batch, computed, signal } from "./lib.js";
import { read, received } from "./message.js";
import { name } from "./name.js";
import { flush, put, waiting } from "./outbox.js";
import { inTunnel, network, radio, reach } from "./radio.js";
import { recovery, withGone } from "./recovery.js";
import { soon } from "./soon.js";
import { held, indexOf, KEPT_MAX, merged, newer, NEWEST, older, shown } from "./timeline.js";

/** @typedef {import("./timeline.js").Message} Message */
/** @typedef {import("./recovery.js").Recovered} Recovered */
/** @typedef {import("./recovery.js").Lost} Lost */
/** @typedef {import("./outbox.js").Draft} Draft */

const MARKS_MAX = 50;
const PAGE = 50;

/** @type {import("./lib.js").Signal<readonly Message[]>} */
export const messages = signal(/** @type {readonly Message[]} */ ([]));
/** @type {import("./lib.js").Signal<readonly Recovered[]>} */
export const marks = signal(/** @type {readonly Recovered[]} */ ([]));
/** @type {import("./lib.js").Signal<ReadonlyMap<string, string>>} names by client */
export const people = signal(/** @type {ReadonlyMap<string, string>} */ (new Map()));
/** The last time that the server could not go on from where this page stood. */
export const lost = signal(/** @type {Lost | null} */ (null));
/** How the last absence ended; nothing while one lasts, and where nothing was missed. */
export const outcome = signal(/** @type {Recovered | Lost | null} */ (null));
export const isConnected = signal(false);
export const trouble = signal("");
/** Whether there is more before the oldest message here, and whether it is being fetched. */
export const past = signal({ more: true, cursor: "", fetching: false });
export const view = signal(NEWEST);
/** How often the reader asked for the newest message. */
export const jumps = signal(0);
/** Where the channel ended when this page began to follow it; another one after a history that was lost. */
export const origin = signal(/** @type {{offset: number} | null} */ (null));

export const rows = computed(() => shown(messages.value, view.value));
/** How many messages are newer than those that are shown. */
export const unseen = computed(() => {
  const { last } = view.value;
  return last === Number.POSITIVE_INFINITY ? 0 : messages.value.length - indexOf(messages.value, last + 1);
});
/** What was written here and has not come back yet. */
export const drafts = computed(() => {
  const known = new Set(messages.value.slice(-500).map(({ id }) => id));
  return waiting.value.filter(({ id }) => !known.has(id));
});

let me = "";
export const client = () => me;

const watch = recovery(
  (recovered) => {
    finished.push(recovered);
    showSoon();
  },
  forget,
  async () => (await subscription.history({ limit: 0 })).offset,
);

// how: connect
const connection = new Centrifuge(websocketUrl(), {
  name: "gapless-demo",
  // A WebSocket that cannot be opened in the tunnel.
  websocket: radio("kept", watch),
  // Says "online" behind the tunnel, as a phone does.
  networkEventTarget: network,
  minReconnectDelay: 100,
  maxReconnectDelay: 1000,
});
// end

// how: subscribe
const subscription = connection.newSubscription(about.kept, {
  data: { name },
});
subscription.on("publication", take);
subscription.on("subscribed", subscribed);
// end

/** @type {Message[]} */
let arrived = [];
/** @type {Recovered[]} */
let finished = [];

// how: take
/** @param {any} publication */
function take(publication) {
  const message = received(publication);
  arrived.push(message);
  watch.took(message.offset);
  showSoon(); // what comes together is shown together
}

const showSoon = soon(() => batch(show));

function show() {
  const all = merged(messages.peek(), arrived);
  messages.value = all.slice(-KEPT_MAX);
  const more = finished.filter(({ count }) => count);
  marks.value = [...marks.peek(), ...more].slice(-MARKS_MAX);
  if (isConnected.peek()) outcome.value = more.at(-1) ?? outcome.peek(); // not what the next cut broke off
  if (all.length > KEPT_MAX) past.value = { ...past.peek(), more: false, fetching: false };
  arrived = [];
  finished = [];
}
// end

/** @param {{wasRecovering: boolean, recovered: boolean, streamPosition?: {offset: number}}} how */
function subscribed(how) {
  if (!how.recovered) origin.value = { offset: how.streamPosition?.offset ?? 0 };
  isConnected.value = true;
  if (past.peek().more && !past.peek().cursor) void fetchOlder();
  meet().catch(() => {}); // cut again: whoever is there is asked for at the next connection
  void send();
}

/** @param {Lost} told nothing of what was here is kept any more: it begins anew, with the newest */
function forget(told) {
  arrived = [];
  finished = [];
  batch(() => {
    lost.value = outcome.value = told;
    messages.value = [];
    marks.value = [];
    past.value = { more: true, cursor: "", fetching: false };
    showNewest();
  });
}

// how: presence
async function meet() {
  const { clients } = await subscription.presence();
  people.value = new Map(Object.values(clients).map((info) => [info.client, nameOf(info)]));
}

subscription.on("join", ({ info }) => {
  people.value = new Map(people.peek()).set(info.client, nameOf(info));
});
subscription.on("leave", ({ info }) => {
  people.value = new Map([...people.peek()].filter(([client]) => client !== info.client));
});
// end

/** @param {any} info */
const nameOf = (info) => String(info.chanInfo?.name ?? "somebody").slice(0, 40);

// how: scroll
async function fetchOlder() {
  const { more, cursor, fetching } = past.peek();
  if (!more || fetching || inTunnel.peek()) return;
  const asked = { more, cursor, fetching: true };
  past.value = asked;
  const before = cursor ? `&before=${cursor}` : "";
  const path = `${about.api}/channels/${encodeURIComponent(about.kept)}/messages?size=${PAGE}${before}`;
  try {
    const page = await (await reach(address(path))).json();
    if (past.peek() !== asked) return; // what that goes before is not here any more
    const items = page.items.map(read).reverse(); // they come newest first
    batch(() => {
      messages.value = merged(items, messages.peek());
      past.value = { more: page.has_before, cursor: page.before_cursor, fetching: false };
      lost.value = withGone(lost.peek(), page.oldest);
    });
  } catch {
    if (past.peek() === asked) past.value = { more, cursor, fetching: false }; // tried again at the next scroll
  }
}
// end

/** Show more of what was said before; fetch it if it is not here yet. */
export async function showOlder() {
  const first = rows.peek()[0]?.offset ?? 0;
  const here = indexOf(messages.peek(), first);
  if (here < PAGE && messages.peek().length < KEPT_MAX) await fetchOlder();
  if (indexOf(messages.peek(), first) > 0) view.value = older(messages.peek(), view.peek());
}

export function showNewer() {
  if (unseen.peek()) view.value = newer(messages.peek(), view.peek());
}

/** @param {boolean} isAtEnd whether somebody looks at the newest message, and so wants to see those that come */
export function look(isAtEnd) {
  const isFollowing = view.peek().last === Number.POSITIVE_INFINITY;
  if (isAtEnd && !isFollowing && !unseen.peek()) view.value = { first: view.peek().first, last: NEWEST.last };
  if (!isAtEnd && isFollowing) view.value = held(messages.peek(), view.peek());
}

export function showNewest() {
  view.value = NEWEST;
  jumps.value += 1;
}

/**
 * @param {Draft} draft
 * @returns {boolean} whether it will be sent
 */
export function write(draft) {
  if (!put(draft)) return false;
  showNewest();
  void send();
  return true;
}

async function send() {
  if (!isConnected.peek()) return;
  try {
    await flush(publish);
  } catch (error) {
    note(error); // it waits for the next connection
  }
}

// how: send
/** @param {Draft} draft */
async function publish({ id, text, at }) {
  const data = { id, name, text, at };
  await connection.rpc("gapless.publish", { channel: about.kept, data, idempotency_key: id });
}
// end

/** @param {unknown} error */
function note(error) {
  const { code, message } = /** @type {{code?: number, message?: string}} */ (error);
  if (code && code >= 100) trouble.value = `The server refuses a message: ${message}`;
}

export function start() {
  connection.on("connected", (told) => (me = told.client));
  connection.on("connecting", () => (me = ""));
  subscription.on("subscribing", () => {
    batch(show);
    isConnected.value = false;
    outcome.value = null;
  });
  subscription.on("error", ({ error }) => (trouble.value = error.message));
  subscription.subscribe();
  connection.connect();
}
