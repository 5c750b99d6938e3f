/** Asking the server for what a screen shows, once or again and again; what was shown stays until there is newer. */
import { call } from "./api.js";
import { useLayoutEffect, useMemo, useSignal } from "./lib.js";

/**
 * @template T
 * @typedef {{data: import("./lib.js").Signal<T | null>, error: import("./lib.js").Signal<Error | null>,
 *   reload: () => void}} Loaded
 */

/** While a page is hidden nobody looks. */
const isHidden = () => document.visibilityState === "hidden";

/**
 * Load what `ask` returns: now, when one of `needs` changes, and every `every_ms` if that is given.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {unknown[]} needs
 * @param {number} [every_ms]
 * @returns {Loaded<T>}
 */
export function useLoaded(ask, needs, every_ms = 0) {
  /** @type {import("./lib.js").Signal<T | null>} */
  const data = useSignal(/** @type {T | null} */ (null));
  const error = useSignal(/** @type {Error | null} */ (null));
  const turns = useSignal(0);
  const turn = turns.value;
  useLayoutEffect(() => {
    const given_up = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const load = async () => {
      if (!isHidden() || !data.peek()) await once(ask, given_up.signal, data, error);
      if (every_ms && !given_up.signal.aborted) timer = setTimeout(load, every_ms);
    };
    load();
    return () => {
      given_up.abort();
      clearTimeout(timer);
    };
  }, [...needs, every_ms, turn]);
  return useMemo(() => ({ data, error, reload: () => (turns.value += 1) }), []);
}

/**
 * Load the result of a method of the API.
 * @param {string} method
 * @param {object} [body]
 * @param {number} [every_ms]
 * @returns {Loaded<any>}
 */
export function useCall(method, body = {}, every_ms = 0) {
  return useLoaded((signal) => call(method, body, signal), [method, JSON.stringify(body)], every_ms);
}

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {AbortSignal} signal
 * @param {import("./lib.js").Signal<T | null>} data
 * @param {import("./lib.js").Signal<Error | null>} error
 */
async function once(ask, signal, data, error) {
  try {
    const answer = await ask(signal);
    if (signal.aborted) return;
    data.value = answer;
    error.value = null;
  } catch (caught) {
    if (!signal.aborted) error.value = /** @type {Error} */ (caught);
  }
}
