/** Sending numbers one after the other, as a program does that goes on until each is acknowledged. */
import { ApiError, call } from "../../api.js";
import { about, address } from "../../session.js";

const EVERY_MS = 200;
const AGAIN_MS = 500;
const WAITING_MAX = 1_000;
const UNKNOWN = 1000; // nobody knows whether it was stored
const UNAUTHORIZED = 401;

/** @typedef {{method: string, body: (number: number) => object}} What what is called for a number; it has to be repeatable */
/** @typedef {{acked: number, waiting: number, refused: number}} Sent */

/**
 * Send 1, 2, 3 … in this order, one more every 200 ms. A call that failed for now, or of which nobody knows, is made again.
 * @param {What} what
 * @param {(sent: Sent) => void} told
 * @param {(error: Error) => void} failed what cannot be made again
 * @returns {() => void} what ends it
 */
export function sending(what, told, failed) {
  const sent = { acked: 0, waiting: 0, refused: 0 };
  let busy = false;
  let over = false;
  const drain = async () => {
    if (busy) return;
    busy = true;
    while (sent.waiting && !over) {
      await repeated(() => asProgram(what.method, what.body(sent.acked + 1)), () => told({ ...sent, refused: ++sent.refused }), () => over);
      sent.acked++;
      sent.waiting--;
      if (!over) told({ ...sent });
    }
    busy = false;
  };
  const end = () => {
    over = true;
    clearInterval(timer);
  };
  const timer = setInterval(() => {
    sent.waiting = Math.min(sent.waiting + 1, WAITING_MAX);
    drain().catch((error) => {
      end();
      failed(error);
    });
  }, EVERY_MS);
  return end;
}

/**
 * @param {() => Promise<unknown>} act
 * @param {() => void} refused
 * @param {() => boolean} over
 */
async function repeated(act, refused, over) {
  while (!over()) {
    try {
      await act();
      return;
    } catch (error) {
      const { temporary, code } = /** @type {ApiError} */ (error);
      if (!temporary && code !== UNKNOWN) throw error;
      refused();
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/**
 * Call the API as programs do, so that not each number stands in the audit stream; as who is here where that needs a key.
 * @param {string} method
 * @param {object} body
 */
export async function asProgram(method, body) {
  const url = address(`${about.value?.api}/${method}`);
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body) }).catch(() => {
    throw new ApiError({ message: "the server cannot be reached", temporary: true });
  });
  if (answer.status === UNAUTHORIZED) return call(method, body);
  const told = await answer.json();
  if (told.error) throw new ApiError(told.error);
  return told.result;
}
