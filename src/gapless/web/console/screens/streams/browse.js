/** Looking through a partition: from an end, an offset or a time, or by key; forwards or backwards. */
import { call } from "../../api.js";
import { digits } from "../../format.js";
import { html } from "../../lib.js";
import { useCall, useLoaded } from "../../loading.js";
import { enter, href, leave, refine, route } from "../../route.js";
import { Dialog } from "../../ui/acting.js";
import { Empty, Loaded, Time } from "../../ui/basics.js";
import { command } from "../../ui/command.js";
import { localTime } from "../../ui/form.js";
import { Facts, PAYLOAD, Payload } from "../../ui/payload.js";
import { Table } from "../../ui/table.js";
import { isNamespace } from "./source.js";

/** @typedef {{partition: number, offset: number, time_ms: number, key?: string, channel?: string, data?: unknown,
 *   b64data?: string, headers?: Record<string, string>}} Message */
/** @typedef {{epoch: string, after?: number, through?: number, floor?: number, last?: number, messages: Message[]}} Read */

const PAGE = 50;
const POLL_MS = 3_000;

/** @param {{source: import("./source.js").Source}} props */
export function Browse({ source }) {
  const { query } = route.value;
  const request = asked(source, query);
  const loaded = useCall("stream/read", request, isLive(query) ? POLL_MS : 0);
  return html`
    <${Place} source=${source} />
    <${Loaded} loaded=${loaded}>${(/** @type {Read} */ read) => html`<${Messages} read=${read} source=${source} backwards=${!!request.backwards} />`}<//>
    ${query.message && html`<${Opened} key=${query.message} source=${source.name} place=${query.message} />`}
  `;
}

/** Only what begins at the newest shows something else by itself. @param {Record<string, string>} query */
const isLive = (query) => !query.page && (query.from ?? "latest") === "latest";

/**
 * What is read, as the address says it.
 * @param {import("./source.js").Source} source
 * @param {Record<string, string>} query
 */
function asked({ name, partitions }, query) {
  const { page, from = "latest", offset, at, key } = query;
  const backwards = !query.forwards;
  const one = { source: name, limit: PAGE, backwards, ...(key ? { key } : {}) };
  // A key tells its partition, unless one is named.
  const place = { ...one, ...(key && !query.partition ? {} : { partition: partitionOf(partitions, query) }) };
  if (page) return { ...place, ...paged(page, backwards) };
  if (from === "offset" && offset) return { ...place, offset: Number(offset) + (backwards ? 1 : 0) };
  if (from === "time" && at) return { ...place, at_ms: Number(at) };
  return backwards ? place : { ...place, start: "earliest" }; // also until it is said from where
}

/**
 * Begin in one that holds something.
 * @param {import("./source.js").Partition[]} partitions
 * @param {Record<string, string>} query
 */
function partitionOf(partitions, query) {
  const first = partitions.find(({ oldest, last }) => last >= oldest) ?? partitions[0];
  return Number(query.partition || first?.partition || 0);
}

/**
 * A page begins after a position, which names it in the address; backwards before an offset.
 * @param {string} page `epoch:offset`
 * @param {boolean} backwards
 */
function paged(page, backwards) {
  const at = page.lastIndexOf(":");
  const offset = Number(page.slice(at + 1));
  return backwards ? { offset: offset + 1 } : { after: { epoch: page.slice(0, at), offset } };
}

/** @param {{source: import("./source.js").Source}} props */
function Place({ source: { partitions, options } }) {
  const { query } = route.value;
  const from = query.from ?? "latest";
  const isOfKey = options?.keyed && query.key && !query.partition;
  const chosen = isOfKey ? -1 : partitionOf(partitions, query);
  const change = (/** @type {string} */ name) => (/** @type {any} */ event) => refine({ [name]: event.target.value, page: "" });
  const begin = (/** @type {any} */ event) => refine({ from: event.target.value, page: "", forwards: forwardsFrom(event.target.value, query.forwards) });
  return html`
    <div class="places">
      <label>Partition
        <select onChange=${change("partition")}>
          ${options?.keyed && query.key && html`<option value="" selected=${isOfKey}>of the key</option>`}
          ${partitions.map(({ partition }) => html`<option key=${partition} value=${partition} selected=${partition === chosen}>${partition}</option>`)}
        </select>
      </label>
      <label>From
        <select onChange=${begin}>
          ${[["latest", "the newest"], ["earliest", "the oldest"], ["offset", "an offset"], ["time", "a time"]].map(([key, title]) => html`<option key=${key} value=${key} selected=${key === from}>${title}</option>`)}
        </select>
      </label>
      ${from === "offset" && html`<label>Offset <input type="number" min="1" value=${query.offset ?? ""} onChange=${change("offset")} /></label>`}
      ${from === "time" && html`<label>Time <input type="datetime-local" step="1" value=${query.at ? localTime(Number(query.at)) : ""} onChange=${timed} /></label>`}
      ${options?.keyed && html`<label>Key <input type="search" placeholder="any" value=${query.key ?? ""} onChange=${change("key")} /></label>`}
      <div class="choice" role="group" aria-label="Direction">
        <button type="button" aria-pressed=${!query.forwards} onClick=${() => refine({ forwards: "", page: "", from: from === "earliest" ? "" : from })}>Newest first</button>
        <button type="button" aria-pressed=${!!query.forwards} onClick=${() => refine({ forwards: 1, page: "", from: from === "latest" ? "earliest" : from })}>Oldest first</button>
      </div>
    </div>
  `;
}

/**
 * Nothing comes after the newest, nor before the oldest.
 * @param {string} from
 * @param {string | undefined} before
 */
function forwardsFrom(from, before) {
  if (from === "earliest") return 1;
  return from === "latest" ? "" : before;
}

/** @param {any} event */
function timed(event) {
  refine({ at: event.target.value ? new Date(event.target.value).getTime() : "", page: "" });
}

/** @param {{read: Read, source: import("./source.js").Source, backwards: boolean}} props */
function Messages({ read, source, backwards }) {
  const { messages, epoch, after = 0, through = 0, floor = 0, last = 0 } = read;
  const empty = last ? html`<${Empty} title="Nothing is kept here">The partition holds the offsets ${digits(floor + 1)} to ${digits(last)}.<//>` : html`<${Nothing} source=${source} />`;
  const next = backwards ? after > floor && `${epoch}:${after}` : through < last && `${epoch}:${through}`;
  const { path, query } = route.value;
  return html`
    <${Table} label="Messages" columns=${columns(source, messages)} rows=${messages} id=${placeOf} chosen=${query.message}
      open=${(/** @type {Message} */ message) => enter({ message: placeOf(message) })} empty=${empty} />
    <nav class="pages" aria-label="Pages of messages">
      ${query.page && html`<a href=${href(path, { ...query, page: "" })}>First page</a>`}
      ${next ? html`<a href=${href(path, { ...query, page: next })}>${backwards ? "Older" : "Newer"}</a>` : last > 0 && html`<span class="muted">${backwards ? "That is the oldest that is kept." : "That is the newest."}</span>`}
    </nav>
  `;
}

/** @param {{source: import("./source.js").Source}} props */
function Nothing({ source: { name, declared } }) {
  return html`
    <${Empty} title="Nothing came yet">
      ${declared ? html`Append a message above, or by ${command(`stream append ${name} '{"n": 1}'`)}.` : "What is published to the channel is kept here."}
    <//>
  `;
}

/** @param {Message} message */
const placeOf = ({ partition, offset }) => `${partition}:${offset}`;

/**
 * @param {import("./source.js").Source} source
 * @param {Message[]} messages
 * @returns {import("../../ui/table.js").Column<Message>[]}
 */
function columns(source, messages) {
  const hasKeys = messages.some(({ key }) => key);
  return [
    { key: "offset", title: "Offset", align: "end", cell: (message) => digits(message.offset) },
    { key: "time", title: "Time", cell: (message) => html`<${Time} at_ms=${message.time_ms} />` },
    ...(isNamespace(source.name) ? [{ key: "channel", title: "Channel", cell: (/** @type {Message} */ message) => html`<span class="brief mono" title=${message.channel}>${message.channel}</span>` }] : []),
    ...(hasKeys ? [{ key: "key", title: "Key", cell: (/** @type {Message} */ message) => html`<span class="brief mono" title=${message.key}>${message.key || "–"}</span>` }] : []),
    PAYLOAD,
  ];
}

/** @param {{source: string, place: string}} props */
function Opened({ source, place }) {
  const [partition, offset] = place.split(":").map(Number);
  const loaded = useLoaded((signal) => call("stream/read", { source, partition, offset, limit: 1 }, signal), []);
  return html`
    <${Dialog} title=${`Message ${digits(offset)} of partition ${partition}`} wide close=${() => leave("message")}>
      <${Loaded} loaded=${loaded}>
        ${(/** @type {Read} */ { messages: [message] }) => (message?.offset === offset ? html`<${Whole} message=${message} />` : html`<${Empty} title="It is not kept any more" />`)}
      <//>
    <//>
  `;
}

/** @param {{message: Message | undefined}} props */
function Whole({ message }) {
  if (!message) return null;
  /** @type {[string, unknown][]} */
  const facts = [["Time", html`<${Time} at_ms=${message.time_ms} />`], ["Channel", message.channel], ["Key", message.key], ...Object.entries(message.headers ?? {})];
  return html`
    <div class="stack">
      <${Facts} facts=${facts} />
      <${Payload} ...${message} />
    </div>
  `;
}
