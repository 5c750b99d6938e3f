/** The phone on the left: a channel without history, as a WebSocket over plain Pub/Sub has it. */
import { about, websocketUrl } from "./about.js";
import { computed, effect, signal } from "./lib.js";
import * as kept from "./kept.js";
import { received } from "./message.js";
import { name } from "./name.js";
import { inTunnel, network, radio } from "./radio.js";
import { indexOf } from "./timeline.js";

/** @typedef {import("./timeline.js").Message} Message */
/** @typedef {import("./outbox.js").Draft} Draft */
/** @typedef {{message: Message, state: "arrived" | "sending" | "lost"}} Entry */
/** @typedef {{gap: number, key: string}} Gap */

const ENTRIES_MAX = 300;
const TRIED_MS = 1000;

/** What arrived here, and what was written here, in that order. */
const entries = signal(/** @type {readonly Entry[]} */ ([]));
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

/** @param {any} publication */
function take(publication) {
  const message = received(publication);
  put({ message, state: "arrived" });
}

/** @param {Entry} entry */
function put(entry) {
  const others = entries.peek().filter(({ message }) => message.id !== entry.message.id);
  const all = [...others, entry];
  entries.value = all.slice(-ENTRIES_MAX);
  if (all.length > ENTRIES_MAX) forget();
}

/** Compare from the oldest message that is still here. */
function forget() {
  const oldest = new Set(entries.peek().slice(0, 1).map(({ message }) => message.id));
  const same = kept.messages.peek().find(({ id }) => oldest.has(id));
  if (same) base.value = Math.max(base.peek(), same.offset - 1);
}

/** @type {{offset: number} | null} */
let compared = null;

effect(() => {
  const { value: origin } = kept.origin;
  if (!origin || origin === compared || !isConnected.value) return;
  compared = origin;
  base.value = Math.max(origin.offset, kept.messages.peek().at(-1)?.offset ?? 0);
});

// how: compare
/** What the other phone has and this one has not, before each message that came later; and at the end. */
const missing = computed(() => {
  const here = new Set(entries.value.map(({ message }) => message.id));
  const recovered = kept.marks.value.map(({ after, count }) => ({ after, until: after + count }));
  /** @type {Map<string, number>} */
  const before = new Map();
  let gap = 0;
  let recoveredGap = 0;
  const since = kept.messages.value.slice(indexOf(kept.messages.value, base.value + 1));
  for (const { id, offset } of since) {
    if (here.has(id)) {
      if (gap) before.set(id, gap);
      gap = recoveredGap = 0;
    } else {
      gap += 1;
      if (recovered.some(({ after, until }) => after < offset && offset <= until)) recoveredGap = gap;
    }
  }
  before.set("end", recoveredGap); // what is newer may be on its way
  return before;
});
// end

export const rows = computed(() => {
  /** @type {(Entry | Gap)[]} */
  const all = [];
  const gaps = inTunnel.value || !isConnected.value ? new Map() : missing.value;
  for (const entry of entries.value) {
    const gap = gaps.get(entry.message.id);
    if (gap) all.push({ gap, key: `gap ${entry.message.id}` });
    all.push(entry);
  }
  if (gaps.get("end")) all.push({ gap: gaps.get("end"), key: "gap at the end" });
  return all;
});

/** @param {Draft} draft */
export async function write({ id, text, at }) {
  const message = { offset: 0, id, name, text, at, client: "" };
  put({ message, state: "sending" });
  try {
    // how: publish
    await subscription.publish({ id, name, text, at });
    // end
  } catch {
    put({ message, state: "lost" });
  }
}

export function start() {
  connection.on("connected", (told) => (me = told.client));
  connection.on("connecting", () => {
    isConnected.value = false;
    me = "";
  });
  subscription.on("subscribed", () => (isConnected.value = true));
  subscription.subscribe();
  connection.connect();
}
