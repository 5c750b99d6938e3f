/** What can be broken for a while: the connection of a client, the store, the bus. */
import { call } from "../../api.js";
import { html, useState } from "../../lib.js";
import { useCall } from "../../loading.js";
import { Act } from "../../ui/acting.js";
import { Badge, Field } from "../../ui/basics.js";
import { Left } from "../../ui/ticking.js";
import { Card } from "./card.js";

/** @typedef {{until_ms?: number, delay_ms?: number}} Fault */
/** @typedef {{client: string, user: string, name: string, address: string, watches: boolean}} Connection */

const CONNECTIONS_MS = 5_000;
const CONNECTIONS_MAX = 100;
const DELAYS_MS = [100, 500, 2_000];
const LENGTHS_MS = [5_000, 10_000, 30_000];

/** Cut a connection, that of the observer first. @param {{own: string}} props */
export function Cut({ own }) {
  const [picked, setPicked] = useState("");
  const { data } = useCall("connection/list", { limit: CONNECTIONS_MAX }, CONNECTIONS_MS);
  /** @type {Connection[]} */
  const others = (data.value?.connections ?? []).filter((/** @type {Connection} */ each) => each.client !== own);
  const client = others.some((each) => each.client === picked) ? picked : own || others[0]?.client || "";
  const cut = async () => {
    await call("lab/cut", { client });
    return `Cut ${client === own ? "the reader above" : client}.`;
  };
  return html`
    <${Card} title="Cut a client" promise="Every stored message … once per presented position" expect="The socket ends without a word. The SDK connects again, presents its position, and gets what it missed: in order, once.">
      <${Field} label="Whose connection" id="cut">
        <select id="cut" value=${client} onChange=${(/** @type {any} */ event) => setPicked(event.target.value)}>
          ${own && html`<option value=${own} selected=${client === own}>The reader above</option>`}
          ${others.map((each) => html`<option key=${each.client} value=${each.client} selected=${client === each.client}>${named(each)}</option>`)}
          ${!own && !others.length && html`<option value="">Nobody is connected</option>`}
        </select>
      <//>
      <div class="actions"><${Act} class="danger" act=${cut} disabled=${!client}>Cut it<//></div>
    <//>
  `;
}

/** @param {Connection} connection */
function named({ client, user, name, watches }) {
  return `${watches ? "a console" : user || "somebody anonymous"}, ${name || "?"}, ${client.slice(0, 8)}`;
}

/** Let the store take longer. @param {{fault?: Fault}} props */
export function Delay({ fault }) {
  const [delay_ms, setDelay] = useState(DELAYS_MS[1]);
  const [for_ms, setFor] = useState(LENGTHS_MS[1]);
  const run = async () => void (await call("lab/delay_store", { delay_ms, for_ms }));
  return html`
    <${Card} title="Delay the store" promise="An acknowledged message survives" expect="What is published waits, as it is acknowledged only once it is stored. Then all of it arrives, in order; nothing is lost or doubled.">
      <div class="row">
        <${Length} label="Delay" lengths=${DELAYS_MS} value=${delay_ms} set=${setDelay} />
        <${Length} label="For" id="delay-for" lengths=${LENGTHS_MS} value=${for_ms} set=${setFor} />
      </div>
      <${Running} fault=${fault}><${Act} class="danger" act=${run}>Delay it<//><//>
    <//>
  `;
}

/** Let nobody ring. @param {{fault?: Fault}} props */
export function Drop({ fault }) {
  const [for_ms, setFor] = useState(LENGTHS_MS[1]);
  const run = async () => void (await call("lab/drop_bus", { for_ms }));
  return html`
    <${Card} title="Drop the bus" promise="Every stored message … reaches every reader" expect="Nobody is told when something is stored: the bus is a doorbell, and the store the truth. Readers find what is missing at the next look, in order.">
      <div class="row"><${Length} label="For" id="drop-for" lengths=${LENGTHS_MS} value=${for_ms} set=${setFor} /></div>
      <${Running} fault=${fault}><${Act} class="danger" act=${run}>Drop it<//><//>
    <//>
  `;
}

/** @param {{label: string, id?: string, lengths: number[], value: number | undefined, set: (ms: number) => void}} props */
function Length({ label, id = `length-${label.toLowerCase()}`, lengths, value, set }) {
  return html`
    <${Field} label=${label} id=${id}>
      <select id=${id} value=${value} onChange=${(/** @type {any} */ event) => set(Number(event.target.value))}>
        ${lengths.map((ms) => html`<option key=${ms} value=${ms} selected=${ms === value}>${ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`}</option>`)}
      </select>
    <//>
  `;
}

/** The button, and while the fault is on, for how long it still is. @param {{fault?: Fault, children?: import("../../lib.js").Children}} props */
function Running({ fault, children }) {
  return html`
    <div class="actions">
      ${children}
      ${fault?.until_ms && html`<${Badge} tone="bad">on, for <${Left} at_ms=${fault.until_ms} over="no longer" /><//>`}
    </div>
  `;
}
