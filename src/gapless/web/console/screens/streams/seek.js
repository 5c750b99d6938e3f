/** Moving a group elsewhere: first what that would skip and give again, then the deed. */
import { call } from "../../api.js";
import { count, counted, digits } from "../../format.js";
import { html, useState } from "../../lib.js";
import { Act } from "../../ui/acting.js";
import { Badge } from "../../ui/basics.js";
import { Form, Input, Select, TimeInput, useLinkedForm } from "../../ui/form.js";
import { Table } from "../../ui/table.js";

/** @typedef {{partition: number, position: {offset?: number, epoch: string}, before?: {offset?: number}, skipped?: number,
 *   again?: number, at_end?: boolean}} Sought */

const PLACES = /** @type {[string, string][]} */ ([["earliest", "the oldest that is kept"], ["latest", "the end"], ["time", "a time"], ["offset", "an offset"]]);

/** @param {{source: string, group: string, partitions: number[], done: () => void}} props */
export function Seek({ source, group, partitions, done }) {
  const where = /** @type {[string, string][]} */ ([["", "all"], ...partitions.map((each) => [`${each}`, `${each}`])]);
  const form = useLinkedForm("seek", { to: "earliest", at: "", offset: "", partition: "" }, { to: PLACES, partition: where });
  const { to } = form.values;
  const request = { source, group, ...place(form.values) };
  const asked = JSON.stringify(request);
  const [shown, setShown] = useState({ asked: "", sought: /** @type {Sought[]} */ ([]) });
  const preview = async () => {
    const { partitions: sought } = await call("stream/seek", { ...request, dry_run: true });
    setShown({ asked, sought });
  };
  const seek = async () => {
    await call("stream/seek", request);
    setShown({ asked: "", sought: [] });
    done();
    return `${group} goes on elsewhere.`;
  };
  return html`
    <section class="stack">
      <h3>Move the group</h3>
      <${Form} act=${preview} button="Show what that would do" kind="">
        <div class="columns thin">
          <${Select} form=${form} name="to" label="Go on at" options=${PLACES} />
          ${to === "time" && html`<${TimeInput} form=${form} name="at" label="Time" />`}
          ${to === "offset" && html`<${Input} form=${form} name="offset" label="Offset" type="number" min="1" required placeholder="1" />`}
          <${Select} form=${form} name="partition" label="In partition" options=${where} />
        </div>
      <//>
      ${shown.asked === asked && html`<${Preview} sought=${shown.sought} seek=${seek} />`}
    </section>
  `;
}

/** @param {Record<string, string>} values */
function place({ to, at, offset, partition }) {
  const partitions = partition ? { partitions: [Number(partition)] } : {};
  if (to === "time") return { ...partitions, at_ms: Number(at) };
  return to === "offset" ? { ...partitions, offset: Number(offset) } : { ...partitions, to };
}

/** @type {import("../../ui/table.js").Column<Sought>[]} */
const COLUMNS = [
  { key: "partition", title: "Partition", cell: (each) => count(each.partition) },
  { key: "before", title: "Stands at", align: "end", cell: (each) => digits(each.before ? (each.before.offset ?? 0) : null) },
  { key: "after", title: "Would stand at", align: "end", cell: (each) => html`${digits(each.position.offset ?? 0)} ${each.at_end && html`<${Badge}>end<//>`}` },
  { key: "skipped", title: "Skipped", align: "end", cell: (each) => html`<span class=${each.skipped ? "bad" : ""}>${count(each.skipped ?? 0)}</span>` },
  { key: "again", title: "Given again", align: "end", cell: (each) => html`<span class=${each.again ? "warn" : ""}>${count(each.again ?? 0)}</span>` },
];

/** @param {{sought: Sought[], seek: () => Promise<string>}} props */
function Preview({ sought, seek }) {
  const sum = (/** @type {"skipped" | "again"} */ what) => sought.reduce((all, each) => all + (each[what] ?? 0), 0);
  const said = `It would skip ${counted(sum("skipped"), "message")}, and get ${counted(sum("again"), "message")} again.`;
  const ask = { title: "Move the group?", body: `${said} Its members hear of it at once.`, button: "Move it", danger: true };
  return html`
    <div class="stack" role="region" aria-label="What a seek would do">
      <p role="status">${said} Nothing is done yet.</p>
      <${Table} label="What a seek would do" columns=${COLUMNS} rows=${sought} id=${(/** @type {Sought} */ each) => `${each.partition}`} />
      <div class="actions end"><${Act} act=${seek} ask=${ask} class="primary">Move the group …<//></div>
    </div>
  `;
}
