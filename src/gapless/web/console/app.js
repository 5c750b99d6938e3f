/** The shell: where one can go, who one is, and the screen. */
import { html, useEffect, useRef } from "./lib.js";
import { client, state } from "./live.js";
import { Login } from "./login.js";
import { href, route } from "./route.js";
import { Screen as Channels } from "./screens/channels.js";
import { Screen as Connections } from "./screens/connections.js";
import { Screen as Lab } from "./screens/lab.js";
import { Screen as Overview } from "./screens/overview.js";
import { Screen as Playground } from "./screens/playground.js";
import { Screen as Queues } from "./screens/queues.js";
import { Screen as Settings } from "./screens/settings.js";
import { Screen as Streams } from "./screens/streams.js";
import { about, logout, session } from "./session.js";
import { Acting } from "./ui/acting.js";
import { Badge, Empty, ErrorNote, intoView } from "./ui/basics.js";
import { Keys } from "./ui/keys.js";

/** @typedef {{key: string, letter: string, title: string, Screen: any, dev?: boolean}} Screen */

/** @type {Screen[]} */
const SCREENS = [
  { key: "overview", letter: "o", title: "Overview", Screen: Overview },
  { key: "channels", letter: "c", title: "Channels", Screen: Channels },
  { key: "connections", letter: "n", title: "Connections", Screen: Connections },
  { key: "queues", letter: "q", title: "Queues", Screen: Queues },
  { key: "streams", letter: "s", title: "Streams", Screen: Streams },
  { key: "playground", letter: "p", title: "Playground", Screen: Playground },
  { key: "lab", letter: "l", title: "Failure lab", Screen: Lab, dev: true },
  { key: "settings", letter: "e", title: "Settings", Screen: Settings },
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
  useArrival(route.value.path.join("/"));
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} />
    <${Nav} chosen=${key} />
    <main id="main" tabindex="-1"><${Chosen} key=${key} screen=${key} /></main>
    <${Acting} />
    <${Keys} places=${Object.fromEntries(shown().map((screen) => [screen.letter, screen]))} />
  `;
}

/** Begin at the top of another place, for the keyboard too where what had the focus is gone. @param {string} place */
function useArrival(place) {
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    scrollTo(0, 0);
    if (document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
  }, [place]);
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
  return html`<span class="connected" role="status"><i class=${tone}></i>${state.value === "connected" ? "live" : state.value}</span>
    ${state.value === "disconnected" && html`<button type="button" onClick=${() => client.value?.connect()}>Connect</button>`}`;
}

/** @param {{chosen: string}} props */
function Nav({ chosen }) {
  const nav = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => intoView(nav.current, nav.current?.querySelector("[aria-current]")), [chosen]);
  return html`
    <nav aria-label="Screens" ref=${nav}>
      <ul>
        ${shown().map(({ key, title }) => html`
          <li key=${key}><a href=${href([key])} aria-current=${key === chosen ? "page" : undefined}>${title}</a></li>
        `)}
      </ul>
    </nav>
  `;
}

/** @param {{screen: string}} props */
function Chosen({ screen }) {
  const known = shown().find(({ key }) => key === screen);
  useEffect(() => {
    document.title = `${known?.title ?? "Nothing here"} · gapless`;
  }, [screen]);
  if (!known) return html`<${Empty} title="There is no such screen"><a href=${href(["overview"])}>Go to the overview</a><//>`;
  return html`<${known.Screen} path=${route.value.path.slice(1)} />`;
}
