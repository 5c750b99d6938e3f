/** One job, whole: what it carries, where it is, and why it died; found by its id, which stands in the address. */
import { call } from "../../api.js";
import { count } from "../../format.js";
import { html, useRef, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { enter, href, leave } from "../../route.js";
import { Act, confirmed, Dialog } from "../../ui/acting.js";
import { Badge, Loaded, Time, useChosen } from "../../ui/basics.js";
import { Form, Input, JsonInput, useForm } from "../../ui/form.js";
import { parsed } from "../../ui/json.js";
import { Facts as Told, Payload } from "../../ui/payload.js";
import { Left } from "../../ui/ticking.js";
import { asked, Due } from "./jobs.js";

/** @typedef {{id: string, queue: string, state: "waiting" | "leased" | "dead" | "done", attempt: number, enqueued_ms: number,
 *   due_ms: number, key?: string, priority?: number, message_id?: string, worker?: string, reason?: string, details?: string,
 *   ended_ms?: number, data?: unknown, b64data?: string, headers?: Record<string, string>, result?: unknown,
 *   b64result?: string}} Job */

const POLL_MS = 2_000;
/** @type {import("../../ui/acting.js").Question} */
const LEAVE = { title: "Leave without redriving?", body: "The payload that you edited is lost.", button: "Throw it away", danger: true };
const TONES = { waiting: "", leased: "accent", dead: "bad", done: "good" };

export function FindJob() {
  const [id, setId] = useState("");
  const find = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (id.trim()) enter({ job: id.trim() });
  };
  return html`
    <form class="row" onSubmit=${find}>
      <input aria-label="Find a job by its id" placeholder="Find a job by its id" value=${id} onInput=${(/** @type {any} */ event) => setId(event.target.value)} />
      <button type="submit" disabled=${!id.trim()}>Find</button>
    </form>
  `;
}

/** The job that the address names, over the page. */
export function OpenJob() {
  const id = useChosen("job");
  return id && html`<${Opened} key=${id} id=${id} />`;
}

/** @param {{id: string}} props */
function Opened({ id }) {
  const close = () => leave("job");
  const changed = useRef(false);
  const dismiss = async () => (!changed.current || (await confirmed(LEAVE))) && close();
  const loaded = useCall("queue/job", { id }, POLL_MS);
  return html`
    <${Dialog} title="Job" wide close=${dismiss}>
      <${Loaded} loaded=${loaded}>${(/** @type {Job} */ job) => html`<${Whole} job=${job} close=${close} changed=${changed} />`}<//>
    <//>
  `;
}

/** @param {{job: Job, close: () => void, changed: {current: boolean}}} props */
function Whole({ job, close, changed }) {
  const [editing, setEditing] = useState(false);
  return html`
    <div class="stack">
      <${Facts} job=${job} />
      ${job.reason && html`<section><h3>Reason</h3><p class="pre">${job.reason}</p></section>`}
      ${job.details && html`<section><h3>Details</h3><pre class="json" tabindex="0">${job.details}</pre></section>`}
      ${editing ? html`<${Edit} job=${job} close=${close} changed=${changed} />` : html`<${Carried} job=${job} />`}
      ${!editing && html`<${Acts} job=${job} close=${close} edit=${() => setEditing(true)} />`}
    </div>
  `;
}

/** @param {{job: Job}} props */
function Facts({ job }) {
  /** @type {[string, unknown][]} */
  const facts = [
    ["Id", html`<span class="mono">${job.id}</span>`],
    ["Queue", html`<a href=${href(["queues", job.queue], { tab: job.state })}>${job.queue}</a> <${Badge} tone=${TONES[job.state]}>${job.state}<//>`],
    ["Attempts", html`${count(job.attempt)}${job.worker && html`, the last by <span class="mono">${job.worker}</span>`}`],
    ["Enqueued", html`<${Time} at_ms=${job.enqueued_ms} />`],
    ["Due", job.state === "waiting" && html`<${Due} job=${job} />`],
    ["Lease left", job.state === "leased" && html`<${Left} at_ms=${job.due_ms} over="over" />`],
    [job.state === "dead" ? "Died" : "Ended", job.ended_ms && html`<${Time} at_ms=${job.ended_ms} />`],
    ["Key", job.key && html`<span class="mono">${job.key}</span>`],
    ["Priority", job.priority],
    ["Message id", job.message_id && html`<span class="mono">${job.message_id}</span>`],
    ...Object.entries(job.headers ?? {}).map(([name, value]) => /** @type {[string, unknown]} */ ([name, html`<span class="mono">${value}</span>`])),
  ];
  return html`<${Told} facts=${facts} />`;
}

/** @param {{job: Job}} props */
function Carried({ job }) {
  const hasResult = job.result !== undefined || job.b64result !== undefined;
  return html`
    <${Payload} ...${job} />
    ${hasResult && html`<${Payload} title="Result" data=${job.result} b64data=${job.b64result} />`}
  `;
}

/** @param {{job: Job, close: () => void, edit: () => void}} props */
function Acts({ job, close, edit }) {
  if (job.state === "waiting") return html`<div class="actions end"><${Act} act=${() => done("cancel")} ask=${asked(job)} class="danger">Cancel the job<//></div>`;
  if (job.state !== "dead") return null;
  const ask = { title: "Remove this dead letter?", body: "It is gone for good, with what it carries.", button: "Remove it", danger: true };
  return html`
    <div class="actions end">
      <${Act} act=${() => done("purge")} ask=${ask} class="danger">Remove<//>
      <${Act} act=${async () => edit()}>Edit and redrive …<//>
      <${Act} act=${() => done("redrive")} class="primary">Redrive<//>
    </div>
  `;

  /** @param {"cancel" | "purge" | "redrive"} what */
  async function done(what) {
    const { id, queue } = job;
    await call(`queue/${what}`, what === "cancel" ? { id } : { queue, ids: [id] });
    close();
    return { cancel: `Cancelled ${id}.`, purge: `Removed ${id}.`, redrive: `${id} waits again.` }[what];
  }
}

/** Another payload for a dead letter, which then waits again. @param {{job: Job, close: () => void, changed: {current: boolean}}} props */
function Edit({ job, close, changed }) {
  const before = job.b64data ?? JSON.stringify(job.data, null, 2);
  const form = useForm("edit", { data: before });
  changed.current = form.values.data !== before;
  const { value, error } = parsed(form.values.data);
  const isBytes = job.b64data !== undefined;
  const redrive = async () => {
    const { jobs } = await call("queue/redrive", { queue: job.queue, ids: [job.id], ...(isBytes ? { b64data: form.values.data } : { data: value }) });
    if (!jobs) throw new Error("It is not dead any more: somebody was faster.");
    close();
    return `${job.id} waits again, with the new payload.`;
  };
  return html`
    <${Form} act=${redrive} button="Redrive with this payload" disabled=${!isBytes && (!!error || value === undefined)}>
      ${isBytes
        ? html`<${Input} form=${form} name="data" label="Payload (bytes, as base64)" />`
        : html`<${JsonInput} form=${form} name="data" label="Payload" rows=${10} />`}
    <//>
  `;
}
