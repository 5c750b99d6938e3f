/** Giving messages again at the speed at which they came, into a channel: read and published by this page, in order. */
import { call, lines } from "../../api.js";
import { count, duration } from "../../format.js";
import { html } from "../../lib.js";
import { href } from "../../route.js";
import { Check, Form, Input, Select, TimeInput, useLinkedForm } from "../../ui/form.js";
import { begin, isRunning, Running } from "../../ui/running.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Partition} Partition */
/** @typedef {{partition: number, offset: number, epoch: string, data?: unknown, b64data?: string, headers?: Record<string, string>,
 *   error?: {message: string}}} Line */
/** @typedef {{partition?: number, offset?: number, at_ms?: number}} From */

const AGO_MS = 3_600_000;
const PAUSE_MS = 10_000;
const PAUSE_MAX_MS = 3_600_000;
const FROM = /** @type {[string, string][]} */ ([["oldest", "the oldest that is kept"], ["time", "a time"], ["offset", "an offset"]]);
const SPEED = /** @type {[string, string][]} */ ([["1", "as it came"], ["factor", "so many times as fast"], ["0", "at once"]]);

/** @param {string} source */
const replaying = (source) => `replay ${source}`;

/** @param {{source: Source}} props */
export function Replay({ source: { name, partitions } }) {
  const each = /** @type {[string, string][]} */ (partitions.map(({ partition }) => [`${partition}`, `${partition}`]));
  const start = { from: "oldest", at: "", offset: "", partition: "", speed: "1", factor: "", shorter: "", channel: "" };
  const form = useLinkedForm("replay", start, { from: FROM, speed: SPEED, partition: each, shorter: [["true", ""]] });
  const { values } = form;
  const isOffset = values.from === "offset";
  const needsPartition = isOffset && partitions.length > 1;
  const run = async () => {
    const from = begins(values, partitions);
    const total = await expected(name, partitions, from);
    replay(name, values.channel, { ...from, factor: factorOf(values), pause_ms: values.shorter ? PAUSE_MS : PAUSE_MAX_MS }, total);
  };
  const where = /** @type {[string, string][]} */ ([["", needsPartition ? "choose one" : "all, by their times"], ...each]);
  return html`
    <p class="muted">Messages are read from here and published to a channel in their order, with their payloads and headers. That goes on only while this page is open.</p>
    <${Form} act=${run} button="Replay" disabled=${isRunning(replaying(name))}>
      <div class="columns thin">
        <${Select} form=${form} name="from" label="From" options=${FROM} />
        ${values.from === "time" && html`<${TimeInput} form=${form} name="at" label="Time" ago_ms=${AGO_MS} />`}
        ${isOffset && html`<${Input} form=${form} name="offset" label="Offset" type="number" min="1" required placeholder="1" />`}
        ${partitions.length > 1 && html`<${Select} form=${form} name="partition" label="Partition" options=${where} required=${needsPartition} />`}
        <${Select} form=${form} name="speed" label="Speed" options=${SPEED} />
        ${values.speed === "factor" && html`<${Input} form=${form} name="factor" label="Times as fast" type="number" min="0.1" max="100" step="any" required placeholder="10" hint="0.1 to 100" />`}
      </div>
      <${Input} form=${form} name="channel" label="Into the channel" required placeholder="replayed" />
      ${values.speed !== "0" && html`<${Check} form=${form} name="shorter" label="Make long pauses shorter:" hint=${`none is longer than ${duration(PAUSE_MS)}.`} />`}
    <//>
    <${Running} id=${replaying(name)} />
    ${values.channel && html`<p><a href=${href(["channels", values.channel])}>Watch the channel</a></p>`}
  `;
}

/**
 * @param {Record<string, string>} values
 * @param {Partition[]} partitions
 * @returns {From}
 */
function begins({ from, at, offset, partition }, partitions) {
  const one = partition || (from === "offset" && `${partitions[0]?.partition}`);
  return {
    ...(one ? { partition: Number(one) } : {}),
    ...(from === "offset" ? { offset: Number(offset) } : {}),
    ...(from === "time" && at ? { at_ms: Number(at) } : {}),
  };
}

/** @param {Record<string, string>} values */
const factorOf = ({ speed, factor }) => (speed === "factor" ? Number(factor) : Number(speed));

/**
 * Return how many messages that are, at most: some may have been erased among them.
 * @param {string} source
 * @param {Partition[]} partitions
 * @param {From} from
 */
async function expected(source, partitions, { partition, offset, at_ms }) {
  const chosen = partitions.filter((each) => partition === undefined || each.partition === partition);
  const counts = await Promise.all(chosen.map(async ({ partition, oldest, last }) => {
    const before = at_ms === undefined ? (offset ?? oldest) - 1 : ((await call("stream/find", { source, partition, at_ms })).offset ?? 0);
    return Math.max(0, last - Math.max(before, oldest - 1));
  }));
  return counts.reduce((sum, each) => sum + each, 0);
}

/**
 * @param {string} source
 * @param {string} channel
 * @param {From & {factor: number, pause_ms: number}} how
 * @param {number} total
 */
function replay(source, channel, how, total) {
  const what = { title: `Replaying ${count(total)} of ${source} into ${channel}`, unit: "messages", total };
  const run = crypto.getRandomValues(new Uint32Array(2)).join(""); // a replay is given again whenever it is asked for
  begin(replaying(source), what, async ({ signal, advance }) => {
    for await (const line of lines("stream/replay", { source, ...how }, signal)) {
      if (line.error) throw new Error(line.error.message);
      await published(channel, line, run);
      advance(1);
      if (signal.aborted) return;
    }
  });
}

/**
 * @param {string} channel
 * @param {Line} line
 * @param {string} run
 */
async function published(channel, { partition, offset, epoch, data, b64data, headers }, run) {
  const idempotency_key = `${run}/${partition}/${epoch}:${offset}`;
  await call("publish", { channel, ...(b64data === undefined ? { data } : { b64data }), tags: headers, idempotency_key });
}
