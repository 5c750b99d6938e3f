/**
 * How a reconnect went: how many messages came that were missed, and how long that took. It begins when the
 * subscription with the old position is sent, and ends when the page has the last message that was missed.
 */

// A reply so long may be the first page of several: then the channel's end tells how far the others go.
const PAGE_CHARACTERS_MIN = 24 * 1024;

/** @typedef {{after: number, count: number, ms: number}} Recovered */

/**
 * What came after the offset `after` is not all kept any more; the channel ended at the offset `at` when that was
 * told. `gone` is how many are not kept, once that is known. Another history has offsets of its own.
 * @typedef {{after: number, at: number, isOther: boolean, gone?: number}} Lost
 */

/**
 * @param {Lost | null} lost
 * @param {number} oldest the offset of the oldest message that is kept
 * @returns {Lost | null}
 */
export function withGone(lost, oldest) {
  if (!lost || lost.isOther || lost.gone !== undefined) return lost;
  return { ...lost, gone: Math.max(0, oldest - lost.after - 1) };
}

/**
 * @param {(recovered: Recovered) => void} told
 * @param {(lost: Lost) => void} tellLost
 * @param {() => Promise<number>} end asks where the channel ends
 */
export function recovery(told, tellLost, end) {
  let command = 0;
  let sentMs = 0;
  let after = 0;
  let epoch = "";
  let until = 0;
  let isAsking = false;
  /** @type {{offset: number, atMs: number}[]} */
  let taken = [];

  const finishIfDone = () => {
    if (!command || isAsking || (taken.at(-1)?.offset ?? after) < until) return;
    const missed = taken.filter(({ offset }) => offset <= until);
    command = 0;
    told({ after, count: missed.length, ms: (missed.at(-1)?.atMs ?? performance.now()) - sentMs });
  };

  const ask = async () => {
    isAsking = true;
    until = Math.max(until, await end().catch(() => 0));
    isAsking = false;
    finishIfDone();
  };

  return {
    /** @param {any} said a command */
    sent(said) {
      if (!said.subscribe?.recover) return;
      command = said.id;
      sentMs = performance.now();
      after = said.subscribe.offset ?? 0;
      epoch = said.subscribe.epoch ?? "";
      until = Number.POSITIVE_INFINITY;
      taken = [];
    },

    /** @param {any} said a reply @param {string} text */
    received(said, text) {
      if (!command || said.id !== command) return;
      const { subscribe } = said;
      if (!subscribe?.recovered) {
        command = 0;
        if (subscribe) tellLost({ after, at: subscribe.offset ?? 0, isOther: (subscribe.epoch ?? "") !== epoch });
        return;
      }
      until = subscribe.publications?.at(-1)?.offset ?? after;
      if (text.length > PAGE_CHARACTERS_MIN) void ask();
      else finishIfDone();
    },

    /** @param {number} offset of a message that the page has now */
    took(offset) {
      if (!command) return;
      taken.push({ offset, atMs: performance.now() });
      finishIfDone();
    },
  };
}
