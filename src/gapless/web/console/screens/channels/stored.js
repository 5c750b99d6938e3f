/** Messages as the messages API tells them, and finding a page of them. */
import { ApiError, call, page } from "../../api.js";
import { count, digits } from "../../format.js";

/** @typedef {import("../../ui/messages.js").Message} Message */
/** @typedef {import("../../ui/messages.js").Item} Item */
/** @typedef {{items: any[], before_cursor: string, after_cursor: string, has_before: boolean, has_after: boolean,
 *   head: number, oldest: number, epoch: string}} Stretch */

export const SIZE = 50;
const SYSTEM = "gapless."; // no backend may read these, by any method
const TURNS_MAX = 50; // of a search through what was stored in one millisecond
const TURN = 1_000;

/**
 * @param {any} item
 * @returns {Message}
 */
export function stored({ offset, time, data, b64data, tags, publisher }) {
  return { offset, at_ms: time, stored: true, data, b64data, tags, publisher };
}

/**
 * Read the page that a query asks for, newest first: `at` a time, around an `offset`, or `before` or `after` a cursor; or
 * else around the message that is `open`, from which the newest may have gone on.
 * @param {string} channel
 * @param {Record<string, string | undefined>} query
 * @param {AbortSignal} signal
 * @returns {Promise<Stretch>}
 */
export async function stretch(channel, { at, offset, before, after, open }, signal) {
  const sought = offset || (!at && !before && !after && !channel.startsWith(SYSTEM) && open);
  if (sought) return around(channel, Number(sought), signal);
  /** @type {Record<string, string>} */
  const place = at ? { at } : before ? { before } : after ? { after } : {};
  const found = await page(channel, { ...place, size: SIZE }, signal);
  return after ? { ...found, items: found.items.reverse() } : found;
}

/**
 * A cursor is made by the server alone, so an offset is looked up by the time of its message.
 * @param {string} channel
 * @param {number} offset
 * @param {AbortSignal} signal
 * @returns {Promise<Stretch>}
 */
async function around(channel, offset, signal) {
  if (channel.startsWith(SYSTEM)) throw new ApiError({ message: "Channels of the system are gone through by time alone." });
  const { messages } = await call("stream/read", { source: channel, offset, limit: 1 }, signal);
  if (!messages.length) return page(channel, { size: SIZE }, signal); // behind the end
  const [sought] = messages;
  /** @type {Stretch} */
  let found = await page(channel, { at: sought.time_ms, size: SIZE }, signal);
  for (let turn = 0; turn < TURNS_MAX && found.has_after && !found.items.some((each) => each.offset >= sought.offset); turn++) {
    found = await page(channel, { after: found.after_cursor, size: TURN }, signal);
  }
  const item = found.items.find((each) => each.offset === sought.offset);
  return item ? page(channel, { around: item.cursor, size: SIZE }, signal) : found;
}

/**
 * Return a page as rows, with a word where offsets are missing: those were erased.
 * @param {Stretch} found
 * @param {number} [chosen] the offset that was asked for
 * @returns {Item[]}
 */
export function rowsOf({ items, has_before, oldest }, chosen) {
  return items.flatMap((item, at) => {
    const row = { key: item.offset, message: stored(item), chosen: item.offset === chosen };
    const older = items[at + 1]?.offset ?? (has_before ? item.offset - 1 : oldest - 1);
    const erased = item.offset - older - 1;
    return erased > 0 ? [row, { key: `erased-${item.offset}`, note: { text: toldErased(erased, item.offset - 1) } }] : [row];
  });
}

/**
 * @param {number} number
 * @param {number} last
 */
function toldErased(number, last) {
  if (number === 1) return `The message of offset ${digits(last)} was erased.`;
  return `${count(number)} messages were erased: offsets ${digits(last - number + 1)} to ${digits(last)}.`;
}
