/** What the keyboard does everywhere: going to a screen, searching, and a dialog that tells what the keys are. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { go } from "../route.js";
import { Dialog } from "./acting.js";

/** @typedef {{key: string, title: string}} Place */

const GOING_MS = 1_500; // for the letter after `g`

/** What the keys do within lists and forms, wherever these are. */
const EVERYWHERE = [
  ["/", "Search on this screen"],
  ["?", "Show these keys"],
  ["↑ ↓", "Go through a list; Page Up, Page Down, Home and End too"],
  ["Enter", "Open what is chosen in a list"],
  ["← →", "Go through tabs"],
  ["Esc", "Close a dialog"],
];

/**
 * Listen to the keys, and show what they are. `places` are the screens by their letters.
 * @param {{places: Record<string, Place>}} props
 */
export function Keys({ places }) {
  const [shown, setShown] = useState(false);
  const latest = useRef(places);
  latest.current = places;
  // Before anything is painted: who sees the screen may press a key.
  useLayoutEffect(() => listen(() => latest.current, () => setShown(true)), []);
  useEffect(() => {
    const show = () => setShown(true);
    addEventListener("gapless:keys", show);
    return () => removeEventListener("gapless:keys", show);
  }, []);
  return shown && html`<${Help} places=${places} close=${() => setShown(false)} />`;
}

/**
 * @param {() => Record<string, Place>} places
 * @param {() => void} help
 * @returns {() => void} what ends it
 */
function listen(places, help) {
  let going_until = 0;
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isBusy(event.target)) return;
    const place = event.timeStamp < going_until ? places()[event.key] : undefined;
    going_until = !place && event.key === "g" ? event.timeStamp + GOING_MS : 0;
    if (place) go([place.key]);
    else if (event.key === "?") help();
    else if (event.key === "/" && search()) event.preventDefault(); // or the slash would be typed there
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

/** Somebody types, or is asked something. @param {EventTarget | null} target */
function isBusy(target) {
  const typing = target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]");
  return Boolean(typing || document.querySelector("dialog[open]"));
}

/** Go to the field by which the screen is searched. @returns {boolean} whether there is one */
function search() {
  /** @type {HTMLInputElement | null} */
  const field = document.querySelector("main input[type=search], main [data-search]");
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** @param {{places: Record<string, Place>, close: () => void}} props */
function Help({ places, close }) {
  const going = Object.entries(places).map(([letter, { title }]) => [`g ${letter}`, title]);
  return html`
    <${Dialog} title="Keys" close=${close}>
      <div class="columns keys">
        <${Listed} title="Everywhere" keys=${EVERYWHERE} />
        <${Listed} title="Go to" keys=${going} />
      </div>
    <//>
  `;
}

/** @param {{title: string, keys: string[][]}} props */
function Listed({ title, keys }) {
  return html`
    <section>
      <h3>${title}</h3>
      <dl class="facts">
        ${keys.map(([key, what]) => html`<dt key=${key}><kbd>${key}</kbd></dt><dd>${what}</dd>`)}
      </dl>
    </section>
  `;
}
