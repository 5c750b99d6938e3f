/** How it works: the lines of this page that do it, and what goes over the wire. */
import { frames } from "../frames.js";
import { html, signal, useEffect, useRef } from "../lib.js";
import { Code } from "./code.js";
import { steps } from "./steps.js";

const tab = signal(/** @type {"code" | "frames"} */ ("code"));

/** @param {{isOpen: boolean, close: () => void}} props */
export function Drawer({ isOpen, close }) {
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!isOpen) return undefined;
    const opener = document.activeElement;
    heading.current?.focus();
    return () => opener instanceof HTMLElement && opener.focus();
  }, [isOpen]);
  if (!isOpen) return html`<aside id="how" hidden></aside>`;
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && close();
  return html`
    <aside id="how" class="drawer" aria-labelledby="how-title" onKeyDown=${onKeyDown}>
      <div class="drawer-head">
        <h2 id="how-title" tabindex="-1" ref=${heading}>How it works</h2>
        <button type="button" class="plain" aria-label="Close" onClick=${close}>✕</button>
      </div>
      <div class="tabs" role="group" aria-label="What to show">
        <button type="button" aria-pressed=${tab.value === "code"} onClick=${() => (tab.value = "code")}>The code</button>
        <button type="button" aria-pressed=${tab.value === "frames"} onClick=${() => (tab.value = "frames")}>
          The wire
        </button>
      </div>
      ${tab.value === "code" ? html`<${Steps} />` : html`<${Frames} />`}
    </aside>
  `;
}

function Steps() {
  return html`
    <div class="steps">
      <p class="muted">The public SDK, unchanged. These are the very lines that this page runs.</p>
      <p class="muted">For company, open <a href=${location.pathname} target="_blank" rel="noopener">${location.href}</a> once more.</p>
      ${steps.map(
        ({ title, text, file, part }, index) => html`
          <details key=${part} open=${index < 2}>
            <summary>${title}</summary>
            <p>${text}</p>
            <${Code} file=${file} part=${part} />
          </details>
        `,
      )}
    </div>
  `;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const WAYS = { out: "↑", in: "↓", event: "•" };
const WAYS_SAID = { out: "sent", in: "received", event: "" };

function Frames() {
  return html`
    <p class="muted small frames-note">Newest first. What both phones sent and received, each frame as it was.</p>
    <ol class="frames" aria-label="Frames" reversed>
      ${[...frames.value].reverse().map(
        (frame) => html`
          <li key=${frame.key} class=${`frame ${frame.phone} ${frame.way}`}>
            <details>
              <summary>
                <span class="phone-tag">${frame.phone === "kept" ? "gapless" : "plain"}</span>
                <span aria-hidden="true">${WAYS[frame.way]}</span>
                <span class="sr-only">${WAYS_SAID[frame.way]}</span>
                <span class="kind">${frame.kind}</span>
                <time class="muted">${CLOCK.format(frame.at)}</time>
              </summary>
              ${frame.text ? html`<pre>${pretty(frame.text)}</pre>` : null}
            </details>
          </li>
        `,
      )}
    </ol>
  `;
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // too long to be shown whole
  }
}
