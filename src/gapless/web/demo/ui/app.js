/** The whole page. */
import { about, address } from "../about.js";
import * as kept from "../kept.js";
import { html, signal, useEffect } from "../lib.js";
import { name } from "../name.js";
import * as plain from "../plain.js";
import { Composer } from "./composer.js";
import { Drawer } from "./drawer.js";
import { KeptPhone, PlainPhone } from "./phones.js";
import { Scene } from "./scene.js";

const isOpen = signal(false);
const toggle = () => (isOpen.value = !isOpen.value);

export function App() {
  useEffect(() => {
    kept.start();
    plain.start();
  }, []);
  return html`
    <div class=${isOpen.value ? "page with-drawer" : "page"}>
      <${Bar} />
      <main>
        <header class="intro">
          <h1>A chat, a train and a tunnel</h1>
          <p>
            Two phones on one train show the same conversation. In the tunnel both connections are really cut, and the
            friends go on talking.
          </p>
        </header>
        <${Scene} />
        <${Phones} />
        <${Composer} />
      </main>
      <${Drawer} isOpen=${isOpen.value} close=${toggle} />
    </div>
  `;
}

function Bar() {
  return html`
    <div class="bar">
      <span class="brand"><img src="shared/icon.svg" alt="" width="24" height="24" />
        <span class="brand-name">gapless</span> <span class="muted">demo</span></span
      >
      <span class="me"><span class="you">You are </span><strong>${name}</strong></span>
      <nav aria-label="Demo">
        <a class="button second-tab" href=${location.pathname} target="_blank" rel="noopener">Open a second tab</a>
        ${about.console ? html`<a class="button" href=${address(`${about.console}/`).pathname}>Console</a>` : null}
        <button type="button" aria-expanded=${isOpen.value} aria-controls="how" onClick=${toggle}>How it works</button>
        <button type="button" class="plain theme" aria-label="Light or dark" onClick=${chooseTheme}>◐</button>
      </nav>
    </div>
  `;
}

const chooseTheme = () => dispatchEvent(new Event("gapless:choose-theme"));

/** Which phone is in front, where there is room for one. */
const front = signal("plain");

/** Side by side; on a narrow screen one at a time, chosen by a switch or by swiping. */
function Phones() {
  return html`
    <div class="switch" role="group" aria-label="Phone in front">
      ${Object.entries({ plain: "Without history", kept: "gapless" }).map(
        ([id, title]) => html`
          <button type="button" aria-pressed=${front.value === id} onClick=${() => showPhone(id)}>${title}</button>
        `,
      )}
    </div>
    <div class="phones" onScroll=${swiped}>
      <${PlainPhone} />
      <${KeptPhone} />
    </div>
  `;
}

/** @param {{currentTarget: HTMLElement}} event */
function swiped({ currentTarget: { scrollLeft, clientWidth } }) {
  front.value = scrollLeft > clientWidth / 2 ? "kept" : "plain";
}

/** @param {string} id */
function showPhone(id) {
  document.getElementById(id)?.scrollIntoView({ behavior: "smooth", block: "nearest", inline: "center" });
}
