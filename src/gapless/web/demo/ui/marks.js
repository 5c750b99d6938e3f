/** What the right phone says of a reconnect: what was recovered, or that it could not be. */
import * as kept from "../kept.js";
import { html } from "../lib.js";
import { inTunnel } from "../radio.js";
import { counted, Line } from "./bubble.js";

const NOT_RECOVERED = "Could not recover";

/** How the last absence ended, in a few words. */
export function outcome() {
  const { value: how } = kept.outcome;
  if (inTunnel.value || !how) return { result: "", isGood: false };
  if (!("ms" in how)) return { result: NOT_RECOVERED, isGood: false };
  return { result: `${how.count.toLocaleString("en")} recovered in ${duration(how.ms)}`, isGood: true };
}

/** @param {number} offset */
export const isRecovered = (offset) =>
  kept.marks.value.some(({ after, count }) => after < offset && offset <= after + count);

/**
 * @param {ReadonlyMap<number, kept.Recovered>} marks by the offset after which they stand
 * @param {readonly kept.Message[]} rows
 * @param {number} index
 */
export const markBefore = (marks, rows, index) => marks.get((rows[index]?.offset ?? 0) - 1);

/** @param {{mark?: kept.Recovered | undefined}} props */
export function Mark({ mark }) {
  if (!mark) return null;
  const said = `${counted(mark.count)} recovered in ${duration(mark.ms)}`;
  return html`<${Line} kind="recovery" id=${`mark ${mark.after}`}>${said}<//>`;
}

/** @param {number} ms */
const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString("en")} ms`);

/**
 * Return before which row a lost position is told: where this phone came back. Undefined if that is not shown.
 * @param {readonly kept.Message[]} rows
 */
export function placeOfLost(rows) {
  const { value: lost } = kept.lost;
  if (!lost) return undefined;
  const index = rows.findIndex(({ offset }) => offset > lost.at);
  if (index < 0) return kept.unseen.value ? undefined : rows.length;
  return index > 0 || rows[0]?.offset === lost.at + 1 ? index : undefined;
}

export function LostLine() {
  const { value: lost } = kept.lost;
  return lost && html`<${Line} kind="not-recovered" id="lost">${reason(lost)}<//>`;
}

/** @param {kept.Lost} lost */
function reason({ isOther, gone }) {
  if (isOther) return `${NOT_RECOVERED}: the channel has another history now`;
  const said = `${NOT_RECOVERED}: the position is gone.`;
  return gone ? `${said} ${counted(gone)} or more are not kept any more` : said;
}
