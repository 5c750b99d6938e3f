/** Begins: what the server says comes first. */
import { html, render } from "./lib.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

try {
  const { App } = await import("./ui/app.js");
  render(html`<${App} />`, root);
} catch (error) {
  console.error(error);
  render(html`<p class="failed" role="alert">The demo could not begin. Is the server there? Then reload the page.</p>`, root);
}
