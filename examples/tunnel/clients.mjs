// Many stock JavaScript clients in one chat: counts what each receives, and reports as lines of JSON.
// Packages come from where `make test` (or tools/install-node) puts them.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../tests/acceptance/node/", import.meta.url));
const { Centrifuge } = require("centrifuge");
const WebSocket = require("ws");

const [url, channel, clients, messages] = process.argv.slice(2);
const total = { received: 0, subscribed: 0, reconnects: 0, complete: 0, doubled: 0, disordered: 0, unrecovered: 0 };

function join() {
  const seen = new Uint8Array(Number(messages) + 1);
  let [last, distinct, known] = [0, 0, false];
  const client = new Centrifuge(url, {
    websocket: WebSocket,
    minReconnectDelay: 100,
    maxReconnectDelay: 2000,
    maxServerPingDelay: 1500,
    timeout: 2000,
  });
  client.on("connecting", ({ code }) => (total.reconnects += code !== 0));
  const subscription = client.newSubscription(channel, { minResubscribeDelay: 100, maxResubscribeDelay: 2000 });
  subscription.on("subscribed", ({ wasRecovering, recovered }) => {
    total.subscribed += !known;
    known = true;
    total.unrecovered += wasRecovering && !recovered;
  });
  subscription.on("publication", ({ data: { number } }) => {
    total.received += 1;
    total.doubled += seen[number];
    total.disordered += number < last;
    distinct += !seen[number];
    seen[number] = 1;
    last = number;
    if (distinct === Number(messages)) total.complete += 1;
  });
  subscription.subscribe();
  client.connect();
}

for (let n = 0; n < Number(clients); n++) join();
setInterval(() => console.log(JSON.stringify(total)), 100);
process.stdin.on("end", () => process.exit(0)).resume();
