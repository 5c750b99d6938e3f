/** One connection: what it is, what it follows, and its story; the story stays when it is gone. */
import { call } from "../../api.js";
import { bytes, count, duration, digits } from "../../format.js";
import { html, useMemo } from "../../lib.js";
import { useCall, useLoaded } from "../../loading.js";
import { href } from "../../route.js";
import { Act } from "../../ui/acting.js";
import { Badge, Empty, ErrorNote, Loaded, Page, Panel, Stat, Time } from "../../ui/basics.js";
import { Copy } from "../../ui/copy.js";
import { NodeName } from "../../ui/nodes.js";
import { Table } from "../../ui/table.js";
import { Disconnect } from "./disconnect.js";
import { livesOf, Summary, TimeLine } from "./timeline.js";
import { isBehind, lagOf, sdk, short } from "./told.js";

/** @typedef {import("./told.js").Connected} Connected */
/** @typedef {import("./words.js").Event} Event */

const EVERY_MS = 3_000;
const EVENTS_MAX = 500;

/** @param {{client: string}} props */
export function Connection({ client }) {
  const loaded = useCall("connection/list", { client }, EVERY_MS);
  const stories = useCall("connection/stories", { client, limit: EVENTS_MAX }, EVERY_MS);
  /** @type {Event[]} */
  const events = stories.data.value?.events ?? [];
  const lives = useMemo(() => livesOf(events, client), [events]);
  /** @type {Connected | undefined} */
  const here = loaded.data.value?.connections[0];
  const gone = loaded.data.value && stories.data.value && !here;
  const user = here?.user ?? events.find((event) => event.client === client)?.user;
  return html`
    <${Page} title=${html`<a class="up" href=${href(["connections"])}>Connections</a> ${user || (user === "" ? "anonymous" : short(client))}`}
      lead=${html`<span class="mono">${client}</span>`}
      actions=${html`<${Copy} text=${client} what="the client id" />${here && html`<${Disconnect} connected=${here} done=${loaded.reload} />`}`}>
      <${ErrorNote} error=${loaded.error.value} retry=${loaded.reload} />
      ${gone && html`<${Gone} client=${client} user=${user} known=${lives.length > 0} />`}
      ${here && html`<${Numbers} here=${here} />`}
      <div class="columns story-beside">
        <${Panel} title="Story" aside=${lives.length > 0 && html`<${Summary} lives=${lives} />`}>
          <${Loaded} loaded=${stories}>${() => (lives.length ? html`<${TimeLine} lives=${lives} client=${client} />` : html`<${Untold} watches=${here?.watches} />`)}<//>
          ${user && html`<p class="small"><a href=${href(["connections"], { tab: "stories", user })}>All that happened to ${user}</a></p>`}
        <//>
        ${here && html`<div class="stack"><${Facts} here=${here} /><${Subscriptions} here=${here} done=${loaded.reload} /></div>`}
      </div>
    <//>
  `;
}

/** @param {{here: Connected}} props */
function Numbers({ here }) {
  const behind = isBehind(here);
  return html`
    <div class="stats">
      <${Stat} label="Connected for" value=${duration(Date.now() - here.connected_ms)} note=${html`since <${Time} at_ms=${here.connected_ms} />`} />
      <${Stat} label="Follows" value=${count(here.num_subs)} note=${here.num_subs === 1 ? "channel" : "channels"} />
      <${Stat} label="Lag" value=${count(lagOf(here))} tone=${behind ? "warn" : ""} note=${here.stalled ? `${bytes(here.buffered_bytes)} wait for its socket` : behind ? "reads on from where it is" : "has what there is"} />
      <${Stat} label="Sent to it" value=${bytes(here.sent_bytes)} note=${`${bytes(here.received_bytes)} received`} />
      <${Stat} label="Round trip" value=${duration(here.rtt_ms)} note="of TCP" />
    </div>
  `;
}

/** @param {{here: Connected}} props */
function Facts({ here }) {
  return html`
    <${Panel} title="Facts">
      <dl class="facts">
        <dt>User</dt><dd>${here.user ? html`<a href=${href(["connections"], { user: here.user })}>${here.user}</a>` : "anonymous"} ${here.watches && html`<${Badge} tone="accent">console<//>`}</dd>
        <dt>From</dt><dd class="mono">${here.address}</dd>
        <dt>With</dt><dd>${sdk(here)}</dd>
        <dt>Over</dt><dd>${here.transport}, ${here.protocol}</dd>
        <dt>Node</dt><dd><${NodeName} uid=${here.node} /></dd>
      </dl>
    <//>
  `;
}

/** @param {{here: Connected, done: () => void}} props */
function Subscriptions({ here, done }) {
  /** @type {import("../../ui/table.js").Column<import("./told.js").Followed>[]} */
  const columns = [
    { key: "channel", title: "Channel", wide: true, cell: ({ channel, server_side }) => html`<a class="mono" href=${href(["channels", channel])}>${channel}</a> ${server_side && html`<${Badge} title="The server subscribed it">by the server<//>`}` },
    { key: "offset", title: "Offset", align: "end", cell: ({ channel, offset }) => (offset ? html`<a href=${href(["channels", channel], { tab: "history", by: "offset", offset })}>${digits(offset)}</a>` : "–") },
    { key: "lag", title: "Lag", align: "end", cell: ({ lag, behind }) => html`${count(lag)}${behind && html`<span class="under"><${Badge} tone="warn">behind<//></span>`}` },
    { key: "act", title: "", align: "end", cell: ({ channel }) => html`<${Act} label=${`Unsubscribe from ${channel}`} act=${() => unsubscribe(here, channel, done)} ask=${asked(here, channel)}>Unsubscribe<//>` },
  ];
  const more = here.num_subs - here.subscriptions.length;
  return html`
    <${Panel} title="Follows">
      <${Table} label="Subscriptions" columns=${columns} rows=${here.subscriptions} id=${(/** @type {{channel: string}} */ row) => row.channel}
        empty=${html`<${Empty} title="It follows nothing" />`} />
      ${more > 0 && html`<p class="muted small">And ${count(more)} more.</p>`}
    <//>
  `;
}

/**
 * @param {Connected} here
 * @param {string} channel
 */
function asked({ user }, channel) {
  return { title: `Unsubscribe ${user || "this connection"}?`, body: html`Its subscription to <strong class="mono">${channel}</strong> ends, and it is told so.`, button: "Unsubscribe", danger: true };
}

/**
 * @param {Connected} here
 * @param {string} channel
 * @param {() => void} done
 */
async function unsubscribe({ user, client }, channel, done) {
  await call("unsubscribe", { user, client, channel });
  done();
  return `Unsubscribed from ${channel}.`;
}

/** @param {{client: string, user?: string, known: boolean}} props */
function Gone({ client, user, known }) {
  const later = useLoaded((signal) => call("connection/stories", { user: user ?? "", limit: 1_000 }, signal), [client, user], EVERY_MS);
  const back = later.data.value?.events.find((/** @type {Event} */ event) => event.previous === client)?.client;
  return html`
    <p class="note" role="status">
      <span>${known ? "This connection is gone. What is remembered of it stands below." : "There is no such connection, and nothing is remembered of it."}</span>
      ${back && html`<a href=${href(["connections", back])}>It came back as ${short(back)}</a>`}
    </p>
  `;
}

/** @param {{watches?: boolean}} props */
function Untold({ watches }) {
  return html`<${Empty} title="No story">${watches ? "A console only looks: it leaves none." : "What happened longest ago is forgotten first."}<//>`;
}
