/** How far back the plots of a screen go; it stands in the address. */
import { html } from "../lib.js";
import { refine } from "../route.js";
import { RANGES, useSamples } from "../samples.js";
import { useChosen } from "./basics.js";

/** Keep the samples of the chosen range, and return which that is. */
export function useRange() {
  const range = useChosen("range", "1h");
  useSamples(range);
  return range;
}

/** @param {{chosen: string}} props */
export function Range({ chosen }) {
  return html`
    <div class="choice" role="group" aria-label="Time range of the plots">
      ${Object.entries(RANGES).map(([key, { title }]) => html`
        <button type="button" key=${key} aria-pressed=${key === chosen} onClick=${() => refine({ range: key })}>${title}</button>
      `)}
    </div>
  `;
}
