/** Numbers, sizes and times as people read them; always in the same width class, so that nothing jumps. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const NOTHING = "–";

/** @param {number | null | undefined} value */
export function count(value) {
  if (value == null) return NOTHING;
  return Math.abs(value) >= 1e6 ? short.format(value) : whole.format(value);
}

/** An offset, or another number that names something: all of its digits count. @param {number | null | undefined} value */
export function digits(value) {
  return value == null ? NOTHING : whole.format(value);
}

/** @param {number | null | undefined} value */
export function rate(value) {
  if (value == null) return NOTHING;
  return value !== 0 && Math.abs(value) < 10 ? tenth.format(value) : count(value);
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value == null) return NOTHING;
  const step = Math.min(SIZES.length - 1, value < 1 ? 0 : Math.floor(Math.log2(value) / 10));
  return `${step ? tenth.format(value / 1024 ** step) : whole.format(value)} ${SIZES[step]}`;
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms == null) return NOTHING;
  if (ms > 0 && ms < 0.05) return "<0.1 ms";
  if (ms < 9.95 && ms % 1) return `${tenth.format(ms)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${tenth.format(ms / 1_000)} s`;
  const seconds = Math.round(ms / 1_000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number | null | undefined} at_ms */
export function time(at_ms) {
  if (!at_ms) return NOTHING;
  const today = new Date().toDateString() === new Date(at_ms).toDateString();
  return (today ? clock : day).format(at_ms);
}

/** @param {number | null | undefined} at_ms */
export function exactly(at_ms) {
  return at_ms ? new Date(at_ms).toISOString() : "";
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** @param {unknown} data @returns {string} what is shown of a payload on one line */
export function oneLine(data) {
  return typeof data === "string" ? data : (JSON.stringify(data) ?? "");
}
