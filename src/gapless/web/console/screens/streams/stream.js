/** One stream, or what is read as one. */
import { call } from "../../api.js";
import { bytes, count, counted, duration } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { href } from "../../route.js";
import { whole } from "../../samples.js";
import { Badge, Loaded, Page, Stat, Tabs, useOneOf } from "../../ui/basics.js";
import { Range, useRange } from "../../ui/range.js";
import { Append } from "./append.js";
import { Browse } from "./browse.js";
import { Groups } from "./groups.js";
import { Kind, retention } from "./list.js";
import { Options } from "./options.js";
import { Replay } from "./replay.js";
import { isNamespace, kept, useSource } from "./source.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Group} Group */

const POLL_MS = 3_000;

/** @type {Record<string, any>} */
const TABS = { browse: Browse, groups: Groups, replay: Replay, options: Options };

/** What the address says of one tab only. */
const OF_ONE_TAB = ["partition", "from", "at", "offset", "key", "forwards", "page", "message", "group"];

/** @param {{name: string}} props */
export function Stream({ name }) {
  const range = useRange();
  const source = useSource(name);
  const groups = useLoaded((signal) => call("stream/groups", { source: name }, signal), [name], POLL_MS);
  const [appending, setAppending] = useState(false);
  const shown = source.data.value;
  const actions = html`
    <${Range} chosen=${range} />
    ${shown?.declared && html`<button type="button" onClick=${() => setAppending(true)}>Append …</button>`}
  `;
  return html`
    <${Page} title=${html`<a class="up" href=${href(["streams"])}>Streams</a> ${name}`} lead=${shown ? html`<${What} source=${shown} />` : "\u00a0"} actions=${actions}>
      <${Loaded} loaded=${source}>
        ${(/** @type {Source} */ found) => html`
          <${Numbers} source=${found} groups=${groups.data.value?.groups} />
          <${Contents} source=${found} groups=${groups} changed=${source.reload} />
        `}
      <//>
      ${appending && shown && html`<${Append} source=${shown} close=${() => setAppending(false)} done=${source.reload} />`}
    <//>
  `;
}

/** @param {{source: Source}} props */
function What({ source: { name, declared, options } }) {
  if (declared && options) return html`A declared stream. <${Kind} options=${options} />`;
  return isNamespace(name) ? html`All channels of a namespace, each in its order. <${Badge}>namespace<//>` : html`A channel: a stream of one partition. <${Badge}>channel<//>`;
}

/** @param {{source: Source, groups: Group[] | undefined}} props */
function Numbers({ source: { name, partitions, options }, groups }) {
  const lags = Object.entries(whole()?.groups ?? {}).filter(([key]) => groups?.some(({ group }) => key === `${name}/${group}`));
  const lag = lags.length ? Math.max(...lags.map(([, each]) => each.lag)) : null;
  return html`
    <div class="stats">
      <${Stat} label="Messages kept" value=${count(kept(partitions))} note=${`of ${count(partitions.reduce((sum, { last }) => sum + last, 0))} that came`} />
      <${Stat} label="Partitions" value=${count(partitions.length)} href=${href(["streams", name], { tab: "options" })} />
      <${Stat} label="Retention" value=${options ? limited(options) : "–"} note=${options ? `${retention(options)}, each partition` : "as its namespace says"} href=${href(["streams", name], { tab: "options" })} />
      <${Stat} label="Groups" value=${count(groups?.length)} note=${groups ? counted(groups.reduce((sum, { members }) => sum + members.length, 0), "member") : ""} href=${href(["streams", name], { tab: "groups" })} />
      <${Stat} label="Most lag" value=${count(lag)} tone=${lag ? "warn" : ""} note="messages, as last sampled" href=${href(["streams", name], { tab: "groups" })} />
    </div>
  `;
}

/** The first limit, short. @param {import("./source.js").Options} options */
function limited({ retention_messages, retention_ms, retention_bytes }) {
  if (retention_messages) return count(retention_messages);
  return retention_ms ? duration(retention_ms) : retention_bytes ? bytes(retention_bytes) : "–";
}

/** @param {{source: Source, groups: import("../../loading.js").Loaded<{groups: Group[]}>, changed: () => void}} props */
function Contents({ source, groups, changed }) {
  const number = groups.data.value?.groups.length;
  /** @type {[string, unknown][]} */
  const tabs = [
    ["browse", "Messages"],
    ["groups", html`Groups ${number ? html`<${Badge}>${count(number)}<//>` : null}`],
    ["replay", "Replay"],
    ["options", "Options"],
  ];
  const tab = useOneOf(tabs);
  const Tab = TABS[tab];
  return html`
    <section class="panel stack">
      <${Tabs} label="What is in the stream" tabs=${tabs} forget=${OF_ONE_TAB} />
      <${Tab} key=${tab} source=${source} groups=${groups} changed=${changed} />
    </section>
  `;
}
