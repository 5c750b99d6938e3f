/**
 * What a live tail holds. Every message is counted; how many are kept and built is bounded, whatever comes: those that
 * came too quickly are told of by their offsets, at which History has them.
 */
import { count, digits, oneLine } from "../../format.js";
import { href } from "../../route.js";

/** @typedef {import("../../ui/messages.js").Message} Message */
/** @typedef {import("../../ui/messages.js").Item} Item */
/** @typedef {import("../../ui/messages.js").Note} Note */

const ROWS_MAX = 500;
export const WAITING_MAX = 500;
const FRAME_ROWS_MAX = 30;
const HURRY = 400; // so many are passed over at once, or every frame of a burst would tell of some

export class Tail {
  received = 0;
  matched = 0;
  paused = false;
  /** @type {Item[]} the newest first */
  rows = [];
  /** @type {Item[]} what is not built yet, the oldest first */
  waiting = [];
  passed = { number: 0, first: /** @type {number | null} */ (null), last: /** @type {number | null} */ (null) };
  #text = "";
  #key = 0;

  /** @param {string} channel */
  constructor(channel) {
    this.channel = channel;
  }

  /** How many messages would be shown, if it were not paused. */
  get news() {
    return this.passed.number + this.waiting.length;
  }

  /** Let only those through from now on that have a text in them; of those here the others go. @param {string} text */
  filter(text) {
    this.#text = text.toLowerCase();
    this.rows = this.rows.filter((item) => this.#fits(item));
    this.waiting = this.waiting.filter((item) => this.#fits(item));
  }

  /** @param {Message} message */
  take(message) {
    this.received += 1;
    const item = { key: ++this.#key, message };
    if (!this.#fits(item)) return;
    this.matched += 1;
    this.waiting.push(item);
    if (this.waiting.length > WAITING_MAX) this.#pass(this.paused ? 1 : HURRY);
  }

  /** Say something between the messages. @param {Note} note */
  say(note) {
    this.waiting.push({ key: ++this.#key, note });
  }

  /** Put messages below all others: those from before. @param {Message[]} messages newest first */
  before(messages) {
    const items = messages.map((message) => ({ key: ++this.#key, message })).filter((item) => this.#fits(item));
    this.rows = [...this.rows, ...items].slice(0, ROWS_MAX);
  }

  /** Build as many rows as a frame has time for; tell whether there are more. */
  build() {
    if (this.paused) return false;
    const built = this.waiting.splice(0, FRAME_ROWS_MAX);
    if (this.passed.number) built.unshift({ key: ++this.#key, note: this.#told() });
    if (built.length) this.rows = [...built.reverse(), ...this.rows].slice(0, ROWS_MAX);
    return this.waiting.length > 0;
  }

  clear() {
    this.rows = [];
    this.waiting = [];
    this.passed = { number: 0, first: null, last: null };
  }

  /** Pass over the oldest that wait; what was said stays. @param {number} number */
  #pass(number) {
    const over = this.waiting.splice(0, number);
    const notes = over.filter((item) => item.note);
    for (const { message } of over) {
      if (!message) continue;
      this.passed.number += 1;
      this.passed.first ??= message.offset;
      this.passed.last = message.offset ?? this.passed.last;
    }
    this.waiting.unshift(...notes);
  }

  /** @returns {Note} */
  #told() {
    const { number, first, last } = this.passed;
    this.passed = { number: 0, first: null, last: null };
    const text = `${count(number)} more came, too many to show${first === null ? "" : ` (offsets ${digits(first)} to ${digits(last)})`}.`;
    const link = first === null ? undefined : "Read them in History";
    return { text, tone: "warn", link, href: link && href(["channels", this.channel], { tab: "history", offset: first }) };
  }

  /** @param {Item} item */
  #fits({ message }) {
    if (!this.#text || !message) return true;
    const { data, tags, publisher } = message;
    const said = [oneLine(data), ...Object.entries(tags).map((tag) => tag.join("=")), publisher?.user ?? ""];
    return said.some((each) => each.toLowerCase().includes(this.#text));
  }
}
