/** A fault: what it does, what to expect, and which promise that is. */
import { html } from "../../lib.js";
import { Panel } from "../../ui/basics.js";

/** @param {{title: string, expect: string, promise: string, children?: import("../../lib.js").Children}} props `promise` is named as the guarantees name it */
export function Card({ title, expect, promise, children }) {
  return html`
    <${Panel} title=${title}>
      <div class="stack">
        <p>${expect}</p>
        <p class="muted small">The promise: <q>${promise}</q></p>
        ${children}
      </div>
    <//>
  `;
}
