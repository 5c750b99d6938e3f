/** The failure lab: break something on purpose, and watch the promises hold. Only `gapless dev` has it. */
import { html } from "../lib.js";
import { useCall } from "../loading.js";
import { ErrorNote, Page } from "../ui/basics.js";
import { Cut, Delay, Drop } from "./lab/faults.js";
import { Full } from "./lab/full.js";
import { Strip, useObserver } from "./lab/strip.js";
import { Jobs } from "./lab/jobs.js";

const FAULTS_MS = 1_000;
const LEAD = "Watch: a number is published every 200 ms, 1, 2, 3 …, each until it is acknowledged, and a reader with the public SDK follows. "
  + "Then break something. The promises are those of docs/explanation/guarantees.md.";

export function Screen() {
  const observer = useObserver();
  const { data, error, reload } = useCall("lab/faults", {}, FAULTS_MS);
  const faults = data.value?.faults ?? {};
  return html`
    <${Page} title="Failure lab" lead=${LEAD}>
      <${Strip} observer=${observer} />
      <${ErrorNote} error=${error.value} retry=${reload} />
      <div class="columns">
        <${Cut} own=${observer.seen.client} />
        <${Delay} fault=${faults.delay_store} />
        <${Drop} fault=${faults.drop_bus} />
        <${Full} />
      </div>
      <${Jobs} worker=${faults.worker} />
    <//>
  `;
}
