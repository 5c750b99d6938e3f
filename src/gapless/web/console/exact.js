/** JSON as it was written: numbers that JavaScript cannot hold, such as long ids, go through unharmed. */

/** @typedef {{rawJSON?: (text: string) => unknown, parse: (text: string, each: (...of: any[]) => unknown) => any}} Json */

const json = /** @type {Json} */ (/** @type {unknown} */ (JSON));

/**
 * Read JSON. A whole number beyond 2^53 is kept as it stands, where the browser knows how; written again it is the same.
 * @param {string} text
 * @returns {any}
 */
export function read(text) {
  return json.rawJSON && LONG.test(text) ? json.parse(text, kept) : JSON.parse(text);
}

const LONG = /\d{16}/;
const WHOLE = /^-?\d+$/;

/**
 * @param {string} _
 * @param {unknown} value
 * @param {{source?: string}} [context]
 */
function kept(_, value, context) {
  const isLong = typeof value === "number" && !Number.isSafeInteger(value) && WHOLE.test(context?.source ?? "");
  return isLong ? json.rawJSON?.(context?.source ?? "") : value;
}
