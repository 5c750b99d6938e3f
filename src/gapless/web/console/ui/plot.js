/** Plots over time (uPlot), in the colours of the theme, with what is under the pointer, or newest, in words. */
import { bytes, count, duration } from "../format.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { history, RANGES } from "../samples.js";
import uPlot from "../vendor/uplot.js";

/** @typedef {{label: string, series: import("../samples.js").Series}} Line */

const HEIGHT = 150;
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DECIMAL = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** (power - 1))).flat();
const MINUTE_MS = 60_000;

/** What lies between two ticks, so that they are round in the unit in which they are written. */
const STEPS = new Map(/** @type {[Function, number[]][]} */ ([
  [count, DECIMAL.filter((step) => step >= 1)],
  [bytes, Array.from({ length: 50 }, (_, power) => 2 ** power)],
  [duration, [...DECIMAL.filter((step) => step < MINUTE_MS / 2), ...[0.5, 1, 2, 5, 10, 30, 60, 120, 360, 720, 1_440, 2_880, 10_080].map((minutes) => minutes * MINUTE_MS)]],
]));

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * Several lines with one scale. `unit` writes a value.
 * @param {{title: string, lines: Line[], unit: (value: number | null | undefined) => string}} props
 */
export function Plot({ title, lines, unit }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const data = joined(lines);
  const newest = useRef(data);
  newest.current = data;
  const labels = lines.map((line) => line.label).join("\n");
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, labels.split("\n"), unit, setAt), /** @type {any} */ (newest.current), element);
    };
    let drawing = requestAnimationFrame(() => (drawing = requestAnimationFrame(draw))); // once the numbers stand
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    addEventListener("gapless:theme", draw);
    return () => {
      cancelAnimationFrame(drawing);
      removeEventListener("gapless:theme", draw);
      sized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [labels]);
  useEffect(() => plot.current?.setData(data), [data]);
  const shown = lines.map((_, n) => (at === null ? last(data[n + 1]) : data[n + 1]?.[at]));
  const said = lines.map((line, n) => `${line.label} ${unit(shown[n])}`).join(", ");
  return html`
    <figure class="plot" role="group" aria-label=${`${title}: ${said}`}>
      <figcaption>
        <h3>${title}</h3>
        <ul>
          ${lines.map((line, n) => html`<li key=${line.label}><i class=${`line-${n + 1}`}></i>${line.label} <b>${unit(shown[n])}</b></li>`)}
        </ul>
      </figcaption>
      <div class="canvas" ref=${place} data-from=${data[0][0]} aria-hidden="true"></div>
    </figure>
  `;
}

/** @param {(number | null)[] | undefined} values */
function last(values) {
  return values?.findLast((value) => value != null) ?? null;
}

/**
 * Join lines over all times that any of them has.
 * @param {Line[]} lines
 * @returns {[number[], ...(number | null)[][]]}
 */
function joined(lines) {
  const times = [...new Set(lines.flatMap((line) => line.series[0]))].sort((a, b) => a - b);
  const columns = lines.map(({ series: [at, values] }) => {
    const by = new Map(at.map((time, n) => [time, values[n] ?? null]));
    return times.map((time) => by.get(time) ?? null);
  });
  return [times, ...columns];
}

/**
 * @param {HTMLElement} element
 * @param {string[]} labels
 * @param {(value: number) => string} unit
 * @param {(at: number | null) => void} pointed
 * @returns {uPlot.Options}
 */
function options(element, labels, unit, pointed) {
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const lines = labels.map((label, n) => ({ label, stroke: colour(`--plot-${n + 1}`), width: 1.5, points: { show: false }, spanGaps: false }));
  return {
    width: element.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { range: period }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : 1] } },
    axes: [{ ...axis, size: 28, space: 70, values: (_, ticks) => ticks.map(tick) }, { ...axis, incrs: STEPS.get(unit) ?? DECIMAL, size: 72, values: (_, ticks) => ticks.map(unit) }],
    series: [{}, ...lines],
    hooks: { setCursor: [(plot) => pointed(plot.cursor.idx ?? null)] },
  };
}

/** @param {number} at_s */
function tick(at_s) {
  const days = (RANGES[history.peek().range]?.length_s ?? 0) > 86_400;
  return (days ? DATE : CLOCK).format(at_s * 1_000);
}

/** The whole range, so that plots beside each other show the same time, and none jumps as it fills. @returns {uPlot.Range.MinMax} */
function period() {
  const now_s = Date.now() / 1_000;
  return [now_s - (RANGES[history.peek().range]?.length_s ?? 3_600), now_s];
}
