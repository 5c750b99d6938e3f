/** The server API as the console calls it: the same methods that every backend has. */
import { read } from "./exact.js";
import { about, address, logout, session } from "./session.js";

/** An error of the API: its stable number and name, and what to say of it. */
export class ApiError extends Error {
  /** @param {{code?: number, message?: string, reason?: string, temporary?: boolean}} told */
  constructor(told) {
    super(told.message || "the call failed");
    this.code = told.code ?? 0;
    this.reason = told.reason ?? "";
    this.temporary = told.temporary ?? false;
  }
}

/**
 * Carry out a method and return its result.
 * @param {string} method such as `queue/stats`
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, body = {}, signal) {
  const answer = await request(`${about.value?.api}/${method}`, body, signal);
  const told = await answer.text().then(read).catch(() => ({ error: { message: `the server answers ${answer.status}` } }));
  if (answer.status === 401) logout();
  if (told.error) throw new ApiError(told.error);
  return told.result;
}

/**
 * Read an answer of lines, each an object, as they come.
 * @param {string} method
 * @param {object} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export async function* lines(method, body, signal) {
  const answer = await request(`${about.value?.api}/${method}`, body, signal);
  if (!answer.ok || !answer.body) throw new ApiError((await answer.json().catch(() => ({}))).error ?? {});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part) yield read(part);
  }
}

/**
 * Read a page of a channel by the messages API.
 * @param {string} channel
 * @param {Record<string, string | number>} query one of `before`, `after`, `around`, `at`; and `size`
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function page(channel, query, signal) {
  const url = address(`${about.value?.api}/channels/${encodeURIComponent(channel)}/messages`);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  const answer = await fetch(url, { headers: bearer(), signal: signal ?? null });
  const told = await answer.text().then(read).catch(() => ({}));
  if (answer.status === 401) logout();
  if (!answer.ok) throw new ApiError(told.error ?? told);
  return told;
}

/**
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} [signal]
 */
function request(path, body, signal) {
  const options = { method: "POST", headers: bearer(), body: JSON.stringify(body), signal: signal ?? null };
  return fetch(address(path), options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "the server cannot be reached", temporary: true });
  });
}

/** @returns {Record<string, string>} */
function bearer() {
  return session.value ? { authorization: `Bearer ${session.value.token}` } : {};
}
