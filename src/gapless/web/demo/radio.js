/** The network of both phones: sockets that note what they carry, and that cannot be opened in the tunnel. */
import { kindOf, note, parsed } from "./frames.js";
import { signal } from "./lib.js";

export const inTunnel = signal(false);

/** Tells "online", as a phone does when it has a signal again; the SDK then dials at once. */
export const network = new EventTarget();

/** @typedef {import("./frames.js").Phone} Phone */
/** @typedef {{sent?: (command: any) => void, received?: (reply: any, text: string) => void}} Listener */

/** A connection that never came to be. */
class NoSignal {
  /** @type {((event: Event) => void) | undefined} */
  onerror;
  /** @type {((event: CloseEvent) => void) | undefined} */
  onclose;
  readyState = WebSocket.CLOSED;

  constructor() {
    setTimeout(() => {
      this.onerror?.(new Event("error"));
      this.onclose?.(new CloseEvent("close", { code: 1006, wasClean: false }));
    });
  }

  send() {}
  close() {}
}

/**
 * Return what the SDK is given in the place of the browser's WebSocket.
 * @param {Phone} phone
 * @param {Listener} [listener]
 * @returns {any}
 */
export function radio(phone, listener = {}) {
  /** @param {string} data @param {"in" | "out"} way @param {((said: any, text: string) => void) | undefined} tell */
  const hear = (data, way, tell) => {
    for (const { said, text } of parsed(data)) {
      note(phone, way, kindOf(said), text);
      tell?.(said, text);
    }
  };

  // how: tunnel
  class Radio extends WebSocket {
    /** @param {string} url */
    constructor(url) {
      if (inTunnel.peek()) return /** @type {any} */ (new NoSignal());
      super(url);
      this.addEventListener("open", () => note(phone, "event", "socket open"));
      this.addEventListener("message", (event) => hear(event.data, "in", listener.received));
      this.addEventListener("close", (event) => note(phone, "event", `socket gone (${event.code})`));
    }

    /** @param {string} data */
    send(data) {
      hear(data, "out", listener.sent);
      super.send(data);
    }
  }
  // end
  return Radio;
}

/**
 * Fetch as a phone does: in the tunnel nothing is reached.
 * @param {URL} url
 * @returns {Promise<Response>}
 */
export async function reach(url) {
  if (inTunnel.peek()) throw new TypeError("no signal");
  return await fetch(url);
}
