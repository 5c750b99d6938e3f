/** The pieces that every screen is made of. */
import { exactly, time } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { enter, formless, go, refine, route } from "../route.js";

/** @typedef {import("../lib.js").Children} Children */

/** @param {{title: Children, lead?: Children, actions?: Children, children?: Children}} props */
export function Page({ title, lead, actions, children }) {
  return html`
    <header class="page-head">
      <div>
        <h1 tabindex="-1">${title}</h1>
        ${lead && html`<p class="muted">${lead}</p>`}
      </div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </header>
    ${children}
  `;
}

/** @param {{title?: Children, aside?: Children, class?: string, children?: Children}} props */
export function Panel({ title, aside, class: kind = "", children }) {
  return html`
    <section class=${`panel ${kind}`}>
      ${(title || aside) && html`<header><h2>${title}</h2>${aside && html`<div class="actions">${aside}</div>`}</header>`}
      ${children}
    </section>
  `;
}

/**
 * A number that matters, with what it is.
 * @param {{label: string, value: Children, note?: Children, tone?: "good" | "warn" | "bad" | "", href?: string}} props
 */
export function Stat({ label, value, note, tone = "", href }) {
  const inside = html`<dt>${label}</dt><dd class=${tone}>${value}</dd><dd class="note" title=${typeof note === "string" ? note : undefined}>${note || "\u00a0"}</dd>`;
  return href ? html`<a class="stat" href=${href}><dl>${inside}</dl></a>` : html`<dl class="stat">${inside}</dl>`;
}

/** @param {{tone?: "good" | "warn" | "bad" | "" | "accent", children?: Children, title?: string}} props */
export function Badge({ tone = "", children, title }) {
  return html`<span class=${`badge ${tone}`} title=${title}>${children}</span>`;
}

/**
 * What stands where nothing is: why, and what to do.
 * @param {{title: string, children?: Children}} props
 */
export function Empty({ title, children }) {
  return html`<div class="empty"><h3>${title}</h3>${children && html`<div class="muted">${children}</div>`}</div>`;
}

/** @param {{error: Error | null, retry?: () => void}} props */
export function ErrorNote({ error, retry }) {
  if (!error) return null;
  return html`
    <div class="note bad" role="alert">
      <span>${error.message}</span>
      ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
    </div>
  `;
}

/**
 * What was loaded, or why not, or that it is on its way.
 * @template T
 * @param {{loaded: import("../loading.js").Loaded<T>, children: (data: T) => Children}} props
 */
export function Loaded({ loaded, children }) {
  const { data, error, reload } = loaded;
  const note = html`<${ErrorNote} error=${error.value} retry=${reload} />`;
  if (data.value === null) return error.value ? note : html`<div class="loading" role="status">Loading …</div>`;
  return html`${note}${children(data.value)}`;
}

/** @param {{at_ms: number | null | undefined}} props */
export function Time({ at_ms }) {
  return html`<time datetime=${exactly(at_ms)} title=${exactly(at_ms)}>${time(at_ms)}</time>`;
}

/**
 * A labelled control. `children` is one control with the id that the field has.
 * @param {{label: string, id: string, hint?: Children, children?: Children}} props
 */
export function Field({ label, id, hint, children }) {
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children}
      ${hint && html`<p class="hint">${hint}</p>`}
    </div>
  `;
}

/**
 * Tabs whose choice stands in the address, as `name`; what belongs to one of them alone is forgotten with it.
 * @param {{name?: string, tabs: [string, Children][], label: string, forget?: string[]}} props
 */
export function Tabs({ name = "tab", tabs, label, forget = [] }) {
  const chosen = useOneOf(tabs, name);
  const choose = (/** @type {string} */ key) => (key === chosen ? refine : enter)({ ...formless(), ...Object.fromEntries(forget.map((each) => [each, ""])), [name]: key });
  const move = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = tabs.findIndex(([key]) => key === chosen);
    const [next] = tabs[(at + step + tabs.length) % tabs.length] ?? tabs[0] ?? [""];
    choose(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  useEffect(() => {
    const tab = document.getElementById(`tab-${chosen}`);
    intoView(tab?.parentElement, tab);
  }, [chosen]);
  return html`
    <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>
      ${tabs.map(
        ([key, title]) => html`
          <button type="button" role="tab" id=${`tab-${key}`} key=${key} aria-selected=${key === chosen}
            tabindex=${key === chosen ? 0 : -1} onClick=${() => choose(key)}>${title}</button>
        `,
      )}
    </div>
  `;
}

/**
 * Where it is narrow, a list is scrolled to what is chosen in it.
 * @param {Element | null | undefined} list
 * @param {HTMLElement | null | undefined} chosen
 */
export function intoView(list, chosen) {
  if (list && chosen) list.scrollLeft = chosen.getBoundingClientRect().left - list.getBoundingClientRect().left + list.scrollLeft - 48;
}

/**
 * Return which of some the address says: the first unless it is one of them.
 * @param {[string, ...unknown[]][]} known
 * @param {string} [name]
 */
export function useOneOf(known, name = "tab") {
  const said = useChosen(name);
  return known.some(([key]) => key === said) ? said : (known[0]?.[0] ?? "");
}

/**
 * Return what the address says of `name`, or else `otherwise`.
 * @param {string} name
 * @param {string} [otherwise]
 */
export function useChosen(name, otherwise = "") {
  return route.value.query[name] ?? otherwise;
}

/**
 * A field to search by, whose text stands in the address.
 * @param {{name?: string, label: string, placeholder?: string}} props
 */
export function Search({ name = "q", label, placeholder }) {
  const text = useChosen(name);
  return html`<input type="search" class="search" aria-label=${label} placeholder=${placeholder ?? label} value=${text}
    onInput=${(/** @type {any} */ event) => refine({ [name]: event.target.value, after: "" })} />`;
}

/**
 * A field in which one names something and goes there.
 * @param {{label: string, place: string, button?: string}} props
 */
export function GoTo({ label, place, button = "Open" }) {
  const [name, setName] = useState("");
  const open = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (name) go([place, name]);
  };
  return html`
    <form class="row" onSubmit=${open}>
      <input aria-label=${label} placeholder=${label} value=${name} onInput=${(/** @type {any} */ event) => setName(event.target.value)} />
      <button type="submit" disabled=${!name}>${button}</button>
    </form>
  `;
}

/** A payload, as text; `data` is any JSON. @param {{data: unknown}} props */
export function Json({ data }) {
  return html`<pre class="json" tabindex="0">${typeof data === "string" ? data : JSON.stringify(data, null, 2)}</pre>`;
}

/** @param {{value: number, max: number, label: string}} props */
export function Progress({ value, max, label }) {
  return html`<div class="progress"><progress value=${value} max=${Math.max(max, 1)} aria-label=${label}></progress><span>${label}</span></div>`;
}
