/** What a queue is given again and again: by a cron expression, or at an interval. */
import { call } from "../../api.js";
import { duration } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { Act, Dialog } from "../../ui/acting.js";
import { Empty, Loaded, Time } from "../../ui/basics.js";
import { Form, Input, JsonInput, number, Select, useForm } from "../../ui/form.js";
import { parsed } from "../../ui/json.js";
import { PAYLOAD } from "../../ui/payload.js";
import { Table } from "../../ui/table.js";
import { Left } from "../../ui/ticking.js";

/** @typedef {{name: string, queue: string, cron?: string, every_ms?: number, time_zone?: string, missed?: string, key?: string,
 *   priority?: number, expires_ms?: number, data?: unknown, b64data?: string, headers?: Record<string, string>,
 *   last_ms?: number, next_ms?: number}} Schedule */

const POLL_MS = 5_000;

/** @param {{stats: {queue: string}}} props */
export function Recurring({ stats: { queue } }) {
  const loaded = useCall("queue/schedules", {}, POLL_MS);
  const [edited, setEdited] = useState(/** @type {Schedule | null} */ (null));
  const add = () => setEdited({ name: "", queue, cron: "0 3 * * *", data: {} });
  const empty = html`<${Empty} title="Nothing recurs in this queue">Add what is to be done again and again: each night, or every five minutes.<//>`;
  return html`
    <div class="row toolbar"><button type="button" onClick=${add}>Add a recurring job …</button></div>
    <${Loaded} loaded=${loaded}>
      ${(/** @type {{schedules: Schedule[]}} */ { schedules }) => html`
        <${Table} label="Recurring jobs" columns=${columns(setEdited, loaded.reload)} rows=${schedules.filter((each) => each.queue === queue)}
          id=${(/** @type {Schedule} */ each) => each.name} empty=${empty} />
      `}
    <//>
    ${edited && html`<${Edit} schedule=${edited} close=${() => setEdited(null)} done=${loaded.reload} />`}
  `;
}

/**
 * @param {(schedule: Schedule) => void} edit
 * @param {() => void} reload
 * @returns {import("../../ui/table.js").Column<Schedule>[]}
 */
function columns(edit, reload) {
  const remove = (/** @type {string} */ name) => async () => {
    await call("queue/unschedule", { name });
    reload();
    return `${name} recurs no more.`;
  };
  return [
    { key: "name", title: "Name", cell: (each) => html`<span class="brief mono" title=${each.name}>${each.name}</span>` },
    { key: "when", title: "When", cell: (each) => (each.cron ? html`<code>${each.cron}</code> ${each.time_zone ?? "UTC"}` : `every ${duration(each.every_ms)}`) },
    { key: "last", title: "Last", cell: (each) => html`<${Time} at_ms=${each.last_ms} />` },
    { key: "next", title: "Next", cell: (each) => html`<${Time} at_ms=${each.next_ms} /><br /><span class="muted small">in <${Left} at_ms=${each.next_ms ?? 0} over="0 s" /></span>` },
    PAYLOAD,
    {
      key: "acts", title: "", align: "end",
      cell: (each) => html`
        <div class="actions end">
          <button type="button" aria-label=${`Change ${each.name}`} onClick=${() => edit(each)}>Change …</button>
          <${Act} act=${remove(each.name)} label=${`Remove ${each.name}`} class="danger"
            ask=${{ title: "Remove this recurring job?", body: html`<strong>${each.name}</strong> enqueues nothing any more. Jobs that it enqueued stay.`, button: "Remove it", danger: true }}>Remove<//>
        </div>
      `,
    },
  ];
}

const MISSED = /** @type {[string, string][]} */ ([["one", "one job for all of them"], ["all", "a job for each"], ["none", "no job"]]);

/** @param {{schedule: Schedule, close: () => void, done: () => void}} props */
function Edit({ schedule, close, done }) {
  const isNew = !schedule.name;
  const form = useForm("recurring", {
    name: schedule.name,
    by: schedule.every_ms ? "every" : "cron",
    cron: schedule.cron ?? "",
    every_s: schedule.every_ms ? schedule.every_ms / 1_000 : 300,
    time_zone: schedule.time_zone ?? "UTC",
    missed: schedule.missed ?? "one",
    data: schedule.b64data ?? JSON.stringify(schedule.data, null, 2),
  });
  const { values } = form;
  const isBytes = schedule.b64data !== undefined;
  const { value, error } = parsed(values.data);
  const save = async () => {
    const { last_ms: _, next_ms: __, ...kept } = schedule; // what this form does not show stays as it is
    const when = values.by === "cron" ? { cron: values.cron, every_ms: 0 } : { cron: "", every_ms: number(values.every_s, 1_000) };
    const carried = isBytes ? { b64data: values.data } : { data: value };
    await call("queue/schedule", { ...kept, ...when, ...carried, name: values.name, time_zone: values.time_zone, missed: values.missed });
    close();
    done();
    return isNew ? `${values.name} recurs from now on.` : `Changed ${values.name}.`;
  };
  return html`
    <${Dialog} title=${isNew ? "Add a recurring job" : `Change ${schedule.name}`} wide close=${close}>
      <${Form} act=${save} button=${isNew ? "Add it" : "Change it"} disabled=${!isBytes && (!!error || value === undefined)}>
        <${Input} form=${form} name="name" label="Name" required disabled=${!isNew} hint="Letters, digits, and - _ . : /" />
        <div class="columns thin">
          <${Select} form=${form} name="by" label="Recurs" options=${[["cron", "by a cron expression"], ["every", "at an interval"]]} />
          ${values.by === "cron"
            ? html`<${Input} form=${form} name="cron" label="Cron expression" required hint="Five fields, or six with seconds first." /><${Input} form=${form} name="time_zone" label="Time zone" required />`
            : html`<${Input} form=${form} name="every_s" label="Every so many seconds" type="number" min="1" step="any" required />`}
          <${Select} form=${form} name="missed" label="For missed times" options=${MISSED} />
        </div>
        ${isBytes
          ? html`<${Input} form=${form} name="data" label="Payload (bytes, as base64)" />`
          : html`<${JsonInput} form=${form} name="data" label="Payload" rows=${5} />`}
      <//>
    <//>
  `;
}
