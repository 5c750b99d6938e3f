/** How a stream is kept: said for a new one, or for one that is there. */
import { html } from "../../lib.js";
import { Check, Form, Input, number, useForm } from "../../ui/form.js";

/** @typedef {import("./source.js").Options} Options */

const HOUR_MS = 3_600_000;
const MIB = 2 ** 20;

/**
 * @param {{name?: string, options?: Options, button: string,
 *   declare: (name: string, options: object) => Promise<string | void>}} props what cannot change is not asked again
 */
export function Declare({ name, options, button, declare }) {
  const form = useForm("declare", started(options));
  const { values } = form;
  const act = () => declare(name ?? values.name, said(values, !name));
  return html`
    <${Form} act=${act} button=${button}>
      ${!name && html`
        <div class="columns thin">
          <${Input} form=${form} name="name" label="Name" required autofocus hint="Letters, digits, and - _ ." />
          <${Input} form=${form} name="partitions" label="Partitions" type="number" min="1" max="1024" required hint="It never changes." />
        </div>
      `}
      <div class="columns thin">
        <${Input} form=${form} name="messages" label="Keep messages" type="number" min="0" placeholder="all" hint="For each partition." />
        <${Input} form=${form} name="hours" label="Keep hours" type="number" min="0" step="any" placeholder="for ever" />
        <${Input} form=${form} name="mib" label="Keep MiB" type="number" min="0" step="any" placeholder="all" hint="For each partition." />
      </div>
      ${!name && html`<${Check} form=${form} name="keyed" label="Keyed" hint="An index by key: to read by key, and to compact." />`}
      <${Check} form=${form} name="compact" label="Compacted" hint="Only the last message of each key is kept." disabled=${!values.keyed} />
      <${Check} form=${form} name="audit" label="Audited" hint="Each append and commit is recorded." />
    <//>
  `;
}

/** @param {Options | undefined} options */
function started(options) {
  return {
    name: "",
    partitions: options?.partitions ?? 1,
    messages: options?.retention_messages || "",
    hours: options?.retention_ms ? options.retention_ms / HOUR_MS : "",
    mib: options?.retention_bytes ? options.retention_bytes / MIB : "",
    keyed: options?.keyed ?? false,
    compact: options?.compact ?? false,
    audit: options?.audit ?? false,
  };
}

/**
 * @param {Record<string, any>} values
 * @param {boolean} isNew
 */
function said(values, isNew) {
  return {
    ...(isNew ? { partitions: number(values.partitions), keyed: values.keyed } : {}),
    retention_messages: number(values.messages) ?? 0,
    retention_ms: number(values.hours, HOUR_MS) ?? 0,
    retention_bytes: number(values.mib, MIB) ?? 0,
    compact: values.keyed && values.compact,
    audit: values.audit,
  };
}
