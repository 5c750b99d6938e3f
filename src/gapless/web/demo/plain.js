/** The phone on the left: a channel without history, as a WebSocket over plain Pub/Sub has it. */
import { about, websocketUrl } from "./about.js";
import { batch, computed, effect, signal } from "./lib.js";
import * as kept from "./kept.js";
import { messageOf, received } from "./message.js";
import { isMine, name } from "./name.js";
import { inTunnel, network, radio } from "./radio.js";
import { soon } from "./soon.js";
import { indexOf, KEPT_MAX } from "./timeline.js";

/** @typedef {import("./timeline.js").Message} Message */
/** @typedef {import("./outbox.js").Draft} Draft */
/** @typedef {{message: Message, state: "arrived" | "sending" | "lost"}} Entry */
/** @typedef {{gap: number, key: string, isLost: boolean}} Gap `isLost`: the other phone could not recover either */

const ENTRIES_MAX = 300;
const TRIED_MS = 1000;

/** What arrived here, and what was written here, in that order. */
const entries = signal(/** @type {readonly Entry[]} */ ([]));
/** Which messages arrived here, the oldest first; more than are shown. */
const heard = signal(/** @type {ReadonlySet<string>} */ (new Set()));
/** What arrived last before this phone lost its signal. @type {import("./lib.js").Signal<string | undefined>} */
const lastBefore = signal(/** @type {string | undefined} */ (undefined));
/** From which offset of the other phone on this one should have the same. */
const base = signal(Number.POSITIVE_INFINITY);
export const isConnected = signal(false);

let me = "";
export const client = () => me;

// how: plain
const connection = new Centrifuge(websocketUrl(), {
  name: "gapless-demo",
  websocket: radio("plain"),
  networkEventTarget: network,
  minReconnectDelay: 100,
  maxReconnectDelay: 1000,
  timeout: TRIED_MS,
});
const subscription = connection.newSubscription(about.plain);
subscription.on("publication", take);
// end

/** @type {Entry[]} */
let arrived = [];

/** @param {any} publication */
function take(publication) {
  arrived.push({ message: received(publication), state: "arrived" });
  showSoon();
}

const showSoon = soon(() => batch(show));

function show() {
  const named = arrived.filter(({ message }) => message.isNamed).map(({ message }) => message.id);
  put(arrived);
  heard.value = new Set([...new Set([...heard.peek(), ...named])].slice(-KEPT_MAX));
  arrived = [];
}

/** @param {Entry[]} more */
function put(more) {
  const all = new Map(entries.peek().map((entry) => [entry.message.id, entry]));
  for (const entry of more) {
    all.delete(entry.message.id); // it stands where it came last
    all.set(entry.message.id, entry);
  }
  entries.value = [...all.values()].slice(-ENTRIES_MAX);
}

/** Where no more is remembered, compare from the first message that still is. */
effect(() => {
  if (heard.value.size < KEPT_MAX) return;
  const first = kept.messages.value.find(({ id }) => heard.value.has(id));
  if (first) base.value = Math.max(base.peek(), first.offset - 1);
});

/** @type {{offset: number} | null} */
let compared = null;

effect(() => {
  const { value: origin } = kept.origin;
  if (!origin || origin === compared || !isConnected.value) return;
  compared = origin;
  base.value = Math.max(origin.offset, kept.messages.peek().at(-1)?.offset ?? 0);
});

const END = ""; // no message has this id

/** The messages that came while both phones had no signal, where the other one lost its place. */
const hole = signal(/** @type {{after: string, count: number} | null} */ (null));
/** What stood last here when neither phone had a signal any more. @type {string | undefined} */
let cutAfter;

effect(() => {
  if (kept.isConnected.value) cutAfter = undefined;
  else if (!isConnected.value) cutAfter ??= entries.peek().at(-1)?.message.id ?? END;
});

effect(() => {
  const { value: lost } = kept.lost;
  if (!lost || cutAfter === undefined) return;
  hole.value = { after: cutAfter, count: lost.isOther ? 0 : lost.at - lost.after };
});

/** Before which message the hole is. */
const holeBefore = computed(() => {
  if (!hole.value) return undefined;
  const { after } = hole.value;
  const index = entries.value.findIndex(({ message }) => message.id === after);
  if (after && index < 0) return undefined; // it is not here any more
  return entries.value.slice(index + 1).find(({ state }) => state === "arrived")?.message.id ?? END;
});

// how: compare
/** How many the other phone has and this one has not, before each message that came later; and at the end. */
const missing = computed(() => {
  const recovered = kept.marks.value.map(({ after, count }) => ({ after, until: after + count }));
  /** @type {Map<string, number>} */
  const before = new Map();
  let gap = 0;
  let recoveredGap = 0;
  const since = kept.messages.value.slice(indexOf(kept.messages.value, base.value + 1));
  for (const { id, isNamed, offset } of since) {
    if (heard.value.has(id)) {
      if (gap) before.set(id, gap);
      gap = recoveredGap = 0;
    } else if (isNamed && !isMine(id)) {
      gap += 1; // what was written here is told where it was, and what has no name cannot be compared
      if (recovered.some(({ after, until }) => after < offset && offset <= until)) recoveredGap = gap;
    }
  }
  before.set(END, recoveredGap); // what is newer may be on its way
  return before;
});
// end

export const rows = computed(() => {
  /** @type {(Entry | Gap)[]} */
  const all = [];
  const isAway = inTunnel.value || !isConnected.value;
  for (const entry of entries.value) all.push(...(isAway ? [] : gapsBefore(entry.message.id)), entry);
  return isAway ? all : [...all, ...gapsBefore(END)];
});

/** @param {string} id @returns {Gap[]} */
function gapsBefore(id) {
  const isLost = id === holeBefore.value;
  const gap = (missing.value.get(id) ?? 0) + (isLost ? (hole.value?.count ?? 0) : 0);
  return gap || isLost ? [{ gap, isLost, key: `gap ${id}` }] : [];
}

/** What the last absence cost. */
export const lastGap = computed(() => {
  const start = rows.value.findIndex((row) => "message" in row && row.message.id === lastBefore.value);
  return rows.value.slice(start + 1).findLast((row) => "gap" in row);
});

/** @param {Draft} draft */
export async function write({ id, text, at }) {
  const message = messageOf({ id, name, text, at });
  put([{ message, state: "sending" }]);
  try {
    // how: publish
    await subscription.publish({ id, name, text, at });
    // end
  } catch {
    if (!heard.peek().has(id)) put([{ message, state: "lost" }]); // perhaps only its answer is
  }
}

export function start() {
  connection.on("connected", (told) => (me = told.client));
  connection.on("connecting", () => {
    batch(show);
    lastBefore.value = entries.peek().findLast(({ state }) => state === "arrived")?.message.id;
    isConnected.value = false;
    me = "";
  });
  subscription.on("subscribed", () => (isConnected.value = true));
  subscription.subscribe();
  connection.connect();
}
