/** Appending one message by hand. */
import { call } from "../../api.js";
import { html } from "../../lib.js";
import { Dialog } from "../../ui/acting.js";
import { Form, Input, JsonInput, Select, useForm } from "../../ui/form.js";
import { parsed } from "../../ui/json.js";

/** @param {{source: import("./source.js").Source, close: () => void, done: () => void}} props */
export function Append({ source: { name, partitions }, close, done }) {
  const form = useForm("append", { data: '{\n  "n": 1\n}', key: "", partition: "", headers: "" });
  const { key, partition } = form.values;
  const [data, headers] = [parsed(form.values.data), parsed(form.values.headers, "object")];
  const append = async () => {
    const message = { data: data.value, headers: headers.value, key: key || undefined, partition: partition === "" ? undefined : Number(partition) };
    const { messages } = await call("stream/append", { stream: name, messages: [message] });
    close();
    done();
    return `Appended as ${messages[0].result.offset} of partition ${messages[0].result.partition}.`;
  };
  const choices = /** @type {[string, string][]} */ ([["", "by the key, or in turns"], ...partitions.map((each) => [`${each.partition}`, `${each.partition}`])]);
  return html`
    <${Dialog} title=${`Append to ${name}`} wide close=${close}>
      <${Form} act=${append} button="Append" disabled=${!!data.error || !!headers.error || data.value === undefined}>
        <${JsonInput} form=${form} name="data" label="Payload" rows=${8} hint="Any JSON." />
        <div class="columns thin">
          <${Input} form=${form} name="key" label="Key" hint="Messages of one key are in one partition." />
          <${Select} form=${form} name="partition" label="Partition" options=${choices} />
        </div>
        <${JsonInput} form=${form} name="headers" label="Headers" kind="object" rows=${2} placeholder='{"trace": "7"}' hint="Texts by name." />
      <//>
    <//>
  `;
}
