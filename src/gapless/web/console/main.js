/** Where the console begins. */
import { App } from "./app.js";
import { html, render } from "./lib.js";
import { begin } from "./session.js";

const place = /** @type {HTMLElement} */ (document.getElementById("app"));
place.replaceChildren();
const failed = await begin().then(() => null, (error) => error);
render(html`<${App} failed=${failed} />`, place);
