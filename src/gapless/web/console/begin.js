/**
 * What begins before the screens are there: coming in, and asking for the first thing that the overview tells. It is a
 * script of its own, so that the answers come while the other, which is large, is loaded and compiled.
 */
export * from "./api.js";
export * from "./exact.js";
export * from "./lib.js";
export * from "./session.js";

import { ahead } from "./api.js";
import { begin, session } from "./session.js";

const OVERVIEW = /^(#\/?(overview\b.*)?)?$/;
const NUMBERS_MS = 100; // for the first picture to hold numbers; else it is drawn without

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @returns {Promise<Error | null>} why nobody is let in */
async function come() {
  try {
    await begin();
  } catch (error) {
    return /** @type {Error} */ (error);
  }
  if (session.peek() && OVERVIEW.test(location.hash)) await Promise.race([ahead("info"), pause(NUMBERS_MS)]);
  return null;
}

export const begun = come();
