/** Enqueueing one job by hand. */
import { call } from "../../api.js";
import { html } from "../../lib.js";
import { Dialog } from "../../ui/acting.js";
import { Form, Input, JsonInput, number, useForm } from "../../ui/form.js";
import { parsed } from "../../ui/json.js";

const EMPTY = { data: '{\n  "n": 1\n}', key: "", priority: "", delay_s: "", headers: "" };

/** @param {{queue: string, close: () => void, done: () => void}} props */
export function Enqueue({ queue, close, done }) {
  const form = useForm("enqueue", EMPTY);
  const { key, priority, delay_s } = form.values;
  const [data, headers] = [parsed(form.values.data), parsed(form.values.headers, "object")];
  const isWrong = !!data.error || !!headers.error || data.value === undefined;
  const enqueue = async () => {
    const job = { queue, data: data.value, headers: headers.value, key: key || undefined, priority: number(priority), delay_ms: number(delay_s, 1_000) };
    const { jobs } = await call("queue/enqueue", { jobs: [job] });
    close();
    done();
    return `Enqueued ${jobs[0].result.id}.`;
  };
  return html`
    <${Dialog} title=${`Enqueue into ${queue}`} wide close=${close}>
      <${Form} act=${enqueue} button="Enqueue" disabled=${isWrong}>
        <${JsonInput} form=${form} name="data" label="Payload" rows=${8} hint="Any JSON." />
        <div class="columns thin">
          <${Input} form=${form} name="key" label="Key" hint="Jobs of one key are done in their order." />
          <${Input} form=${form} name="priority" label="Priority" type="number" min="0" max="9" placeholder="0" hint="9 is most urgent." />
          <${Input} form=${form} name="delay_s" label="Delay (seconds)" type="number" min="0" step="any" placeholder="0" />
        </div>
        <${JsonInput} form=${form} name="headers" label="Headers" kind="object" rows=${2} placeholder='{"trace": "7"}' hint="Texts by name." />
      <//>
    <//>
  `;
}
