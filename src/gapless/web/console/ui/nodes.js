/** Nodes by their names: what the API tells of them elsewhere is an id that nobody knows. */
import { call } from "../api.js";
import { html, signal, useEffect } from "../lib.js";

const AGAIN_MS = 10_000;

/** @type {import("../lib.js").Signal<Map<string, string>>} */
const names = signal(new Map());
let asked_ms = -AGAIN_MS;

/** Ask again when there is one that is not known, but not again and again: it may be gone. */
async function learn() {
  if (performance.now() < asked_ms + AGAIN_MS) return;
  asked_ms = performance.now();
  const { nodes } = await call("info").catch(() => ({ nodes: [] }));
  const known = nodes.map((/** @type {{uid: string, name: string}} */ node) => [node.uid, node.name]);
  names.value = new Map([...names.peek(), ...known]);
}

/** @param {{uid: string}} props */
export function NodeName({ uid }) {
  const name = names.value.get(uid);
  useEffect(() => {
    if (!name) learn();
  }, [uid, name]);
  return html`<span title=${uid}>${name ?? uid.slice(0, 8)}</span>`;
}
