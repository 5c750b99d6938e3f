/** What is tried, as code that one takes along. Tokens and keys do not stand in it: they come from the environment. */
import { html } from "../../lib.js";
import { socketAddress } from "../../live.js";
import { refine } from "../../route.js";
import { about, address } from "../../session.js";
import { Panel, useChosen } from "../../ui/basics.js";
import { Copy } from "../../ui/copy.js";
import { subscriptionToken } from "./held.js";

/** @typedef {import("./trying.js").Action} Action */
/** @typedef {{act: Action, channel: string, user: string, first: boolean}} Asked */
/** @typedef {Asked & {data: unknown, token: boolean, subscription: boolean}} What */

/** @type {Record<string, {title: string, write: (what: What) => string}>} */
const LANGUAGES = {
  curl: { title: "curl", write: curl },
  python: { title: "Python (centrifuge-python)", write: python },
  gapless: { title: "Python (gapless)", write: library },
  js: { title: "JavaScript", write: javascript },
};

/** @param {{asked: Asked & {by: string}, data: unknown}} props */
export function Snippets({ asked, data }) {
  const said = useChosen("code", "curl");
  const chosen = said in LANGUAGES ? said : "curl";
  const what = { ...asked, data: data ?? null, token: asked.by !== "none", subscription: !!subscriptionToken.value };
  const text = LANGUAGES[chosen]?.write(what) ?? "";
  return html`
    <${Panel} title="The same as code" aside=${html`<${Copy} text=${text} what="the code" />`}>
      <div class="stack">
        <div class="choice fills" role="group" aria-label="Language">
          ${Object.entries(LANGUAGES).map(([key, { title }]) => html`<button type="button" key=${key} aria-pressed=${key === chosen} onClick=${() => refine({ code: key })}>${title}</button>`)}
        </div>
        <pre class="json" tabindex="0" aria-label="Code">${text}</pre>
      </div>
    <//>
  `;
}

/** JSON in which nothing turns the direction of what is shown, so that code is what it looks like. @param {unknown} value */
function quoted(value) {
  return JSON.stringify(value).replace(UNSEEN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const UNSEEN = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

// curl ---------------------------------------------------------------------------------------------

/** @param {What} what */
function curl({ act, channel, data, user, token }) {
  const key = '-H "X-API-Key: $GAPLESS_KEY"';
  const api = (/** @type {string} */ method, /** @type {object} */ body) => `curl ${shell(origin() + (about.value?.api ?? "") + "/" + method)} ${key} \\\n  -d ${shell(quoted(body))}\n`;
  if (act === "publish") return `# as a backend does: the key may publish everywhere\n${api("publish", { channel, data })}`;
  if (act === "presence") return `# as a backend does\n${api("presence", { channel })}`;
  if (act === "subscribe") return `# curl follows nothing; this asks what would be answered\n${api("explain", { user: token ? user : "", channel, act })}`;
  const messages = `${origin()}${about.value?.messages ?? ""}/${encodeURIComponent(channel)}/messages?size=10`;
  return `curl ${shell(messages)}${token ? ' \\\n  -H "Authorization: Bearer $GAPLESS_TOKEN"' : ""}\n`;
}

/** @param {string} text */
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const origin = () => address("/").href.replace(/\/$/, "");

// Python -------------------------------------------------------------------------------------------

/** @type {Record<Action, string>} */
const PYTHON = {
  subscribe: "    await asyncio.Future()  # until it is interrupted",
  publish: "    await client.publish(CHANNEL, DATA)",
  history: "    print(await client.history(CHANNEL, limit=10, reverse=True))",
  presence: "    print(await client.presence(CHANNEL))",
};

/** @param {What} what */
function python({ act, channel, data, token, subscription, first }) {
  const follows = act === "subscribe" || first;
  return lines(
    "import asyncio",
    (token || subscription) && "import os",
    `from centrifuge import Client${follows ? ", PublicationContext, SubscribedContext, SubscriptionEventHandler" : ""}`,
    "",
    `CHANNEL = ${quoted(channel)}`,
    act === "publish" && `DATA = ${literal(data)}`,
    follows && HANDLER,
    "",
    "async def main() -> None:",
    `    client = Client(${JSON.stringify(socketAddress())}${token ? ', token=os.environ["GAPLESS_TOKEN"]' : ""})`,
    "    await client.connect()",
    "    await client.ready()",
    follows && `    subscription = client.new_subscription(CHANNEL, Heard()${subscription ? ', token=os.environ["GAPLESS_SUBSCRIPTION_TOKEN"]' : ""})`,
    follows && "    await subscription.subscribe()",
    follows && act !== "subscribe" && "    await subscription.ready()",
    PYTHON[act],
    act !== "subscribe" && "    await client.disconnect()",
    "",
    "asyncio.run(main())",
    "",
  );
}

const HANDLER = `
class Heard(SubscriptionEventHandler):
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        print("subscribed", flush=True)

    async def on_publication(self, ctx: PublicationContext) -> None:
        print(ctx.pub.offset, ctx.pub.data, flush=True)`;

/** @type {Record<Action, string>} */
const LIBRARY = {
  subscribe: "        async for message in gl.subscribe(CHANNEL):\n            print(message, flush=True)",
  publish: "        print(await gl.publish(CHANNEL, DATA))",
  history: "        print(await gl.history(CHANNEL, size=10))",
  presence: "        ...",
};

/** @param {What} what */
function library({ act, channel, data }) {
  if (act === "presence") return "# gapless asks for no presence: see the other languages\n";
  return lines(
    "import asyncio",
    "import os",
    "from gapless import Gapless",
    "",
    `CHANNEL = ${quoted(channel)}`,
    act === "publish" && `DATA = ${literal(data)}`,
    "",
    "async def main() -> None:",
    `    async with Gapless(${JSON.stringify(origin())}, api_key=os.environ["GAPLESS_KEY"]) as gl:  # a backend's key`,
    LIBRARY[act],
    "",
    "asyncio.run(main())",
    "",
  );
}

/** JSON as Python writes it. @param {unknown} value @returns {string} */
function literal(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return quoted(value);
  return `{${Object.entries(value).map(([name, inner]) => `${quoted(name)}: ${literal(inner)}`).join(", ")}}`;
}

// JavaScript ---------------------------------------------------------------------------------------

/** @type {Record<Action, string>} */
const JAVASCRIPT = {
  subscribe: "",
  publish: "await client.publish(CHANNEL, DATA);",
  history: "console.log(await client.history(CHANNEL, { limit: 10, reverse: true }));",
  presence: "console.log(await client.presence(CHANNEL));",
};

/** @param {What} what */
function javascript({ act, channel, data, token, subscription, first }) {
  const follows = act === "subscribe" || first;
  return lines(
    'import { Centrifuge } from "centrifuge"; // npm install centrifuge; for Node 22 and later',
    "",
    `const CHANNEL = ${quoted(channel)};`,
    act === "publish" && `const DATA = ${quoted(data)};`,
    `const client = new Centrifuge(${JSON.stringify(socketAddress())}${token ? ", { token: process.env.GAPLESS_TOKEN }" : ""});`,
    follows && `const subscription = client.newSubscription(CHANNEL${subscription ? ", { token: process.env.GAPLESS_SUBSCRIPTION_TOKEN }" : ""});`,
    follows && 'subscription.on("subscribed", () => console.log("subscribed"));',
    follows && 'subscription.on("publication", ({ offset, data }) => console.log(offset, data));',
    follows && "subscription.subscribe();",
    "client.connect();",
    "await client.ready();",
    follows && act !== "subscribe" && "await subscription.ready();",
    JAVASCRIPT[act],
    act !== "subscribe" && "client.disconnect();",
    "",
  );
}

/** @param {(string | false)[]} parts */
const lines = (...parts) => parts.filter((part) => part !== false).join("\n");
