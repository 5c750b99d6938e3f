/** What is said, as this page understands it: of what others send, only what has the right form. */

/** @typedef {import("./timeline.js").Message} Message */

let nameless = 0;

const NAME_CHARACTERS_MAX = 40;
const TEXT_CHARACTERS_MAX = 2_000;

/** @param {unknown} value @param {number} most */
const text = (value, most) => (typeof value === "string" ? value.slice(0, most) : "");

/**
 * @param {any} data
 * @param {{offset?: number | undefined, client?: string | undefined, name?: unknown}} [known] what the server says
 * @returns {Message}
 */
export function messageOf(data, known = {}) {
  const offset = known.offset ?? 0;
  const id = text(data?.id, 64);
  return {
    offset,
    id: id || (offset ? `at ${offset}` : `nameless ${nameless++}`),
    isNamed: Boolean(id),
    name: text(known.name, NAME_CHARACTERS_MAX) || text(data?.name, NAME_CHARACTERS_MAX) || "somebody",
    text: text(data?.text ?? data, TEXT_CHARACTERS_MAX) || JSON.stringify(data ?? null).slice(0, TEXT_CHARACTERS_MAX),
    at: Number.isFinite(data?.at) ? data.at : 0,
    client: known.client ?? "",
  };
}

/** @param {any} publication of the SDK */
export const received = (publication) =>
  messageOf(publication.data, {
    offset: publication.offset,
    client: publication.info?.client,
    name: publication.info?.chanInfo?.name,
  });

/** @param {any} item of the messages API */
export const read = (item) =>
  messageOf(item.data, {
    offset: item.offset,
    client: item.publisher?.client,
    name: item.publisher?.chan_info?.name,
  });
