/** Follows a channel for its live tail, and says how the subscription fares. */
import { page } from "../../api.js";
import { counted, digits } from "../../format.js";
import { effect } from "../../lib.js";
import { follow, state } from "../../live.js";
import { href } from "../../route.js";
import { stored } from "./stored.js";

/** @typedef {import("../../live.js").Publication} Publication */
/** @typedef {import("../../live.js").Subscribed} Subscribed */
/** @typedef {import("./tailing.js").Tail} Tail */

const BEFORE = 20; // messages from before, for whoever comes

/**
 * Put what is published into a tail, until the answer is called; `changed` hears that there is something new.
 * @param {Tail} tail
 * @param {() => void} changed
 */
export function followed(tail, changed) {
  const place = { offset: 0, epoch: "", times: 0 };
  const say = (/** @type {import("../../ui/messages.js").Note} */ note) => {
    tail.say(note);
    changed();
  };
  const take = (/** @type {any} */ publication) => {
    place.offset = publication.offset ?? place.offset;
    tail.take(live(publication));
    changed();
  };
  const subscribed = async (/** @type {Subscribed} */ how) => {
    const was = { ...place };
    place.times += 1;
    place.epoch = how.streamPosition?.epoch ?? "";
    if (!how.recovered) place.offset = how.streamPosition?.offset ?? 0;
    if (!was.times) return began(tail, how, say);
    await null; // the SDK tells what was recovered right behind this
    say(came(tail.channel, how, was, place.offset));
  };
  const failed = (/** @type {{code: number, message: string}} */ why) => say({ text: `This cannot be followed: ${why.message}${why.code ? ` (${why.code})` : "."}`, tone: "bad" });
  const ends = [follow(tail.channel, { take, subscribed, failed }), whenAway(() => place.times && say({ text: "The connection is away.", tone: "warn" }))];
  return () => ends.forEach((end) => end());
}

/** @param {() => void} told */
function whenAway(told) {
  let was = state.peek();
  return effect(() => {
    const now = state.value;
    if (was === "connected" && now !== "connected") told();
    was = now;
  });
}

/**
 * @param {Publication} publication
 * @returns {import("../../ui/messages.js").Message}
 */
function live({ offset, data, tags, info }) {
  const publisher = info ? { user: info.user, client: info.client, conn_info: info.connInfo, chan_info: info.chanInfo } : null;
  return { offset: offset || null, at_ms: Date.now(), stored: false, data, tags: tags ?? {}, publisher };
}

/**
 * Begin where the channel ends, below which stands what came before.
 * @param {Tail} tail
 * @param {Subscribed} how
 * @param {(note: import("../../ui/messages.js").Note) => void} say
 */
async function began(tail, how, say) {
  const from = how.streamPosition;
  if (!from) return say({ text: "Following. This channel keeps no history: what is published while nobody listens is gone." });
  const before = await page(tail.channel, { size: BEFORE }).catch(() => null);
  const earlier = (before?.items ?? []).filter((/** @type {any} */ item) => item.offset <= from.offset);
  tail.before(earlier.map(stored));
  say({ text: `Following from here, offset ${digits(from.offset)}.`, tone: "good" });
}

/**
 * Return what to say of a subscription that was away since a place.
 * @param {string} channel
 * @param {Subscribed} how
 * @param {{offset: number, epoch: string}} was
 * @param {number} now the offset until which it was recovered
 * @returns {import("../../ui/messages.js").Note}
 */
function came(channel, how, was, now) {
  const to = how.streamPosition;
  if (!to) return { text: "Back. This channel keeps no history: whether something was missed is not known.", tone: "warn" };
  const history = { href: href(["channels", channel], { tab: "history" }), link: "What is kept" };
  if (!how.recovered) {
    const missing = to.epoch === was.epoch ? `up to ${counted(Math.max(0, to.offset - was.offset), "message")} may be missing here` : "the store began a new generation";
    return { text: `Position lost after offset ${digits(was.offset)}: ${missing}.`, tone: "bad", ...history };
  }
  return { text: `Back at offset ${digits(was.offset)} of ${digits(now)}: recovered ${counted(now - was.offset, "message")}.`, tone: "good" };
}
