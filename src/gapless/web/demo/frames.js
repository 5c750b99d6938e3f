/** What goes over the wires of both phones, the newest last; only so many are kept. */
import { signal } from "./lib.js";

const FRAMES_MAX = 200;
const CHARACTERS_MAX = 20_000;

/** @typedef {"plain" | "kept"} Phone */
/** @typedef {{key: number, at: number, phone: Phone, way: "out" | "in" | "event", kind: string, text: string}} Frame */

/** @type {import("./lib.js").Signal<readonly Frame[]>} */
export const frames = signal(/** @type {readonly Frame[]} */ ([]));

const TOGETHER_MS = 50; // a burst is shown at once

let count = 0;
/** @type {Frame[]} */
let noted = [];

/**
 * @param {Phone} phone
 * @param {Frame["way"]} way
 * @param {string} kind
 * @param {string} [text]
 */
export function note(phone, way, kind, text = "") {
  const cut = text.length > CHARACTERS_MAX ? `${text.slice(0, CHARACTERS_MAX)} …` : text;
  if (!noted.length) setTimeout(show, TOGETHER_MS);
  noted.push({ key: count++, at: Date.now(), phone, way, kind, text: cut });
}

function show() {
  frames.value = [...frames.peek(), ...noted].slice(-FRAMES_MAX);
  noted = [];
}

/**
 * Return what a message of the protocol holds: each line is a command or a reply.
 * @param {string} data
 * @returns {{text: string, said: any}[]}
 */
export function parsed(data) {
  return data.split("\n").filter(Boolean).map((text) => ({ text, said: JSON.parse(text) }));
}

/**
 * Say in a word or two what a command, reply or push is about.
 * @param {any} said
 * @returns {string}
 */
export function kindOf(said) {
  if (said.error) return `error ${said.error.code}`;
  if (said.subscribe?.recover) return `recover from ${said.subscribe.offset}`;
  if (said.subscribe?.recovered) return `recovered ${said.subscribe.publications?.length ?? 0}`;
  const { push } = said;
  if (push) return push.pub ? `message${push.pub.offset ? ` ${push.pub.offset}` : ""}` : (Object.keys(push).at(-1) ?? "push");
  if (said.rpc?.method) return said.rpc.method;
  return Object.keys(said).find((field) => field !== "id") ?? (said.id ? "done" : "ping");
}
