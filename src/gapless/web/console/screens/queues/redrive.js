/** Letting all dead letters wait again, so many a second. */
import { call } from "../../api.js";
import { counted, duration } from "../../format.js";
import { html, useState } from "../../lib.js";
import { Act, Dialog } from "../../ui/acting.js";
import { Form, Input, number, useForm } from "../../ui/form.js";
import { begin, isRunning, pause } from "../../ui/running.js";

const AT_ONCE = 1_000;
const PER_SECOND = 100;

/** @param {string} queue */
export const redriving = (queue) => `redrive ${queue}`;

/** @param {{queue: string, total: number, done: () => void}} props */
export function Redrive({ queue, total, done }) {
  const [asked, setAsked] = useState(false);
  const ask = async () => setAsked(true);
  return html`
    <${Act} act=${ask} class="primary" disabled=${!total || isRunning(redriving(queue))}>Redrive all …<//>
    ${asked && html`<${Rate} queue=${queue} total=${total} close=${() => setAsked(false)} done=${done} />`}
  `;
}

/** @param {{queue: string, total: number, close: () => void, done: () => void}} props */
function Rate({ queue, total, close, done }) {
  const form = useForm("redrive", { per_second: PER_SECOND });
  const per_second = number(form.values.per_second) || 0;
  const start = async () => {
    close();
    redrive(queue, total, per_second).then(done);
  };
  const takes = per_second ? `It takes about ${duration((total * 1_000) / per_second)}.` : "They wait again as fast as the server can let them.";
  return html`
    <${Dialog} title=${`Redrive ${counted(total, "dead letter")}?`} close=${close}>
      <${Form} act=${start} button="Redrive them">
        <p>They wait in <strong>${queue}</strong> again as if new, the oldest first. What dies meanwhile stays.</p>
        <${Input} form=${form} name="per_second" label="At most so many a second" type="number" min="0" max="100000" autofocus hint=${`0 is no limit. ${takes}`} />
      <//>
    <//>
  `;
}

/**
 * Call by call, each of which says how long to wait before the next. What dies again is not redriven again without end:
 * no more are moved than there were.
 * @param {string} queue
 * @param {number} total
 * @param {number} per_second
 */
function redrive(queue, total, per_second) {
  const what = { title: `Redriving dead letters of ${queue}`, unit: "jobs", total };
  return begin(redriving(queue), what, async ({ signal, advance }) => {
    for (let left = total; left > 0 && !signal.aborted; ) {
      const { jobs, more, wait_ms } = await call("queue/redrive", { queue, limit: Math.min(left, AT_ONCE), per_second });
      advance(jobs);
      left -= jobs;
      if (!jobs || !more) return;
      if (left > 0) await pause(wait_ms, signal);
    }
  });
}
