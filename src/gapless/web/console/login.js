/** Logging in. */
import { html, useState } from "./lib.js";
import { login } from "./session.js";

/** The form for a name and password, or a key. */
export function Login() {
  const [byKey, setByKey] = useState(false);
  const [failed, setFailed] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const said = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    setBusy(true);
    setFailed("");
    try {
      await login(said);
    } catch (error) {
      setFailed(/** @type {Error} */ (error).message);
    }
    setBusy(false);
  };
  return html`
    <main class="login">
      <form class="panel" onSubmit=${submit}>
        <h1>gapless console</h1>
        ${byKey ? html`<${Secret} name="key" label="API key" />` : html`
          <div class="field">
            <label for="name">Name</label>
            <input id="name" name="name" autocomplete="username" required autofocus />
          </div>
          <${Secret} name="password" label="Password" />
        `}
        <p class="note bad" role="alert" hidden=${!failed}>${failed}</p>
        <button type="submit" class="primary" disabled=${busy}>Log in</button>
        <button type="button" class="plain" onClick=${() => setByKey(!byKey)}>
          ${byKey ? "Use a name and password" : "Use the API key"}
        </button>
        <p class="muted small">Names and passwords stand in the server's configuration, as <code>console.users</code>.</p>
      </form>
    </main>
  `;
}

/** @param {{name: string, label: string}} props */
function Secret({ name, label }) {
  return html`
    <div class="field">
      <label for=${name}>${label}</label>
      <input id=${name} name=${name} type="password" autocomplete="current-password" required />
    </div>
  `;
}
