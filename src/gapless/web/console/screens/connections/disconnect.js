/** Ending a connection: with a code, which says whether it is to come back, and a reason that it is told. */
import { call } from "../../api.js";
import { html, useState } from "../../lib.js";
import { Act, Dialog, tell } from "../../ui/acting.js";
import { Form, Input, number, useForm } from "../../ui/form.js";

const CODES = { min: 3000, max: 4999 };
const REASON_BYTES_MAX = 123;

/** @param {{connected: import("./told.js").Connected, done: () => void}} props */
export function Disconnect({ connected, done }) {
  const [asking, setAsking] = useState(false);
  return html`
    <${Act} class="danger" act=${async () => setAsking(true)}>Disconnect<//>
    ${asking && html`<${Asking} connected=${connected} close=${() => setAsking(false)} done=${done} />`}
  `;
}

/** @param {{connected: import("./told.js").Connected, close: () => void, done: () => void}} props */
function Asking({ connected: { user, client }, close, done }) {
  const form = useForm("disconnect", { code: 3503, reason: "force disconnect" });
  const code = number(form.values.code) ?? 0;
  const disconnect = async () => {
    await call("disconnect", { user, client, disconnect: { code, reason: form.values.reason } });
    close();
    done();
    tell(`Disconnected ${user || client}.`);
  };
  return html`
    <${Dialog} title=${`Disconnect ${user || "this connection"}?`} close=${close}>
      <${Form} act=${disconnect} button="Disconnect" kind="danger">
        <${Input} form=${form} name="code" label="Code" type="number" required min=${CODES.min} max=${CODES.max}
          hint=${reconnects(code) ? "With this code it comes back by itself." : "With this code it stays away, until its application connects it again."} />
        <${Input} form=${form} name="reason" label="Reason" maxlength=${REASON_BYTES_MAX} hint="The client is told it." />
      <//>
    <//>
  `;
}

/** As the SDKs do it. @param {number} code */
function reconnects(code) {
  return !((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000));
}
