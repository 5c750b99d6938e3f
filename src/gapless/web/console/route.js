/** Where one is in the console: all of it stands in the address, so that a link shows others the same. */
import { signal } from "./lib.js";

/** @typedef {{path: string[], query: Record<string, string>}} Route */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Query */

/** @returns {Route} */
function read() {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  return { path: parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // written by hand
  }
}

export const route = signal(read());
addEventListener("hashchange", () => (route.value = read()));

/**
 * Return the link to a place. What is empty, null or false does not stand in it.
 * @param {string[]} path
 * @param {Query} [query]
 */
export function href(path, query = {}) {
  const said = Object.entries(query).filter(([, value]) => value !== "" && value != null && value !== false);
  const search = new URLSearchParams(said.map(([name, value]) => [name, String(value)])).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/**
 * Go to a place; tell whether that is another than this.
 * @param {string[]} path
 * @param {Query} [query]
 */
export function go(path, query) {
  const before = location.hash;
  location.hash = href(path, query);
  return location.hash !== before;
}

/** What forms have in the address, to be forgotten: their fields have a dash. */
export const formless = () => Object.fromEntries(Object.keys(route.peek().query).filter((name) => name.includes("-")).map((name) => [name, ""]));

/**
 * Change the query of this place, without a new entry in the history.
 * @param {Query} changes
 */
export function refine(changes) {
  history.replaceState(history.state, "", refined(changes));
  route.value = read();
}

/**
 * Change the query of this place as a new entry in the history, out of which Back leads.
 * @param {Query} changes
 */
export function enter(changes) {
  history.pushState(changes, "", refined(changes));
  route.value = read();
}

/**
 * Take something out of the query again; with the entry by which it came, or Back would lead into it.
 * @param {string} name
 */
export function leave(name) {
  const { path, query: { [name]: was, ...query } } = route.value;
  if (!was) return;
  if (history.state?.[name]) history.back();
  else refine({ [name]: "" });
  route.value = { path, query }; // going back takes its time
}

/** @param {Query} changes */
function refined(changes) {
  const { path, query } = route.value;
  return href(path, { ...query, ...changes });
}
