/** Going through what does not fit on one page. Each page has its address, so the browser's Back leads back. */
import { html } from "../lib.js";
import { href, route } from "../route.js";
import { useChosen } from "./basics.js";

/**
 * `next` is where the next page begins, "" if this is the last.
 * @param {{next: string | undefined, name?: string, label: string}} props
 */
export function Pages({ next, name = "after", label }) {
  const here = useChosen(name);
  if (!here && !next) return null;
  const { path, query } = route.value;
  return html`
    <nav class="pages" aria-label=${label}>
      ${here && html`<a href=${href(path, { ...query, [name]: "" })}>First page</a>`}
      ${next ? html`<a href=${href(path, { ...query, [name]: next })}>Next page</a>` : html`<span class="muted">This is the last page.</span>`}
    </nav>
  `;
}
