/** What happened to a connection, in words, with links to the very messages that these are about. */
import { count, counted, duration, digits } from "../../format.js";
import { html } from "../../lib.js";
import { href } from "../../route.js";
import { sdk } from "./told.js";

/** @typedef {{at_ms: number, node: string, client: string, user: string, what: string, address?: string,
 *   protocol?: string, name?: string, version?: string, channel?: string, offset?: number, since?: number,
 *   last?: number, messages?: number, took_ms?: number, from?: string, previous?: string, why?: string, code?: number,
 *   reason?: string, by?: string, times?: number, positions?: Record<string, number>}} Event */
/** @typedef {{tone: "good" | "warn" | "bad" | "accent" | "", words: any}} Said */

const POSITIONS_SHOWN = 3;
const SOURCES = /** @type {Record<string, string>} */ ({ tail: "from memory", store: "from the store", cache: "from the cache" });
const NOT_KEPT = /older than what is kept, which follows offset (\d+)/;

/** @param {Event} event @returns {Said} */
export function said(event) {
  return (SAYS[event.what] ?? unknown)(event);
}

/** @type {Record<string, (event: Event) => Said>} */
const SAYS = {
  connected: (event) => ({ tone: "accent", words: html`Connected from <span class="mono">${event.address}</span> with ${sdk(event)}, ${event.protocol}` }),
  subscribed: ({ channel, offset }) => ({ tone: "", words: html`Followed <${To} channel=${channel} />${offset ? html` from offset <${At} channel=${channel} offset=${offset} />` : ""}` }),
  recovered,
  lost,
  unsubscribed: ({ channel, code, reason }) => (code ? { tone: "warn", words: html`Was unsubscribed from <${To} channel=${channel} />: ${reason} (${code})` } : { tone: "", words: html`Left <${To} channel=${channel} />` }),
  stalled: ({ times = 1 }) => ({ tone: "warn", words: times > 1 ? `Its socket was full, ${count(times)} times` : "Its socket was full" }),
  resumed: () => ({ tone: "", words: "Its socket drained" }),
  disconnected,
};

/** @param {Event} event @returns {Said} */
function unknown({ what }) {
  return { tone: "", words: what };
}

/** @param {Event} event @returns {Said} */
function recovered({ channel, since = 0, last = 0, messages = 0, took_ms = 0, from = "" }) {
  if (!messages) return { tone: "good", words: html`Came back to <${To} channel=${channel} /> at offset <${At} channel=${channel} offset=${last} />: nothing was missed` };
  return {
    tone: "good",
    words: html`
      Came back to <${To} channel=${channel} /> with offset <${At} channel=${channel} offset=${since} /> of ${digits(last)}:
      <strong> recovered <a class="span" href=${around(channel, since + 1)} title="Read them in History">${counted(messages, "message")}</a></strong> in ${took_ms < 1 ? "under 1 ms" : duration(took_ms)}, ${SOURCES[from] ?? from}
    `,
  };
}

/** @param {Event} event @returns {Said} */
function lost({ channel, since = 0, last = 0, why = "" }) {
  const floor = NOT_KEPT.exec(why)?.[1];
  const reason = floor ? `what followed offset ${digits(since)} is not kept any more (oldest is ${digits(Number(floor) + 1)})` : why;
  return { tone: "bad", words: html`<strong>Could not recover</strong> <${To} channel=${channel} />, which ended at offset <${At} channel=${channel} offset=${last} />: ${reason}` };
}

/** @param {Event} event @returns {Said} */
function disconnected({ by, code, reason, positions = {} }) {
  const where = html`<${Positions} positions=${positions} />`;
  if (by === "network") return { tone: "warn", words: html`<strong>Cut by the network</strong>${where}` };
  if (by === "client") return { tone: "", words: html`Left by itself${where}` };
  return { tone: "warn", words: html`Disconnected by the server: ${reason} (${code})${where}` };
}

/** @param {{positions: Record<string, number>}} props */
function Positions({ positions }) {
  const all = Object.entries(positions);
  if (!all.length) return null;
  const shown = all.slice(0, POSITIONS_SHOWN).map(([channel, offset], n) => html`${n ? ", " : ""}<${At} channel=${channel} offset=${offset} /> of <${To} channel=${channel} />`);
  return html` at offset ${shown}${all.length > POSITIONS_SHOWN && ` and in ${counted(all.length - POSITIONS_SHOWN, "more channel")}`}`;
}

/** @param {string | undefined} channel @param {number} offset */
const around = (channel, offset) => href(["channels", channel ?? ""], { tab: "history", by: "offset", offset });

/** @param {{channel?: string}} props */
function To({ channel = "" }) {
  return html`<a class="mono" href=${href(["channels", channel])}>${channel}</a>`;
}

/** @param {{channel?: string, offset: number}} props */
function At({ channel, offset }) {
  return offset ? html`<a class="at" href=${around(channel, offset)} title="Look there in History">${digits(offset)}</a>` : "0";
}
