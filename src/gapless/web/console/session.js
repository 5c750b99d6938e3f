/** Who is at the console: what the server says of itself, logging in, and the token that everything is asked with. */
import { computed, signal } from "./lib.js";

/** @typedef {{version: string, login: boolean, dev: boolean, api: string, websocket: string,
 *   messages: string | null, lab: boolean, demo: boolean, session: Session | null}} About `session`: where nobody has to log in */
/** @typedef {{token: string, name: string, role: "operator" | "read_only", expires_ms: number}} Session */

const KEY = "gapless.session";
const RENEW_PART = 0.5; // of what is left
const AGAIN_MS = 5_000;
const ANSWER_MS = 15_000;
const UNAUTHORIZED = 401;

/** @type {import("./lib.js").Signal<About | null>} */
export const about = signal(null);
/** @type {import("./lib.js").Signal<Session | null>} */
export const session = signal(null);
export const isOperator = computed(() => session.value?.role === "operator");

/** Why somebody could not log in, in words for people. */
class Refused extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

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
  const answer = await fetch("about.json", { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => {
    throw new Refused("the server does not answer", 0);
  });
  if (!answer.ok) throw new Refused(`the server answers ${answer.status}`, answer.status);
  about.value = await answer.json();
  const entered = read() ?? about.value?.session;
  if (entered) enter(entered);
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
  clearTimeout(renewal);
  sessionStorage.removeItem(KEY);
  session.value = null;
}

/** @type {Promise<void> | null} */
let entering = null;

/**
 * A token is not good any more: its time is over, the password has changed, or the server began anew. Where nobody has to
 * log in, come in again.
 * @param {string | undefined} token
 */
export async function lapsed(token) {
  if (token !== session.peek()?.token) return; // there is a newer one
  if (about.value?.login) return logout();
  entering ??= login({}).catch(logout).finally(() => (entering = null)); // many calls hear of it at once
  await entering;
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
  throw new Refused(later || body.error?.message || `the server answers ${answer.status}`, answer.status);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let renewal;

/** @param {Session} entered */
function enter(entered) {
  sessionStorage.setItem(KEY, JSON.stringify(entered));
  session.value = entered;
  renewIn((entered.expires_ms - Date.now()) * RENEW_PART);
}

/** @param {number} ms */
function renewIn(ms) {
  clearTimeout(renewal);
  renewal = setTimeout(renew, Math.min(Math.max(ms, 1_000), 2 ** 31 - 1));
}

/** Get a new token while the old one is good; return the token that is. */
export async function renew() {
  const before = session.value;
  if (!before) return "";
  try {
    const renewed = await ask("renew", {});
    if (session.value === before) enter(renewed); // nobody logged out meanwhile
  } catch (error) {
    if (error instanceof Refused && error.status === UNAUTHORIZED) await lapsed(before.token);
    else if (session.value === before) renewIn(AGAIN_MS); // it cannot be reached, or is busy
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
