/** A reader that watches the promises: it follows a channel with the SDK while numbers are published to it. */
import { socketAddress } from "../../live.js";
import { renew, session } from "../../session.js";
import { Counting } from "./counting.js";
import { sending } from "./sending.js";

export const CHANNEL = "lab-numbers";

const BUCKET_MS = 500;
const BUCKETS = 120;
const LEAVE_MS = 5_000; // at most, once somebody stops to watch

/** @typedef {{live: number, recovered: number, missing: number}} Bucket what came in half a second, and what was missing at its end */
/** @typedef {{state: string, client: string, acked: number, waiting: number, refused: number, received: number, missing: number,
 *   duplicates: number, disordered: number, recovered: number, recoveries: number, losses: number, buckets: Bucket[], error: string}} Seen */

/** @type {Seen} */
export const NOTHING = { state: "", client: "", acked: 0, waiting: 0, refused: 0, received: 0, missing: 0,
  duplicates: 0, disordered: 0, recovered: 0, recoveries: 0, losses: 0, buckets: [], error: "" };

/**
 * Begin; `show` is told what is seen whenever it changes.
 * @param {(seen: Seen) => void} show
 * @returns {() => void} what ends it
 */
export function observe(show) {
  const run = [...crypto.getRandomValues(new Uint32Array(3))].join("-");
  const counting = new Counting();
  const seen = { ...NOTHING, state: "connecting", buckets: /** @type {Bucket[]} */ ([{ live: 0, recovered: 0, missing: 0 }]) };
  let recovering_to = 0;
  const changed = () => show({ ...seen, ...counts(counting, seen.acked), buckets: [...seen.buckets] });
  const set = (/** @type {Partial<Seen>} */ some) => {
    Object.assign(seen, some);
    changed();
  };

  const take = (/** @type {any} */ { data }) => {
    if (data?.run !== run) return; // somebody else observes as well
    const isRecovered = data.n <= recovering_to && data.n > counting.last;
    counting.take(data.n);
    const bucket = seen.buckets.at(-1);
    if (bucket) bucket[isRecovered ? "recovered" : "live"]++;
    if (isRecovered) seen.recovered++;
    changed();
  };

  /** @type {() => void} */
  let endSending = () => {};
  const subscribed = (/** @type {any} */ { wasRecovering, recovered }) => {
    if (!seen.state || seen.state === "connecting") seen.state = "live";
    if (wasRecovering) {
      recovering_to = seen.acked;
      set(recovered ? { recoveries: seen.recoveries + 1 } : { losses: seen.losses + 1 });
      return;
    }
    endSending = sending(
      { method: "publish", body: (n) => ({ channel: CHANNEL, data: { run, n }, idempotency_key: `${run}-${n}` }) },
      (sent) => set(sent),
      (error) => set({ error: error.message }),
    );
    changed();
  };

  const client = follow({ take, subscribed, set });
  const timer = setInterval(() => {
    roll(seen.buckets, counting.missing(seen.acked));
    changed();
  }, BUCKET_MS);
  return () => {
    endSending();
    const until_ms = Date.now() + LEAVE_MS;
    const leaving = setInterval(() => {
      if (counting.missing(seen.acked) && Date.now() < until_ms) return; // it is on its way
      clearInterval(leaving);
      clearInterval(timer);
      client.disconnect();
    }, BUCKET_MS);
  };
}

/**
 * A connection of its own, which can be cut without the console's being cut.
 * @param {{take: (publication: any) => void, subscribed: (how: any) => void, set: (some: Partial<Seen>) => void}} heard
 */
function follow({ take, subscribed, set }) {
  const options = { token: session.value?.token ?? "", getToken: renew, name: "gapless-lab" };
  const client = new Centrifuge(socketAddress(), options);
  client.on("connected", (answer) => set({ client: answer.client, state: "live" }));
  client.on("connecting", () => set({ client: "", state: "connecting" }));
  client.on("disconnected", ({ code, reason }) => code && set({ client: "", state: "ended", error: reason }));
  const subscription = client.newSubscription(CHANNEL, { positioned: true, recoverable: true });
  subscription.on("publication", take);
  subscription.on("subscribed", subscribed);
  subscription.on("unsubscribed", ({ code, reason }) => code && set({ error: `${reason} (${code})` }));
  subscription.subscribe();
  client.connect();
  return client;
}

/** @param {Counting} counting @param {number} acked */
function counts(counting, acked) {
  const { received, duplicates, disordered } = counting;
  return { received, duplicates, disordered, missing: counting.missing(acked) };
}

/** @param {Bucket[]} buckets @param {number} missing */
function roll(buckets, missing) {
  const last = buckets.at(-1);
  if (last) last.missing = missing;
  buckets.push({ live: 0, recovered: 0, missing });
  if (buckets.length > BUCKETS) buckets.shift();
}
