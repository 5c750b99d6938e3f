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
  const { path, query } = route.value;
  history.replaceState(null, "", href(path, { ...query, ...changes }));
  route.value = read();
}
