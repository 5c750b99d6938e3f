/** Who is at the console: what the server says of itself, logging in, and the token that everything is asked with. */
import { computed, signal } from "./lib.js";

/** @typedef {{version: string, login: boolean, dev: boolean, api: string, websocket: string,
 *   messages: string | null, lab: boolean, demo: boolean}} About */
/** @typedef {{token: string, name: string, role: "operator" | "read_only", expires_ms: number}} Session */

const KEY = "gapless.session";
const RENEW_PART = 0.5; // of what is left

/** @type {import("./lib.js").Signal<About | null>} */
export const about = signal(null);
/** @type {import("./lib.js").Signal<Session | null>} */
export const session = signal(null);
export const isOperator = computed(() => session.value?.role === "operator");

/** Why somebody could not log in, in words for people. */
export class Refused extends Error {}

/**
 * Return the address of a path of the server, which may be served below a prefix.
 * @param {string} path
 */
export function address(path) {
  const here = new URL(".", location.href); // …/console/
  return new URL(`..${path}`, here);
}

/** Ask the server what it is; come in at once where nobody has to log in, or somebody is logged in already. */
export async function begin() {
  const answer = await fetch("about.json");
  if (!answer.ok) throw new Refused(`the server answers ${answer.status}`);
  about.value = await answer.json();
  const kept = read();
  if (kept) enter(kept);
  else if (!about.value?.login) await login({});
}

/**
 * Log in by name and password, or by the API key.
 * @param {{name?: string, password?: string, key?: string}} said
 */
export async function login(said) {
  enter(await ask("login", said));
}

/** Forget who is here. */
export function logout() {
  sessionStorage.removeItem(KEY);
  session.value = null;
}

/**
 * @param {"login" | "renew"} what
 * @param {object} said
 * @returns {Promise<Session>}
 */
async function ask(what, said) {
  const token = session.value?.token;
  const headers = token ? { authorization: `Bearer ${token}` } : undefined;
  const answer = await fetch(what, { method: "POST", headers, body: JSON.stringify(said) });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const seconds = answer.headers.get("retry-after");
  const later = answer.status === 429 ? `Too many attempts. Try again in ${seconds ?? "a few"} seconds.` : "";
  throw new Refused(later || body.error?.message || `the server answers ${answer.status}`);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let renewal;

/** @param {Session} entered */
function enter(entered) {
  sessionStorage.setItem(KEY, JSON.stringify(entered));
  session.value = entered;
  clearTimeout(renewal);
  const left = entered.expires_ms - Date.now();
  renewal = setTimeout(renew, Math.min(Math.max(left * RENEW_PART, 1_000), 2 ** 31 - 1));
}

/** Get a new token while the old one is good; return the token that is. */
export async function renew() {
  try {
    enter(await ask("renew", {}));
  } catch (error) {
    if (error instanceof Refused) logout(); // the password has changed, or the time is over
  }
  return session.value?.token ?? "";
}

/** @returns {Session | null} */
function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return kept && kept.expires_ms > Date.now() ? kept : null;
  } catch {
    return null;
  }
}
