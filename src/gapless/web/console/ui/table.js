/** Lists: a table that the keyboard goes through, and that becomes cards where it is narrow. */
import { html, useRef } from "../lib.js";

/**
 * @template Row
 * @typedef {{key: string, title: string, align?: "end", wide?: boolean, cell: (row: Row) => import("../lib.js").Children}} Column
 */

const STEPS = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 });

/**
 * Go from one of some to another, by the keys that do that; from the list itself to the first.
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} all
 */
export function step(event, all) {
  const by = STEPS[event.key];
  if (!by || !all.length) return;
  event.preventDefault();
  const at = all.indexOf(/** @type {HTMLElement} */ (event.target)) + by;
  all[Math.min(Math.max(at, 0), all.length - 1)]?.focus();
}

/**
 * Rows are gone through with the arrow keys; Enter opens one, as a click does.
 * @template Row
 * @param {{label: string, columns: Column<Row>[], rows: Row[], id: (row: Row) => string, open?: (row: Row) => void,
 *   chosen?: string, empty?: import("../lib.js").Children}} props
 */
export function Table({ label, columns, rows, id, open, chosen, empty }) {
  const body = useRef(/** @type {HTMLTableSectionElement | null} */ (null));
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const all = /** @type {HTMLElement[]} */ ([...(body.current?.children ?? [])]);
    const opened = rows[all.indexOf(/** @type {HTMLElement} */ (event.target))];
    if (!opened) return;
    step(event, all);
    if (event.key === "Enter") open?.(opened);
  };
  if (!rows.length) return empty ?? null;
  return html`
    <div class="table">
      <table aria-label=${label}>
        <thead>
          <tr>${columns.map((column) => html`<th scope="col" class=${column.align ?? ""} key=${column.key}>${column.title}</th>`)}</tr>
        </thead>
        <tbody ref=${body} onKeyDown=${onKeyDown}>
          ${rows.map((row, at) => html`<${Row} key=${id(row)} row=${row} columns=${columns} open=${open} first=${at === 0} chosen=${id(row) === chosen} />`)}
        </tbody>
      </table>
    </div>
  `;
}

/** @param {{row: any, columns: Column<any>[], open?: (row: any) => void, first: boolean, chosen: boolean}} props */
function Row({ row, columns, open, first, chosen }) {
  const click = (/** @type {MouseEvent} */ event) => {
    const control = /** @type {HTMLElement} */ (event.target).closest("a, button, input, select");
    if (!control && !getSelection()?.toString()) open?.(row);
  };
  return html`
    <tr tabindex=${first ? 0 : -1} class=${open ? "opens" : ""} aria-current=${chosen || undefined} onClick=${click}>
      ${columns.map((column) => html`<td key=${column.key} data-title=${column.title} class=${`${column.align ?? ""} ${column.wide ? "wide" : ""}`}>${column.cell(row)}</td>`)}
    </tr>
  `;
}
