/** One queue: its numbers now and over time, and by tabs what is in it. */
import { count, duration, rate } from "../../format.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { href } from "../../route.js";
import { call } from "../../api.js";
import { shared, whole } from "../../samples.js";
import { Act } from "../../ui/acting.js";
import { Badge, Loaded, Page, Stat, Tabs, useOneOf } from "../../ui/basics.js";
import { Plot } from "../../ui/plot.js";
import { Range, useRange } from "../../ui/range.js";
import { Enqueue } from "./enqueue.js";
import { Dead, Done, InFlight, Waiting } from "./jobs.js";
import { Options } from "./options.js";
import { Recurring } from "./recurring.js";

/** @typedef {import("./list.js").Stats} Stats */

const POLL_MS = 2_000;

/** @type {Record<string, any>} */
const TABS = { waiting: Waiting, leased: InFlight, dead: Dead, done: Done, recurring: Recurring, options: Options };

/** @param {{name: string}} props */
export function Queue({ name }) {
  const range = useRange();
  const stats = useCall("queue/stats", { queue: name }, POLL_MS);
  const [enqueueing, setEnqueueing] = useState(false);
  const now = stats.data.value?.queues[0];
  const actions = html`
    <${Range} chosen=${range} />
    ${now && html`<${PauseOrResume} stats=${now} reload=${stats.reload} />`}
    <button type="button" onClick=${() => setEnqueueing(true)}>Enqueue …</button>
  `;
  return html`
    <${Page} title=${html`<a class="up" href=${href(["queues"])}>Queues</a> ${name}`} lead=${now ? html`<${Standing} stats=${now} />` : "\u00a0"} actions=${actions}>
      <${Loaded} loaded=${stats}>${() => now && html`<${Numbers} stats=${now} /><${Plots} name=${name} /><${Contents} stats=${now} changed=${stats.reload} />`}<//>
      ${enqueueing && html`<${Enqueue} queue=${name} close=${() => setEnqueueing(false)} done=${stats.reload} />`}
    <//>
  `;
}

/** @param {{stats: Stats}} props */
function Standing({ stats }) {
  const workers = stats.claimers ? `${count(stats.claimers)} waiting for jobs` : "nobody waits for jobs";
  return stats.paused ? html`<${Badge} tone="warn">paused<//> It gives no jobs; ${workers}.` : html`It gives jobs; ${workers}.`;
}

/** @param {{stats: Stats, reload: () => void}} props */
function PauseOrResume({ stats: { queue, paused }, reload }) {
  const act = async () => {
    await call(paused ? "queue/resume" : "queue/pause", { queue });
    reload();
    return paused ? `${queue} gives jobs again.` : `${queue} gives no jobs until it is resumed.`;
  };
  return html`<${Act} act=${act} class=${paused ? "primary" : ""}>${paused ? "Resume" : "Pause"}<//>`;
}

/** @param {{stats: Stats}} props */
function Numbers({ stats }) {
  const { queue } = stats;
  const tab = (/** @type {string} */ name) => href(["queues", queue], { tab: name });
  return html`
    <div class="stats">
      <${Stat} label="Ready" value=${count(stats.ready)} note=${`${rate(stats.enqueued_per_second)} a second come`} href=${tab("waiting")} />
      <${Stat} label="Delayed" value=${count(stats.delayed)} note="due later" href=${tab("waiting")} />
      <${Stat} label="In flight" value=${count(stats.leased)} note=${`${rate(stats.acked_per_second)} a second are done`} href=${tab("leased")} />
      <${Stat} label="Oldest" value=${stats.oldest_ms ? duration(stats.oldest_ms) : "–"} note="ready and not begun" />
      <${Stat} label="Dead letters" value=${count(stats.dead)} tone=${stats.dead ? "bad" : ""} note=${`${rate(stats.failed_per_second)} a second fail`} href=${tab("dead")} />
    </div>
  `;
}

/** @param {{name: string}} props */
function Plots({ name }) {
  const of = (/** @type {"ready" | "delayed" | "leased" | "dead" | "oldest_ms"} */ what) => shared((sample) => sample.queues?.[name]?.[what]);
  const unseen = whole()?.queues && !whole()?.queues?.[name];
  const depth = [
    { label: "ready", series: of("ready") },
    { label: "delayed", series: of("delayed") },
    { label: "in flight", series: of("leased") },
    { label: "dead", series: of("dead") },
  ];
  return html`
    <div class="plots">
      <${Plot} title="Depth" unit=${count} lines=${depth} />
      <${Plot} title="Oldest job" unit=${duration} lines=${[{ label: "age", series: of("oldest_ms") }]} />
    </div>
    ${unseen && html`<p class="muted small">Samples hold the 50 first queues by name; this one has no numbers over time, or not yet.</p>`}
  `;
}

/** @param {{stats: Stats, changed: () => void}} props */
function Contents({ stats, changed }) {
  /** @type {[string, unknown][]} */
  const tabs = [
    ["waiting", html`Waiting <${Many} number=${stats.ready + stats.delayed} />`],
    ["leased", html`In flight <${Many} number=${stats.leased} />`],
    ["dead", html`Dead <${Many} number=${stats.dead} />`],
    ["done", html`Done <${Many} number=${stats.done} />`],
    ["recurring", "Recurring"],
    ["options", "Options"],
  ];
  const tab = useOneOf(tabs);
  const Tab = TABS[tab];
  return html`
    <section class="panel stack">
      <${Tabs} label="What is in the queue" tabs=${tabs} forget=${["after"]} />
      <${Tab} key=${tab} stats=${stats} changed=${changed} />
    </section>
  `;
}

/** @param {{number: number}} props */
function Many({ number }) {
  return number ? html`<${Badge}>${count(number)}<//>` : null;
}
