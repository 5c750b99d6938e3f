/** One message, and the lines between messages. */
import { html } from "../lib.js";
import { isMine } from "../name.js";

/** @typedef {import("../timeline.js").Message} Message */

const COLOURS = 6;

/** @param {string} name */
function colourOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 93 + (character.codePointAt(0) ?? 0)) % 9973;
  return `tint-${sum % COLOURS}`;
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const TIME_MAX = 8.64e15; // what a Date holds

/** @param {number} at */
const time = (at) => (at > 0 && at <= TIME_MAX ? CLOCK.format(at) : "");

/** @param {{name: string}} props */
export function Avatar({ name }) {
  return html`<span class=${`avatar ${colourOf(name)}`} aria-hidden="true">${[...name][0] ?? "?"}</span>`;
}

/**
 * @param {{message: Message, before?: Message | undefined, state?: string, isRecovered?: boolean}} props
 */
export function Bubble({ message, before, state = "", isRecovered = false }) {
  const mine = isMine(message.id);
  const follows = before?.name === message.name && isMine(before.id) === mine;
  const kinds = ["message", mine && "mine", follows && "follows", state, isRecovered && "recovered"];
  return html`
    <div class=${kinds.filter(Boolean).join(" ")} data-key=${message.offset || message.id} data-id=${message.id}>
      ${mine ? null : follows ? html`<span class="avatar none"></span>` : html`<${Avatar} name=${message.name} />`}
      <div class="body">
        ${follows || mine ? null : html`<${Author} ...${message} />`}
        <p class="text">${message.text}</p>
        ${mine ? html`<span class="when">${STATES[state] ?? time(message.at)}</span>` : null}
      </div>
    </div>
  `;
}

/** @param {Message} props */
function Author({ name, at }) {
  return html`<p class="author"><span class="name">${name}</span> <span class="when">${time(at)}</span></p>`;
}

/** @type {Record<string, string>} */
const STATES = { waiting: "waits for a signal", sending: "sending …", lost: "not sent" };

/** @param {{kind: string, id: string, isBusy?: boolean, children?: any}} props */
export function Line({ kind, id, isBusy = false, children }) {
  return html`<div class=${`line ${kind}`} data-key=${id} aria-busy=${isBusy}><span>${children}</span></div>`;
}

/** @param {number} count @param {string} [noun] */
export const counted = (count, noun = "message") => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
