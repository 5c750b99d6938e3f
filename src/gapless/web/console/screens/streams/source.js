/** What can be read: a declared stream, a namespace that is kept as one (`chat:`), or a channel; each in partitions. */
import { ApiError, call } from "../../api.js";
import { useLoaded } from "../../loading.js";
import { justBefore } from "../../ui/names.js";

/** @typedef {{partition: number, epoch: string, oldest: number, last: number}} Partition */
/** @typedef {{partitions: number, retention_messages: number, retention_ms: number, retention_bytes: number, keyed: boolean,
 *   compact: boolean, audit: boolean}} Options */
/** @typedef {{name: string, declared: boolean, partitions: Partition[], options: Options | null}} Source a channel has no
 *   options; those of a namespace are the configuration's */
/** @typedef {{source: string, group: string, positions: Record<string, {offset?: number, epoch: string}>,
 *   members: {member: string, session_until_ms: number, partitions: number[]}[]}} Group */

const POLL_MS = 3_000;
const PROBED_MAX = 64; // partitions of what is not listed, each of which is asked for

/** @param {string} name */
export function useSource(name) {
  return useLoaded((signal) => found(name, signal), [name], POLL_MS);
}

/**
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<Source>}
 */
async function found(name, signal) {
  const { streams } = await call("stream/list", { after: justBefore(name), limit: 1 }, signal);
  const [first] = streams;
  if (first?.stream === name) return { name, declared: !isNamespace(name), partitions: first.partitions, options: first.options };
  return { name, declared: false, partitions: await probed(name, signal), options: null };
}

/** @param {string} name */
export const isNamespace = (name) => name.endsWith(":");

/**
 * Channels are not listed, so ask each partition where it stands, until there is none.
 * @param {string} source
 * @param {AbortSignal} signal
 */
async function probed(source, signal) {
  /** @type {Partition[]} */
  const partitions = [];
  for (let partition = 0; partition < PROBED_MAX; partition += 1) {
    try {
      const { epoch, floor, last } = await call("stream/read", { source, partition, backwards: true, limit: 1, limit_bytes: 1 }, signal);
      partitions.push({ partition, epoch, oldest: floor + 1, last });
    } catch (error) {
      if (!partition || !(error instanceof ApiError) || error.code !== BAD_REQUEST) throw error;
      break;
    }
  }
  return partitions;
}

const BAD_REQUEST = 107;

/** @param {Partition[]} partitions */
export function kept(partitions) {
  return partitions.reduce((sum, { oldest, last }) => sum + last - oldest + 1, 0);
}
