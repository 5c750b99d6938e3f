/** The server API as the console calls it: the same methods that every backend has. */
import { read } from "./exact.js";
import { about, address, lapsed, session } from "./session.js";

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

/** @type {Map<string, Promise<any>>} by method: answers that nobody has asked for yet */
const expected = new Map();

/**
 * Carry out a method whose result is asked for soon, and once; the promise is kept when it has ended, however it did.
 * @param {string} method
 */
export function ahead(method) {
  const result = call(method);
  expected.set(method, result);
  return result.catch(() => expected.delete(method)); // who asks then asks anew
}

/**
 * Carry out a method and return its result.
 * @param {string} method such as `queue/stats`
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, body = {}, signal) {
  const result = expected.get(method);
  if (result) {
    expected.delete(method);
    return result;
  }
  const answer = await request(method, body, signal);
  const told = await answer.text().then(read).catch(() => ({ error: { message: `the server answers ${answer.status}` } }));
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
  const answer = await request(method, body, signal);
  if (!answer.ok || !answer.body) throw new ApiError((await answer.json().catch(() => ({}))).error ?? {});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part) yield read(part);
    }
  } finally {
    reader.cancel().catch(() => {}); // who stopped to read lets the server stop to write
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
  if (/^\.\.?$/.test(channel)) throw new ApiError({ message: `A browser cannot ask the messages API for the channel “${channel}”: in an address that is a folder.` });
  const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const answer = await request(`channels/${encodeURIComponent(channel)}/messages?${search}`, undefined, signal);
  const told = await answer.text().then(read).catch(() => ({}));
  if (!answer.ok) throw new ApiError(told.error ?? told);
  return told;
}

/**
 * @param {string} path below that of the API
 * @param {object} [body] what is asked by GET has none
 * @param {AbortSignal} [signal]
 */
async function request(path, body, signal) {
  const token = session.value?.token;
  /** @type {Record<string, string>} */
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const options = { headers, signal: signal ?? null, ...(body ? { method: "POST", body: JSON.stringify(body) } : {}) };
  const answer = await fetch(address(`${about.value?.api}/${path}`), options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "the server cannot be reached", temporary: true });
  });
  if (answer.status === 401) lapsed(token);
  return answer;
}
