/**
 * Numbers over time. Each node publishes a sample of itself every ten seconds; the console follows these channels from
 * as far back as is asked for, so what was missed comes as the gap that it is. A server that restarts goes on.
 */
import { page } from "./api.js";
import { signal, useEffect } from "./lib.js";
import { client, follow } from "./live.js";

/** @typedef {{ready: number, delayed: number, leased: number, dead: number, oldest_ms: number}} Depth */
/** @typedef {{at_ms: number, node: string, name: string, started_ms: number, writer: boolean, gauges: Record<string, number>,
 *   counters: Record<string, number>, queues?: Record<string, Depth>,
 *   groups?: Record<string, {lag: number, lag_ms: number}>}} Sample */
/** @typedef {[number[], (number | null)[]]} Series times in seconds, and what was then */

const MINUTES = { channel: "gapless.console:minutes", step_s: 10 };
const DAYS = { channel: "gapless.console:days", step_s: 300 };
const SAMPLES_MAX = 20_000;
const AGAIN_MS = 3_000;

/** @type {Record<string, {channel: string, step_s: number, length_s: number, title: string}>} */
export const RANGES = {
  "15m": { ...MINUTES, length_s: 900, title: "15 min" },
  "1h": { ...MINUTES, length_s: 3_600, title: "1 h" },
  "6h": { ...MINUTES, length_s: 21_600, title: "6 h" },
  "7d": { ...DAYS, length_s: 604_800, title: "7 d" },
  "30d": { ...DAYS, length_s: 2_592_000, title: "30 d" },
};

/** @type {import("./lib.js").Signal<{range: string, samples: Sample[]}>} in the order of their times */
export const history = signal({ range: "", samples: [] });

/** @type {import("./lib.js").Signal<Map<string, [Sample, Sample | null]>>} by node: the newest, and that before it */
export const newest = signal(new Map());

/** @type {import("./lib.js").Signal<Sample | null>} */
const telling = signal(null);

/** Return the newest sample that tells of queues and groups: one node does, every ten seconds. */
export const whole = () => telling.value;

/** What the writer of a store counts, and other nodes over the same file tell too. */
const OF_THE_WRITER = new Set(["commits", "entries"]);

/** @type {() => void} */
let end = () => {};
/** @type {Sample[]} */
let arriving = [];

/**
 * Keep the samples of a range here, and those that come, until another is asked for.
 * @param {string} range
 */
export function useSamples(range) {
  useEffect(() => {
    watch(range in RANGES ? range : "1h");
  }, [range, client.value]);
}

/** @type {any} */
let watched = null;

/** @param {string} range */
async function watch(range) {
  if (!client.peek() || (history.peek().range === range && watched === client.peek())) return;
  end();
  watched = client.peek();
  history.value = { range, samples: [] };
  arriving = [];
  const asked = /** @type {typeof RANGES["1h"]} */ (RANGES[range]);
  let over = false;
  /** @type {(() => void)[]} */
  const ends = [];
  end = () => {
    over = true;
    for (const each of ends) each();
  };
  let since;
  while (!since) {
    since = await position(asked.channel, Date.now() - asked.length_s * 1_000).catch(() => null);
    if (!since) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (over) return;
  }
  ends.push(follow(asked.channel, { take: ({ data, offset }) => take(data, !!offset) }, since));
  if (asked.channel !== MINUTES.channel) ends.push(follow(MINUTES.channel, { take: ({ data }) => take(data, false) }));
}

/**
 * Return the position just before the first sample after a time.
 * @param {string} channel
 * @param {number} at_ms
 */
async function position(channel, at_ms) {
  const { items, head, epoch } = await page(channel, { after: Math.max(0, at_ms), size: 1 });
  return { offset: items.length ? items[0].offset - 1 : head, epoch };
}

/**
 * @param {Sample} sample
 * @param {boolean} kept
 */
function take(sample, kept) {
  const before = newest.peek().get(sample.node)?.[0];
  if (!before || before.at_ms < sample.at_ms) newest.value = new Map(newest.peek()).set(sample.node, [sample, before ?? null]);
  if (sample.queues && (telling.peek()?.at_ms ?? 0) < sample.at_ms) telling.value = sample;
  if (!kept) return;
  if (!arriving.length) setTimeout(settle); // a recovery brings many at once
  arriving.push(sample);
}

function settle() {
  const { range, samples } = history.peek();
  const oldest_ms = Date.now() - (RANGES[range]?.length_s ?? 0) * 1_000;
  const all = [...samples, ...arriving].filter((sample) => sample.at_ms >= oldest_ms).sort((a, b) => a.at_ms - b.at_ms);
  arriving = [];
  history.value = { range, samples: all.slice(-SAMPLES_MAX) };
}

// Series -------------------------------------------------------------------------------------------

/** @param {number} a @param {number} b */
const sum = (a, b) => a + b;

/**
 * Join what `read` finds in the samples of all nodes, each of which has one for each step. Where nothing was heard there
 * is a gap.
 * @param {(sample: Sample, before: Sample | null) => number | null | undefined} read
 * @param {(a: number, b: number) => number} [join] of two nodes
 * @returns {Series}
 */
export function series(read, join = sum) {
  const { range, samples } = history.value;
  const step_s = RANGES[range]?.step_s ?? 10;
  /** @type {Map<number, number | null>} */
  const sums = new Map();
  /** @type {Map<string, Sample>} */
  const befores = new Map();
  let last = 0;
  for (const sample of samples) {
    const at = Math.floor(sample.at_ms / 1_000 / step_s) * step_s;
    if (last && at > last + 2 * step_s) sums.set(last + step_s, null); // nobody was there
    last = at;
    const value = read(sample, befores.get(sample.node) ?? null);
    befores.set(sample.node, sample);
    if (value != null) sums.set(at, join(sums.get(at) ?? 0, value));
  }
  return [[...sums.keys()], [...sums.values()]];
}

/**
 * Join what one node tells of all: the newest holds, also where another began to tell within a step.
 * @param {(sample: Sample) => number | null | undefined} read
 */
export const shared = (read) => series(read, (_, value) => value);

/** @param {string} name */
export const gauge = (name) => series((sample) => sample.gauges[name]);

/** @param {string} name */
export const worst = (name) => series((sample) => sample.gauges[name], Math.max);

/** @param {string} name */
export const rates = (name) => series((sample, before) => perSecond(name, sample, before));

/**
 * Return by how much a counter rises a second; null where a node began anew.
 * @param {string} name
 * @param {Sample} sample
 * @param {Sample | null} before
 */
function perSecond(name, sample, before) {
  if (OF_THE_WRITER.has(name) && !sample.writer) return null;
  const [now, then] = [sample.counters[name], before?.counters[name]];
  if (now == null || then == null || !before || now < then || before.started_ms !== sample.started_ms) return null;
  return ((now - then) * 1_000) / Math.max(1, sample.at_ms - before.at_ms);
}

/** Return what a gauge is now, over all nodes that were heard of lately. @param {string} name */
export function now(name) {
  const values = alive().map(([sample]) => sample.gauges[name] ?? 0);
  return values.length ? values.reduce(sum, 0) : null;
}

/** @param {string} name */
export function nowRate(name) {
  const values = alive().map(([sample, before]) => perSecond(name, sample, before)).filter((value) => value != null);
  return values.length ? values.reduce(sum, 0) : null;
}

/** @returns {[Sample, Sample | null][]} */
function alive() {
  const all = [...newest.value.values()];
  const last_ms = Math.max(...all.map(([sample]) => sample.at_ms));
  return all.filter(([sample]) => sample.at_ms > last_ms - 30_000);
}
