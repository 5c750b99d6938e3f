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
const seen = (binary, data) => (data === undefined || data.length === 0 ? null : decode(binary, data));
const info = (binary, told) =>
  told && {
    user: told.user,
    client: told.client,
    conn_info: seen(binary, told.connInfo),
    chan_info: seen(binary, told.chanInfo),
  };
const publication = (binary, pub) => ({
  offset: pub.offset ?? 0,
  data: decode(binary, pub.data),
  tags: pub.tags ?? {},
  info: info(binary, pub.info) ?? null,
});
const standing = (binary, told) => ({
  recoverable: told.recoverable,
  positioned: told.positioned,
  position: told.streamPosition ?? null,
  was_recovering: told.wasRecovering,
  recovered: told.recovered,
  data: seen(binary, told.data),
});

// What an SDK calls for a new token: takes the next of `tokens`, and says so.
const giving = (tokens, tell) =>
  tokens === undefined
    ? null
    : async () => {
        tell();
        return tokens.shift();
      };

function open({ client: name, url, binary, token, options: { tokens, ...options } = {} }) {
  const Client = binary ? CentrifugeProtobuf : Centrifuge;
  const tell = (event, fields) => say({ client: name, event, ...fields });
  const getToken = giving(tokens, () => tell("asked", {}));
  const client = new Client(url, { websocket: WebSocket, token, getToken, ...options });
  client.on("connecting", ({ code, reason }) => tell("connecting", { code, reason }));
  client.on("connected", ({ client: id }) => tell("connected", { id }));
  client.on("disconnected", ({ code, reason }) => tell("disconnected", { code, reason }));
  client.on("error", ({ error }) => tell("error", { code: error.code, message: error.message }));
  client.on("subscribed", (told) =>
    tell("server_subscribed", { channel: told.channel, ...standing(binary, told) }),
  );
  client.on("unsubscribed", ({ channel }) => tell("server_unsubscribed", { channel }));
  client.on("publication", (told) =>
    tell("server_publication", { channel: told.channel, ...publication(binary, told) }),
  );
  client.on("join", (told) => tell("server_join", { channel: told.channel, info: info(binary, told.info) }));
  client.on("leave", (told) => tell("server_leave", { channel: told.channel, info: info(binary, told.info) }));
  clients.set(name, { client, binary, tell });
  client.connect();
}

function subscribe({ client: name, channel, options = {} }) {
  const { client, binary, tell } = clients.get(name);
  const { since, join_leave: joinLeave, tokens, ...rest } = options;
  const getToken = giving(tokens, () => tell("asked", { channel }));
  const subscription = client.newSubscription(channel, { since, joinLeave, getToken, ...rest });
  subscription.on("subscribing", ({ code, reason }) => tell("subscribing", { channel, code, reason }));
  subscription.on("subscribed", (told) => tell("subscribed", { channel, ...standing(binary, told) }));
  subscription.on("unsubscribed", ({ code, reason }) => tell("unsubscribed", { channel, code, reason }));
  subscription.on("publication", (told) => tell("publication", { channel, ...publication(binary, told) }));
  subscription.on("join", (told) => tell("join", { channel, info: info(binary, told.info) }));
  subscription.on("leave", (told) => tell("leave", { channel, info: info(binary, told.info) }));
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
    const { client, binary } = clients.get(name);
    const { clients: present } = await client.presence(channel);
    return Object.fromEntries(Object.entries(present).map(([id, told]) => [id, info(binary, told)]));
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
