/** The story of a connection and of those that it continues, down a line: what was first stands first. */
import { counted, duration, exactly, time } from "../../format.js";
import { html } from "../../lib.js";
import { href } from "../../route.js";
import { Badge } from "../../ui/basics.js";
import { NodeName } from "../../ui/nodes.js";
import { short } from "./told.js";
import { said } from "./words.js";

/** @typedef {import("./words.js").Event} Event */
/** @typedef {{client: string, events: Event[]}} Life events of one connection, the oldest first */

/**
 * Return the lives that led to a connection, the first first. Others of the same user are not among them.
 * @param {Event[]} events the newest first
 * @param {string} client
 * @returns {Life[]}
 */
export function livesOf(events, client) {
  /** @type {Life[]} */
  const lives = [];
  const seen = new Set();
  /** @type {string | undefined} */
  let at = client;
  while (at && !seen.has(at)) {
    /** @type {string} */
    const of = at;
    seen.add(of);
    /** @type {Event[]} */
    const own = events.filter((event) => event.client === of).reverse();
    if (own.length) lives.unshift({ client: of, events: own });
    at = own.find((event) => event.previous)?.previous;
  }
  return lives;
}

/** How it went, in a sentence. @param {{lives: Life[]}} props */
export function Summary({ lives }) {
  const events = lives.flatMap((life) => life.events);
  const of = (/** @type {string} */ what) => events.filter((event) => event.what === what);
  const messages = of("recovered").reduce((sum, event) => sum + (event.messages ?? 0), 0);
  const [lost, cuts] = [of("lost").length, of("disconnected").filter((event) => event.by === "network").length];
  return html`
    <ul class="summary" aria-label="In short">
      <li><${Badge}>${counted(lives.length, "connection")}<//></li>
      <li><${Badge} tone=${cuts ? "warn" : ""}>${counted(cuts, "cut")}<//></li>
      <li><${Badge} tone=${messages ? "good" : ""}>${counted(messages, "message")} recovered<//></li>
      <li><${Badge} tone=${lost ? "bad" : "good"}>${lost ? counted(lost, "gap") : "no gap"}<//></li>
    </ul>
  `;
}

/** @param {{lives: Life[], client: string}} props */
export function TimeLine({ lives, client }) {
  return html`
    <ol class="story" aria-label="Story">
      ${lives.map((life, n) => html`
        <li class="life" key=${life.client}>
          ${n > 0 && html`<${Away} before=${lives[n - 1]} after=${life} />`}
          <h3>${life.client === client ? "This connection" : html`Connection <a href=${href(["connections", life.client])}>${short(life.client)}</a>`}<span class="muted small"> on <${NodeName} uid=${life.events[0]?.node ?? ""} /></span></h3>
          <ol>${life.events.map((event, at) => html`<${Moment} key=${`${event.at_ms}-${at}`} event=${event} before=${life.events[at - 1]} />`)}</ol>
        </li>
      `)}
    </ol>
  `;
}

/** Between two connections of one who was away. @param {{before: Life | undefined, after: Life}} props */
function Away({ before, after }) {
  const [left, came] = [before?.events.at(-1), after.events[0]];
  const away_ms = left?.what === "disconnected" && came ? came.at_ms - left.at_ms : null;
  return html`<p class="away">${away_ms === null ? "away" : away_ms > 0 ? `away for ${duration(away_ms)}` : "came back before its old connection was seen to be dead"}</p>`;
}

/** @param {{event: Event, before?: Event}} props */
function Moment({ event, before }) {
  const { tone, words } = said(event);
  const later_ms = before ? event.at_ms - before.at_ms : 0;
  return html`
    <li class=${`moment ${tone}`}>
      <time datetime=${exactly(event.at_ms)} title=${exactly(event.at_ms)}>${time(event.at_ms)}${later_ms >= 1 && html`<span class="later">+${duration(later_ms)}</span>`}</time>
      <p>${words}</p>
    </li>
  `;
}

/** @param {{event: Event}} props one of many, of different connections */
export function Happened({ event }) {
  const { tone, words } = said(event);
  return html`<span class=${`happened ${tone}`}>${words}</span>`;
}
