/** A message on its way from where it was read to the form in which it is edited. */
import { call } from "../../api.js";
import { go } from "../../route.js";

/** @typedef {{data: string, tags: string}} Draft as the fields have it */

/** @type {Draft | null} what has no offset cannot be named in an address */
let carried = null;

/**
 * @param {string} channel
 * @param {import("../../ui/messages.js").Message} message
 */
export function resend(channel, { offset, data, tags }) {
  carried = offset === null ? drafted(data, tags) : null;
  go(["channels", channel], { tab: "publish", from: offset });
}

/**
 * Return what was carried here, once; or else the message of an offset.
 * @param {string} channel
 * @param {string} from
 * @returns {Promise<Draft | null>}
 */
export async function draft(channel, from) {
  const taken = carried;
  carried = null;
  if (taken || !from) return taken;
  const { messages } = await call("stream/read", { source: channel, offset: Number(from), limit: 1 });
  const [message] = messages;
  return message?.offset === Number(from) && message.b64data === undefined ? drafted(message.data, message.headers ?? {}) : null;
}

/**
 * @param {unknown} data
 * @param {Record<string, string>} tags
 * @returns {Draft}
 */
function drafted(data, tags) {
  return { data: JSON.stringify(data, null, 2), tags: Object.entries(tags).map((tag) => tag.join("=")).join("\n") };
}
