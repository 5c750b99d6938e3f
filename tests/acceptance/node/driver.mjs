// Drives stock JavaScript clients: orders come in and events go out as lines of JSON (../driver.py).
import { createInterface } from "node:readline";
import { Centrifuge } from "centrifuge";
import { Centrifuge as CentrifugeProtobuf } from "centrifuge/build/protobuf";
import WebSocket from "ws";

const clients = new Map();
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const encode = (binary, data) => (binary ? new TextEncoder().encode(JSON.stringify(data)) : data);
function decode(binary, data) {
  if (!binary) return data;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    return { base64: Buffer.from(data).toString("base64") };
  }
}
const info = (told) => told && { user: told.user, client: told.client };
const publication = (binary, pub) => ({
  offset: pub.offset ?? 0,
  data: decode(binary, pub.data),
  tags: pub.tags ?? {},
  info: info(pub.info) ?? null,
});

function open({ client: name, url, binary, token, options = {} }) {
  const Client = binary ? CentrifugeProtobuf : Centrifuge;
  const client = new Client(url, { websocket: WebSocket, token, ...options });
  const tell = (event, fields) => say({ client: name, event, ...fields });
  client.on("connecting", ({ code, reason }) => tell("connecting", { code, reason }));
  client.on("connected", ({ client: id }) => tell("connected", { id }));
  client.on("disconnected", ({ code, reason }) => tell("disconnected", { code, reason }));
  client.on("error", ({ error }) => tell("error", { code: error.code, message: error.message }));
  clients.set(name, { client, binary, tell });
  client.connect();
}

function subscribe({ client: name, channel, options = {} }) {
  const { client, binary, tell } = clients.get(name);
  const { since, join_leave: joinLeave, ...rest } = options;
  const subscription = client.newSubscription(channel, { since, joinLeave, ...rest });
  subscription.on("subscribing", ({ code, reason }) => tell("subscribing", { channel, code, reason }));
  subscription.on("subscribed", (told) =>
    tell("subscribed", {
      channel,
      recoverable: told.recoverable,
      positioned: told.positioned,
      position: told.streamPosition ?? null,
      was_recovering: told.wasRecovering,
      recovered: told.recovered,
    }),
  );
  subscription.on("unsubscribed", ({ code, reason }) => tell("unsubscribed", { channel, code, reason }));
  subscription.on("publication", (told) => tell("publication", { channel, ...publication(binary, told) }));
  subscription.on("join", (told) => tell("join", { channel, info: info(told.info) }));
  subscription.on("leave", (told) => tell("leave", { channel, info: info(told.info) }));
  subscription.on("error", ({ error: { code, message } }) => tell("refused", { channel, code, message }));
  subscription.subscribe();
}

const orders = {
  open,
  subscribe,
  connect: ({ client }) => clients.get(client).client.connect(),
  disconnect: ({ client }) => clients.get(client).client.disconnect(),
  unsubscribe: ({ client, channel }) => clients.get(client).client.getSubscription(channel).unsubscribe(),
  resubscribe: ({ client, channel }) => clients.get(client).client.getSubscription(channel).subscribe(),
  async publish({ client: name, channel, data }) {
    const { client, binary } = clients.get(name);
    await client.publish(channel, encode(binary, data));
  },
  async history({ client: name, channel, options }) {
    const { client, binary } = clients.get(name);
    const { publications, offset, epoch } = await client.history(channel, options);
    return { publications: publications.map((pub) => publication(binary, pub)), offset, epoch };
  },
  async presence({ client: name, channel }) {
    const { clients: present } = await clients.get(name).client.presence(channel);
    return Object.fromEntries(Object.entries(present).map(([id, told]) => [id, info(told)]));
  },
  async presence_stats({ client: name, channel }) {
    const { numClients, numUsers } = await clients.get(name).client.presenceStats(channel);
    return { num_clients: numClients, num_users: numUsers };
  },
  async rpc({ client: name, method, data }) {
    const { client, binary } = clients.get(name);
    return decode(binary, (await client.rpc(method, encode(binary, data))).data);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, order, ...rest } = JSON.parse(line);
  Promise.resolve(rest)
    .then(orders[order])
    .then((result) => say({ id, result: result ?? null }))
    .catch((error) => say({ id, error: { code: error.code ?? 0, message: String(error.message ?? error) } }));
}
process.exit(0);
