/** How a queue behaves, and its end. */
import { call } from "../../api.js";
import { count, counted, duration } from "../../format.js";
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { go, href } from "../../route.js";
import { Act } from "../../ui/acting.js";
import { Loaded } from "../../ui/basics.js";
import { justBefore } from "../../ui/names.js";
import { Facts } from "../../ui/payload.js";

/** @param {{stats: {queue: string}}} props */
export function Options({ stats: { queue } }) {
  const loaded = useLoaded((signal) => call("queue/list", { after: justBefore(queue), limit: 1 }, signal), [queue]);
  const drop = async () => {
    const { jobs } = await call("queue/drop", { queue });
    go(["queues"]);
    return `Dropped ${queue} with ${counted(jobs, "job")}.`;
  };
  const ask = { title: "Drop this queue?", body: "It goes with all its jobs, those in flight too.", word: queue, button: "Drop the queue", danger: true };
  return html`
    <${Loaded} loaded=${loaded}>${(/** @type {any} */ { queues }) => html`<${Facts} facts=${facts(queues[0]?.options)} />`}<//>
    <p class="muted small">A worker says how its queue behaves where it declares it; a rule of the configuration goes before.</p>
    <div class="row toolbar"><a href=${href(["settings"], { tab: "audit", name: queue })}>What was done to it</a><span class="grow"></span><${Act} act=${drop} ask=${ask} class="danger">Drop the queue …<//></div>
  `;
}

/** @param {any} options @returns {[string, string][]} */
function facts(options) {
  if (!options) return [];
  const { retry } = options;
  const limit = (/** @type {number} */ value, /** @type {(value: number) => string} */ shown = count) => (value ? shown(value) : "no limit");
  const delays = retry.delays_ms.length
    ? retry.delays_ms.map(duration).join(", ")
    : `${duration(retry.base_ms)}, each ${retry.factor} times the one before, up to ${duration(retry.cap_ms)}${retry.jitter ? ", by chance down to half" : ""}`;
  return [
    ["Attempts", count(retry.attempts_max)],
    ["Tried again after", delays],
    ["Lease", duration(options.lease_ms)],
    ["In flight at once", limit(options.in_flight_max)],
    ["In flight for a worker", limit(options.in_flight_per_worker_max)],
    ["Jobs of one key", options.ordered ? "one after the other" : "side by side"],
    ["Keys take turns", options.fair ? "yes" : "no"],
    ["When a job of a key dies", options.on_dead === "stop" ? "its line stops" : "its line goes on"],
    ["Results are kept", options.result_ms ? duration(options.result_ms) : "no"],
    ["Dead letters are kept", options.dead_ms ? duration(options.dead_ms) : "until somebody purges them"],
    ["Waiting jobs", limit(options.waiting_max)],
  ];
}
