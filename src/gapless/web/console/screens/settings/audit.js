/** The audit stream: what was done, when, by whom, to what. */
import { oneLine } from "../../format.js";
import { html } from "../../lib.js";
import { useCall } from "../../loading.js";
import { enter, leave, refine } from "../../route.js";
import { Dialog } from "../../ui/acting.js";
import { Badge, Empty, Json, Loaded, Panel, Time, useChosen } from "../../ui/basics.js";
import { Table } from "../../ui/table.js";

/** @typedef {{offset: number, at_ms: number, what: string, who: string, name: string, details: Record<string, unknown>}} Recorded */

const SIZE = 50;
const NEWEST_MS = 5_000;
/** What is recorded most; anything else can be typed. */
const KINDS = ["login", "login_refused", "publish", "disconnect", "revoke", "block", "redrive", "purge", "pause", "resume", "seek", "trim", "declare", "drop", "token/make"];

export function Audit() {
  const before = Number(useChosen("before")) || 0;
  const what = useChosen("what");
  const name = useChosen("name");
  const loaded = useCall("stream/audit", { what, name, before, limit: SIZE }, before ? 0 : NEWEST_MS);
  return html`
    <${Panel} title="What was done, the newest first">
      <div class="stack">
        <${Filters} what=${what} name=${name} />
        <${Loaded} loaded=${loaded}>${(/** @type {{records: Recorded[], next?: number}} */ told) => html`<${Records} ...${told} before=${before} />`}<//>
      </div>
    <//>
  `;
}

/** @param {{what: string, name: string}} props */
function Filters({ what, name }) {
  const typed = (/** @type {string} */ key) => (/** @type {any} */ event) => refine({ [key]: event.target.value.trim(), before: "" });
  return html`
    <div class="row">
      <input type="search" aria-label="What was done" placeholder="What: redrive, login, publish …" list="kinds" value=${what} onChange=${typed("what")} />
      <input type="search" aria-label="To what" placeholder="To what: a queue, stream, channel, user" value=${name} onChange=${typed("name")} />
      <datalist id="kinds">${KINDS.map((kind) => html`<option value=${kind} key=${kind} />`)}</datalist>
      ${(what || name) && html`<button type="button" onClick=${() => refine({ what: "", name: "", before: "" })}>Show all</button>`}
    </div>
  `;
}

/** @param {{records: Recorded[], next?: number, before: number}} props */
function Records({ records, next = 0, before }) {
  const asked = Number(useChosen("record"));
  const open = (/** @type {Recorded} */ record) => enter({ record: record.offset });
  return html`
    <${Table} label="What was done" columns=${COLUMNS} rows=${records} id=${(/** @type {Recorded} */ record) => String(record.offset)}
      open=${open} chosen=${String(asked)} empty=${html`<${Nothing} more=${next > 0} />`} />
    <div class="actions">
      <button type="button" disabled=${!before} onClick=${() => refine({ before: "" })}>Newest</button>
      <button type="button" disabled=${!next} onClick=${() => refine({ before: next })}>Older</button>
    </div>
    ${asked > 0 && html`<${Opened} key=${asked} offset=${asked} />`}
  `;
}

/** A record may stand on another page than this. @param {{offset: number}} props */
function Opened({ offset }) {
  const loaded = useCall("stream/audit", { before: offset + 1, limit: 1 });
  const record = /** @type {Recorded | undefined} */ (loaded.data.value?.records[0]);
  const found = record?.offset === offset && record;
  return html`
    <${Dialog} title=${found ? `${found.what} ${found.name}` : `Record ${offset}`} close=${() => leave("record")}>
      <${Loaded} loaded=${loaded}>${() => (found ? html`<${Details} record=${found} />` : html`<${Empty} title="It is not kept any more" />`)}<//>
    <//>
  `;
}

/** @param {{more: boolean}} props */
function Nothing({ more }) {
  if (more) return html`<${Empty} title="Nothing here fits">It was looked through 10,000 records. Older ones are behind <strong>Older</strong>.<//>`;
  return html`<${Empty} title="Nothing of that kind was done">What people do here, and what programs do to queues, streams and groups, is recorded by itself.<//>`;
}

/** @param {{record: Recorded}} props */
function Details({ record }) {
  return html`
    <div class="stack">
      <dl class="facts">
        <dt>When</dt><dd><${Time} at_ms=${record.at_ms} /></dd>
        <dt>Who</dt><dd>${record.who || "–"}</dd>
        <dt>To what</dt><dd class="mono">${record.name || "–"}</dd>
        <dt>Offset</dt><dd>${record.offset}</dd>
      </dl>
      <${Json} data=${record.details} />
    </div>
  `;
}

/** @param {Recorded} record */
function details({ details: told }) {
  const text = told && Object.keys(told).length ? oneLine(told) : "";
  return html`<span class="mono cut" title=${text}>${text || "–"}</span>`;
}

/** @param {string} what */
const tone = (what) => (/refused|purge|drop|block|revoke/.test(what) ? "warn" : "");

/** @type {import("../../ui/table.js").Column<Recorded>[]} */
const COLUMNS = [
  { key: "at", title: "When", cell: (record) => html`<${Time} at_ms=${record.at_ms} />` },
  { key: "what", title: "What", cell: (record) => html`<${Badge} tone=${tone(record.what)}>${record.what}<//>` },
  { key: "who", title: "Who", cell: (record) => html`<span class="cut" title=${record.who}>${record.who}</span>` },
  { key: "name", title: "To what", wide: true, cell: (record) => html`<span class="mono">${record.name || "–"}</span>` },
  { key: "details", title: "Details", cell: details },
];
