/** The train, the hill and its tunnel, and the button that sends the train in and out. */
import * as kept from "../kept.js";
import { html, signal, useEffect } from "../lib.js";
import * as plain from "../plain.js";
import { inTunnel } from "../radio.js";
import { enter, entered, leave, side, trouble } from "../ride.js";

const seconds = signal(0);

export function Scene() {
  const inside = inTunnel.value;
  useEffect(() => {
    seconds.value = 0;
    if (!inside) return undefined;
    const timer = setInterval(() => (seconds.value = Math.floor((performance.now() - entered.peek()) / 1000)), 250);
    return () => clearInterval(timer);
  }, [inside]);
  const place = inside ? "inside" : side.value;
  return html`
    <section class=${`scene ${place}`} aria-label="The train">
      <${Landscape} />
      <div class="scene-controls">
        <button type="button" class="primary ride" onClick=${ride}>
          ${inside ? "Out of the tunnel" : "Into the tunnel"}
        </button>
        <p class="scene-state" role="status">
          ${trouble.value || (inside ? `No signal for ${seconds.value} s. The others go on talking.` : outside())}
        </p>
      </div>
    </section>
  `;
}

const outside = () =>
  kept.isConnected.value && plain.isConnected.value ? "Both phones have a signal." : "Connecting …";

function ride() {
  if (inTunnel.peek()) leave();
  else void enter([plain, kept]);
}

function Landscape() {
  return html`
    <svg class="landscape" viewBox="0 0 1000 150" preserveAspectRatio="xMidYMax meet" aria-hidden="true">
      <g class="town">
        <path d="M20 128v-34h22v34zM48 128V80h26v48zM82 128v-26h30v26zM118 128V66h20v62zM146 128V92h34v36zM188 128v-20h24v20z" />
        <path d="M790 128v-24h26v24zM822 128V84h20v44zM850 128v-32h36v32zM892 128V70h22v58zM922 128v-22h28v22zM956 128V88h20v40z" />
      </g>
      <path class="hills" d="M-400 134c260-30 560-56 700-40s150-14 250-14 170 22 260 14 330-6 590 40z" />
      <g class="trees">
        <path d="M262 134v-16M300 134v-20M322 134v-14M690 134v-18M716 134v-14M752 134v-18" />
        <circle cx="262" cy="112" r="9" /><circle cx="300" cy="106" r="12" /><circle cx="322" cy="114" r="8" />
        <circle cx="690" cy="108" r="11" /><circle cx="716" cy="114" r="8" /><circle cx="752" cy="109" r="10" />
      </g>
      <path class="ground" d="M-1000 134h3000v16h-3000z" />
      <path class="rail" d="M-1000 134h3000" />
      <${Train} class="train" />
      <path class="mound" d="M352 134V102C376 52 424 18 500 18s124 34 148 84v32z" />
      <path class="ridge" d="M380 96c20-34 54-58 104-62" />
      <path class="portal" d="M344 134v-34a10 10 0 0 1 10-10h8v44zM656 134v-34a10 10 0 0 0-10-10h-8v44z" />
      <${Train} class="train ghost" />
    </svg>
  `;
}

/** @param {{class: string}} props */
function Train(props) {
  const cars = [0, 62, 124];
  return html`
    <g class=${props.class}>
      ${cars.map(
        (x) => html`
          <g transform=${`translate(${x} 0)`}>
            <rect class="car" x="0" y="101" width="59" height="27" rx="7" />
            <rect class="stripe" x="0" y="118" width="59" height="3" />
            <rect class="window" x="8" y="106" width="11" height="9" rx="2" />
            <rect class="window" x="24" y="106" width="11" height="9" rx="2" />
            <rect class="window" x="40" y="106" width="11" height="9" rx="2" />
            <circle class="wheel" cx="14" cy="130" r="3.5" />
            <circle class="wheel" cx="45" cy="130" r="3.5" />
          </g>
        `,
      )}
    </g>
  `;
}
