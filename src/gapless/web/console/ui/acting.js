/** Acting: buttons that only operators can press, being asked before what cannot be undone, and hearing what came of it. */
import { html, signal, useEffect, useRef, useState } from "../lib.js";
import { isOperator } from "../session.js";

/** @typedef {import("../lib.js").Children} Children */
/** @typedef {{title: string, body?: Children, word?: string, button: string, danger?: boolean}} Question */

const TOASTS_MAX = 4;
const TOAST_MS = 6_000;

/** @type {import("../lib.js").Signal<{id: number, text: string, tone: "good" | "bad"}[]>} */
const toasts = signal([]);
/** @type {import("../lib.js").Signal<(Question & {answer: (yes: boolean) => void}) | null>} */
const question = signal(null);
let told = 0;

addEventListener("hashchange", () => question.peek()?.answer(false)); // it was asked of another place

/**
 * Say what came of something, for a while.
 * @param {string} text
 * @param {"good" | "bad"} [tone]
 */
export function tell(text, tone = "good") {
  const id = ++told;
  toasts.value = [...toasts.value, { id, text, tone }].slice(-TOASTS_MAX);
  setTimeout(() => (toasts.value = toasts.value.filter((toast) => toast.id !== id)), TOAST_MS);
}

/**
 * Ask before something is done; where a `word` is given, it has to be typed.
 * @param {Question} asked
 * @returns {Promise<boolean>}
 */
export function confirmed(asked) {
  question.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (/** @type {boolean} */ yes) => {
      question.value = null;
      resolve(yes);
    };
    question.value = { ...asked, answer };
  });
}

/**
 * A button that acts: pressed once at a time, its failure told, and not to be pressed by who may only read.
 * @param {{act: () => Promise<string | void>, ask?: Question, disabled?: boolean, class?: string, label?: string,
 *   type?: "button" | "submit", children?: Children}} props `act` returns what to tell
 */
export function Act({ act, ask, disabled = false, class: kind = "", label, type = "button", children }) {
  const [acting, setActing] = useState(false);
  const press = async () => {
    if (acting || (ask && !(await confirmed(ask)))) return;
    setActing(true);
    await carried(act);
    setActing(false);
  };
  const reader = !isOperator.value;
  const why = reader ? "Your role is read-only: an operator can do this." : undefined;
  return html`<button type=${type} class=${kind} aria-label=${label} title=${why} aria-busy=${acting}
    disabled=${disabled || acting || reader} onClick=${press}>${children}</button>`;
}

/**
 * Do something and tell what came of it.
 * @param {() => Promise<string | void>} act
 */
export async function carried(act) {
  try {
    const done = await act();
    if (done) tell(done);
  } catch (error) {
    tell(/** @type {Error} */ (error).message, "bad");
  }
}

/** What is being told, and asked. Stands once, in the shell. */
export function Acting() {
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${toasts.value.map((toast) => html`<p class=${`toast ${toast.tone}`} key=${toast.id}>${toast.text}</p>`)}
    </div>
    ${question.value && html`<${Ask} key=${question.value.title} ...${question.value} />`}
  `;
}

/** @param {Question & {answer: (yes: boolean) => void}} props */
function Ask({ title, body, word, button, danger, answer }) {
  const [typed, setTyped] = useState("");
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    answer(true);
  };
  return html`
    <${Dialog} title=${title} close=${() => answer(false)}>
      <form onSubmit=${submit}>
        ${body && html`<div class="text">${body}</div>`}
        ${word && html`
          <div class="field">
            <label for="word">Type <strong class="mono">${word}</strong> to confirm</label>
            <input id="word" autofocus autocomplete="off" value=${typed} onInput=${(/** @type {any} */ event) => setTyped(event.target.value)} />
          </div>
        `}
        <div class="actions end">
          <button type="button" onClick=${() => answer(false)}>Cancel</button>
          <button type="submit" class=${danger ? "danger" : "primary"} disabled=${!!word && typed !== word}>${button}</button>
        </div>
      </form>
    <//>
  `;
}

/**
 * A dialog over the page, which Escape closes; the keyboard goes on where it was.
 * @param {{title: string, close: () => void, wide?: boolean, children?: Children}} props
 */
export function Dialog({ title, close, wide = false, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  const cancel = (/** @type {Event} */ event) => {
    event.preventDefault();
    close();
  };
  const closed = () => dialog.current?.showModal(); // by a browser that lets no page prevent it twice: `close` may have asked
  return html`
    <dialog ref=${dialog} class=${wide ? "wide" : ""} aria-label=${title} onCancel=${cancel} onClose=${closed}>
      <header>
        <h2>${title}</h2>
        <button type="button" class="plain" aria-label="Close" onClick=${close}>✕</button>
      </header>
      ${children}
    </dialog>
  `;
}
