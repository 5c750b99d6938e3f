/** A conversation in memory: messages in the order of their offsets, and the part of it that is shown. Pure. */

/**
 * `isNamed`: its id came with it, so that it is the same wherever it is heard.
 * @typedef {{offset: number, id: string, isNamed: boolean, name: string, text: string, at: number,
 *   client: string}} Message
 * @typedef {{first: number, last: number}} View offsets; `last` is Infinity where new messages are shown
 */

export const SHOWN_MAX = 160;
const STEP = 50;
export const KEPT_MAX = 10_000;
export const NEWEST = { first: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY };

/**
 * Return where the first message at or after an offset stands.
 * @param {readonly Message[]} messages
 * @param {number} offset
 */
export function indexOf(messages, offset) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {Message} */ (messages[middle]).offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Return both together, each message once.
 * @param {readonly Message[]} messages
 * @param {readonly Message[]} more in order
 * @returns {Message[]}
 */
export function merged(messages, more) {
  if (!more.length) return [...messages];
  const last = messages.at(-1)?.offset ?? 0;
  if (/** @type {Message} */ (more[0]).offset > last) return [...messages, ...more];
  const known = new Map(messages.map((message) => [message.offset, message]));
  for (const message of more) known.set(message.offset, message);
  return [...known.values()].sort((one, other) => one.offset - other.offset);
}

/**
 * Return what is shown.
 * @param {readonly Message[]} messages
 * @param {View} view
 * @returns {readonly Message[]}
 */
export function shown(messages, { first, last }) {
  const end = last === Number.POSITIVE_INFINITY ? messages.length : indexOf(messages, last + 1);
  const start = first === Number.POSITIVE_INFINITY ? 0 : indexOf(messages, first);
  return messages.slice(Math.max(start, end - SHOWN_MAX), end);
}

/**
 * Return a view that reaches further back; what that pushes out at its end is not shown any more.
 * @param {readonly Message[]} messages
 * @param {View} view
 * @returns {View}
 */
export function older(messages, view) {
  const now = shown(messages, view);
  const start = Math.max(0, indexOf(messages, now[0]?.offset ?? 0) - STEP);
  const end = Math.min(messages.length, start + SHOWN_MAX, start + now.length + STEP);
  return viewOf(messages, start, end);
}

/**
 * Return a view that reaches further on.
 * @param {readonly Message[]} messages
 * @param {View} view
 * @returns {View}
 */
export function newer(messages, view) {
  const now = shown(messages, view);
  const end = Math.min(messages.length, indexOf(messages, (now.at(-1)?.offset ?? 0) + 1) + STEP);
  return viewOf(messages, Math.max(0, end - SHOWN_MAX, end - now.length - STEP), end);
}

/**
 * Return a view that stays as it is, whatever comes.
 * @param {readonly Message[]} messages
 * @param {View} view
 * @returns {View}
 */
export function held(messages, view) {
  const now = shown(messages, view);
  return now.length ? { first: now[0]?.offset ?? 0, last: now.at(-1)?.offset ?? 0 } : NEWEST;
}

/**
 * @param {readonly Message[]} messages
 * @param {number} start
 * @param {number} end
 * @returns {View}
 */
function viewOf(messages, start, end) {
  return { first: messages[start]?.offset ?? 0, last: messages[end - 1]?.offset ?? 0 };
}
