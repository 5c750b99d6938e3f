/** Messages of a channel, one a line; each opens to all that is known of it. */
import { call } from "../api.js";
import { counted, digits, exactly, oneLine, time } from "../format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { useLoaded } from "../loading.js";
import { href } from "../route.js";
import { Time } from "./basics.js";
import { Copy } from "./copy.js";
import { step } from "./table.js";

/** @typedef {{user?: string, client?: string, conn_info?: unknown, chan_info?: unknown}} Publisher */
/** @typedef {{offset: number | null, at_ms: number, stored: boolean, data: unknown, b64data?: string,
 *   tags: Record<string, string>, publisher: Publisher | null}} Message `at_ms` is when it came here, unless it was read as `stored` */
/** @typedef {{text: string, tone?: "good" | "warn" | "bad" | "", href?: string, link?: string}} Note */
/** @typedef {{key: number | string, message?: Message, note?: Note, chosen?: boolean}} Item a message, or what there is to say between two */
/** @typedef {{channel: string, items: Item[], label: string, id?: string, pressed: (message: Message, open: boolean) => void, resend: (message: Message) => void}} ListProps */

const LINE_MAX = 300;

/**
 * The list has the focus; from it the arrow keys go to its rows. A row is built once, however often the list changes.
 * @param {ListProps} props
 */
export function MessageList({ channel, items, label, id, pressed, resend }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const built = useMemo(() => new WeakMap(), [channel]);
  const row = (/** @type {Item} */ item) => {
    const known = built.get(item) ?? html`<${Row} key=${item.key} channel=${channel} item=${item} pressed=${pressed} resend=${resend} />`;
    built.set(item, known);
    return known;
  };
  return html`
    <ol class="messages" id=${id} aria-label=${label} tabindex="0" ref=${list}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => move(event, list.current)}>${items.map(row)}</ol>
  `;
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement | null} list
 */
function move(event, list) {
  const heads = /** @type {HTMLElement[]} */ ([...(list?.querySelectorAll(".message-head") ?? [])]);
  if (event.target === list || heads.includes(/** @type {HTMLElement} */ (event.target))) step(event, heads);
}

/** @param {{channel: string, item: Item, pressed: ListProps["pressed"], resend: (message: Message) => void}} props */
function Row({ channel, item: { message, note, chosen = false }, pressed, resend }) {
  const [open, setOpen] = useState(chosen);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!chosen) return;
    setOpen(true);
    const list = place.current?.parentElement;
    if (place.current && list) list.scrollTop += place.current.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 4;
  }, [chosen]);
  if (note) return html`<li class=${`between ${note.tone ?? ""}`}><span>${note.text}</span>${note.href && html` <a href=${note.href}>${note.link}</a>`}</li>`;
  if (!message) return null;
  const press = () => {
    setOpen(!open);
    pressed(message, !open);
  };
  return html`
    <li class="message" ref=${place} aria-current=${chosen || undefined}>
      <button type="button" class="message-head" tabindex="-1" aria-expanded=${open} onClick=${press}>
        <span class="offset">${digits(message.offset)}</span>
        <time datetime=${exactly(message.at_ms)}>${time(message.at_ms)}</time>
        <span class="line mono">${line(message)}</span>
        <span class="tags">${Object.entries(message.tags).map(([name, value]) => html`<span class="badge" key=${name}>${name}=${value}</span>`)}</span>
      </button>
      ${open && html`<${Whole} channel=${channel} message=${message} resend=${resend} />`}
    </li>
  `;
}

/** @param {Message} message */
function line({ data, b64data }) {
  return b64data === undefined ? oneLine(data).slice(0, LINE_MAX) : `${counted(sizeOf(b64data), "byte")} that are no JSON`;
}

/** @param {string} b64data */
const sizeOf = (b64data) => Math.floor((b64data.length * 3) / 4) - (b64data.match(/=*$/)?.[0].length ?? 0);

/** @param {{channel: string, message: Message, resend: (message: Message) => void}} props */
function Whole({ channel, message, resend }) {
  const { offset, tags, publisher } = message;
  const kept = useLoaded(() => (message.stored || offset === null ? Promise.resolve(null) : keptOf(channel, offset)), [channel, offset]);
  const { data, b64data } = kept.data.value?.time_ms ? kept.data.value : message;
  const text = b64data ?? (typeof data === "string" ? data : JSON.stringify(data, null, 2));
  return html`
    <div class="message-whole stack">
      <pre class="json" tabindex="0">${text}</pre>
      <dl class="facts">
        <dt>Stored</dt><dd>${offset === null ? "no: it was passed on, and has no offset" : html`as offset ${digits(offset)}, <${At} message=${message} kept=${kept} />`}</dd>
        <dt>Published by</dt><dd><${By} publisher=${publisher} /></dd>
        ${Object.entries(tags).map(([name, value]) => html`<dt key=${name}>Tag ${name}</dt><dd>${value}</dd>`)}
      </dl>
      <div class="actions">
        ${b64data === undefined && html`<button type="button" onClick=${() => resend(message)}>Edit and resend</button>`}
        <${Copy} text=${text} what="the payload" />
        ${offset !== null && html`<a class="button" href=${href(["channels", channel], { tab: "history", by: "offset", offset })}>What was around it</a>`}
      </div>
    </div>
  `;
}

/** When the store took it. @param {{message: Message, kept: import("../loading.js").Loaded<any>}} props */
function At({ message, kept }) {
  if (message.stored) return html`<${Time} at_ms=${message.at_ms} /> (${exactly(message.at_ms)})`;
  if (kept.error.value) return "at a time that cannot be told now";
  if (kept.data.value === null) return "…";
  const { time_ms } = kept.data.value;
  return time_ms ? html`<${Time} at_ms=${time_ms} /> (${exactly(time_ms)})` : "and not kept any more";
}

/**
 * Return a message as it is kept, which tells what a live one does not: its time, and long numbers as they are.
 * @param {string} channel
 * @param {number} offset
 * @returns {Promise<{time_ms?: number, data?: unknown, b64data?: string} | null>}
 */
async function keptOf(channel, offset) {
  const { messages } = await call("stream/read", { source: channel, offset, limit: 1 });
  return messages[0]?.offset === offset ? messages[0] : {};
}

/** @param {{publisher: Publisher | null}} props */
function By({ publisher }) {
  if (!publisher) return "the server API";
  const { user, client, conn_info, chan_info } = publisher;
  const info = [conn_info, chan_info].filter((each) => each != null).map(oneLine).join(" ");
  return html`
    ${user ? html`<a href=${href(["connections"], { user })}>${user}</a>` : "somebody anonymous"}${client &&
    html`, connection <a class="mono" href=${href(["connections", client])}>${client}</a>`}${info && html` <span class="mono small">${info}</span>`}
  `;
}
