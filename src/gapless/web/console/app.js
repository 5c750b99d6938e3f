/** The shell: where one can go, who one is, and the screen. */
import { html, useEffect, useState } from "./lib.js";
import { state } from "./live.js";
import { Login } from "./login.js";
import { href, route } from "./route.js";
import { about, logout, session } from "./session.js";
import { Acting } from "./ui/acting.js";
import { Badge, Empty, ErrorNote } from "./ui/basics.js";
import { Keys } from "./ui/keys.js";

/** @typedef {{key: string, letter: string, title: string, load: () => Promise<{Screen: any}>, dev?: boolean}} Screen */

/** @type {Screen[]} */
const SCREENS = [
  { key: "overview", letter: "o", title: "Overview", load: () => import("./screens/overview.js") },
  { key: "channels", letter: "c", title: "Channels", load: () => import("./screens/channels.js") },
  { key: "connections", letter: "n", title: "Connections", load: () => import("./screens/connections.js") },
  { key: "queues", letter: "q", title: "Queues", load: () => import("./screens/queues.js") },
  { key: "streams", letter: "s", title: "Streams", load: () => import("./screens/streams.js") },
  { key: "playground", letter: "p", title: "Playground", load: () => import("./screens/playground.js") },
  { key: "lab", letter: "l", title: "Failure lab", load: () => import("./screens/lab.js"), dev: true },
  { key: "settings", letter: "e", title: "Settings", load: () => import("./screens/settings.js") },
];

const shown = () => SCREENS.filter((screen) => !screen.dev || about.value?.lab);

/** @param {{failed: Error | null}} props */
export function App({ failed }) {
  if (failed) return html`<main class="login"><${ErrorNote} error=${failed} retry=${() => location.reload()} /></main>`;
  if (!session.value) return html`<${Login} />`;
  return html`<${Shell} />`;
}

function Shell() {
  const key = route.value.path[0] ?? "overview";
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} />
    <${Nav} chosen=${key} />
    <main id="main" tabindex="-1"><${Chosen} key=${key} screen=${key} /></main>
    <${Acting} />
    <${Keys} places=${Object.fromEntries(shown().map((screen) => [screen.letter, screen]))} />
  `;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault(); // the address tells the place, so it cannot tell an anchor
  document.getElementById("main")?.focus();
}

function Header() {
  const { name, role } = session.value ?? { name: "", role: "" };
  return html`
    <header class="top">
      <a class="brand" href=${href(["overview"])}><img src="shared/icon.svg" alt="" width="24" height="24" />gapless</a>
      <${Connected} />
      <span class="who">${name && html`<span>${name}</span>`}${role === "read_only" && html`<${Badge}>read-only<//>`}</span>
      ${about.value?.demo && html`<a href="../demo/">Demo</a>`}
      <button type="button" class="plain wide-only" aria-label="Keys" title="Keys (?)"
        onClick=${() => dispatchEvent(new Event("gapless:keys"))}>?</button>
      <button type="button" class="plain" aria-label="Light or dark" title="Light or dark"
        onClick=${() => dispatchEvent(new Event("gapless:choose-theme"))}>◐</button>
      ${about.value?.login && html`<button type="button" class="plain" onClick=${logout}>Log out</button>`}
    </header>
  `;
}

function Connected() {
  const tone = state.value === "connected" ? "good" : "warn";
  return html`<span class="connected" role="status"><i class=${tone}></i>${state.value === "connected" ? "live" : state.value}</span>`;
}

/** @param {{chosen: string}} props */
function Nav({ chosen }) {
  return html`
    <nav aria-label="Screens">
      <ul>
        ${shown().map(({ key, title }) => html`
          <li key=${key}><a href=${href([key])} aria-current=${key === chosen ? "page" : undefined}>${title}</a></li>
        `)}
      </ul>
    </nav>
  `;
}

/** A screen's module comes when it is first looked at. @param {{screen: string}} props */
function Chosen({ screen }) {
  const [loaded, setLoaded] = useState(/** @type {{Screen: any} | null} */ (null));
  const [failed, setFailed] = useState(/** @type {Error | null} */ (null));
  const known = shown().find(({ key }) => key === screen);
  useEffect(() => {
    document.title = `${known?.title ?? "Nothing here"} · gapless`;
    known?.load().then(setLoaded, setFailed);
  }, [screen]);
  if (!known) return html`<${Empty} title="There is no such screen"><a href=${href(["overview"])}>Go to the overview</a><//>`;
  if (failed) return html`<${ErrorNote} error=${failed} retry=${() => location.reload()} />`;
  return loaded && html`<${loaded.Screen} path=${route.value.path.slice(1)} />`;
}
