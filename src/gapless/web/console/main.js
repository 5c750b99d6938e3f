/** Where the console begins. */
import { App } from "./app.js";
import { begun } from "./begin.js";
import { html, render } from "./lib.js";

const place = /** @type {HTMLElement} */ (document.getElementById("app"));
const failed = await begun;
place.replaceChildren();
render(html`<${App} failed=${failed} />`, place);
