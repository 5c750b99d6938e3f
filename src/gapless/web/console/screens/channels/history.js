/** What a channel keeps: to and fro, to a time, to an offset. */
import { page } from "../../api.js";
import { count, digits } from "../../format.js";
import { html, useMemo } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { go, href, refine, route } from "../../route.js";
import { Empty, ErrorNote } from "../../ui/basics.js";
import { MessageList } from "../../ui/messages.js";
import { resend } from "./draft.js";
import { rowsOf, stretch } from "./stored.js";
import { Travel } from "./travel.js";

/** @typedef {import("./stored.js").Stretch} Stretch */
/** @typedef {{oldest: number, head: number, from_ms: number, to_ms: number}} Bounds */

const BOUNDS_MS = 5_000;

/** @param {{channel: string, keeps: boolean}} props */
export function History({ channel, keeps }) {
  return keeps ? html`<${Kept} channel=${channel} />` : html`<${NotKept} channel=${channel} />`;
}

/** @param {{channel: string}} props */
function Kept({ channel }) {
  const { at, offset, before, after, by } = route.value.query;
  const shown = useLoaded((signal) => stretch(channel, { at, offset, before, after, open: opened() }, signal), [channel, at, offset, before, after]);
  const bounds = useLoaded((signal) => boundsOf(channel, signal), [channel], BOUNDS_MS);
  const travel = (/** @type {import("../../route.js").Query} */ to) => {
    refine({ open: "" }); // or who is at the newest would seem to come from elsewhere
    go(["channels", channel], { tab: "history", by, ...to }) || shown.reload();
  };
  const found = shown.data.value;
  const error = shown.error.value;
  return html`
    <div class="stack">
      <${Travel} bounds=${bounds.data.value} shown=${found} travel=${travel} />
      <${ErrorNote} error=${error} retry=${shown.reload} />
      ${found ? html`<${Shown} channel=${channel} found=${found} chosen=${offset} />` : !error && html`<div class="loading" role="status">Loading …</div>`}
    </div>
  `;
}

/** The offset of what is read, for who comes by the link: for who reads it, nothing moves. */
const opened = () => route.peek().query.open;

/**
 * @param {string} channel
 * @param {AbortSignal} signal
 * @returns {Promise<Bounds>}
 */
async function boundsOf(channel, signal) {
  const [newest, oldest] = await Promise.all([page(channel, { size: 1 }, signal), page(channel, { after: 0, size: 1 }, signal)]);
  return { oldest: newest.oldest, head: newest.head, from_ms: oldest.items[0]?.time ?? 0, to_ms: newest.items[0]?.time ?? 0 };
}

/** @param {{channel: string, found: Stretch, chosen?: string}} props */
function Shown({ channel, found, chosen }) {
  const items = useMemo(() => rowsOf(found, Number(opened() ?? chosen)), [found, chosen]);
  if (!found.items.length) return html`<${Nothing} channel=${channel} found=${found} />`;
  const [first, last] = [found.items[found.items.length - 1].offset, found.items[0].offset];
  return html`
    <p class="muted small">Offsets ${digits(first)} to ${digits(last)}, the newest first; ${digits(found.oldest)} to ${digits(found.head)} are kept.</p>
    <${MessageList} id="history-rows" label="Messages, the newest first" channel=${channel} items=${items}
      pressed=${(/** @type {any} */ message, /** @type {boolean} */ open) => refine({ open: open && message.offset })}
      resend=${(/** @type {any} */ message) => resend(channel, message)} />
  `;
}

/** @param {{channel: string, found: Stretch}} props */
function Nothing({ channel, found: { head, oldest } }) {
  const publish = html`<a href=${href(["channels", channel], { tab: "publish" })}>Publish a message</a>`;
  if (!head) return html`<${Empty} title="Nothing was published here yet">${publish}<//>`;
  if (oldest > head) {
    return html`<${Empty} title="Nothing is kept any more">${count(head)} were published, and have expired or were removed. How long they are kept stands in the <a href=${href(["channels", channel], { tab: "options" })}>options</a>.<//>`;
  }
  return html`<${Empty} title="Nothing is kept there"><a href=${href(["channels", channel], { tab: "history" })}>Go to the newest</a><//>`;
}

/** @param {{channel: string}} props */
function NotKept({ channel }) {
  return html`
    <${Empty} title="This channel keeps no history">
      <p>Set <code>history_size</code> and <code>history_ttl</code> of its namespace: see the <a href=${href(["channels", channel], { tab: "options" })}>options</a>.</p>
    <//>
  `;
}
