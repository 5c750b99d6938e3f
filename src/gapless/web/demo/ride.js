/** The train: into the tunnel, where the server cuts both connections, and out again. */
import { about, address } from "./about.js";
import { signal } from "./lib.js";
import { inTunnel, network } from "./radio.js";

/** @typedef {{client: () => string}} Cuttable */

/** Where the train stands when it is outside: it leaves on the other side of the hill. */
export const side = signal(/** @type {"left" | "right"} */ ("left"));
/** When it went in, in ms since the page was opened. */
export const entered = signal(0);
/** Why it could not go in. */
export const trouble = signal("");

/**
 * @param {Cuttable[]} phones
 * @returns {Promise<void>}
 */
export async function enter(phones) {
  inTunnel.value = true;
  entered.value = performance.now();
  trouble.value = "";
  try {
    await Promise.all(phones.map((phone) => phone.client()).filter(Boolean).map(cut));
  } catch (error) {
    trouble.value = `The connections could not be cut: ${error instanceof Error ? error.message : error}`;
    leave();
  }
}

export function leave() {
  side.value = side.peek() === "left" ? "right" : "left";
  inTunnel.value = false;
  network.dispatchEvent(new Event("online"));
}

// how: cut
/** @param {string} client */
async function cut(client) {
  const answer = await fetch(address(`${about.api}/lab/cut`), { method: "POST", body: JSON.stringify({ client }) });
  const { error } = await answer.json();
  if (error) throw new Error(error.message);
}
// end
