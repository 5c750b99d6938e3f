/** One channel: where it stands, and its tabs. */
import { call, page } from "../../api.js";
import { count, counted, digits } from "../../format.js";
import { html } from "../../lib.js";
import { useCall, useLoaded } from "../../loading.js";
import { href } from "../../route.js";
import { Loaded, Page, Stat, Tabs, useOneOf } from "../../ui/basics.js";
import { History } from "./history.js";
import { Options as OptionsTab } from "./options.js";
import { Presence } from "./presence.js";
import { Publish } from "./publish.js";
import { Tail } from "./tail.js";

/** @typedef {{namespace: string, options: {name: string, value: unknown, origin: string}[]}} Options */

const EVERY_MS = 3_000;
const FORGET = ["at", "offset", "before", "after", "by", "from", "filter", "option", "own", "open"];

/** @type {[string, string, any][]} */
const TABS = [
  ["tail", "Live tail", Tail],
  ["history", "History", History],
  ["presence", "Presence", Presence],
  ["publish", "Publish", Publish],
  ["options", "Options", OptionsTab],
];

/** @param {{channel: string}} props */
export function Channel({ channel }) {
  const chosen = useOneOf(TABS);
  const options = useCall("channel_options", { channel });
  return html`
    <${Page} title=${html`<a class="up" href=${href(["channels"])}>Channels</a> <span class="mono">${channel}</span>`}>
      <${Loaded} loaded=${options}>${(/** @type {Options} */ told) => html`
        <${Standing} channel=${channel} namespace=${told.namespace} keeps=${keeps(told)} />
        <${Tabs} label="Of this channel" forget=${FORGET} tabs=${TABS.map(([key, name]) => [key, name])} />
        <${Chosen} channel=${channel} chosen=${chosen} options=${told} />
      `}<//>
    <//>
  `;
}

/** @param {{channel: string, chosen: string, options: Options}} props */
function Chosen({ channel, chosen, options }) {
  const [key, title, Tab] = TABS.find(([each]) => each === chosen) ?? TABS[0] ?? ["", "", null];
  return html`
    <section class="panel" role="tabpanel" aria-labelledby=${`tab-${key}`}>
      <h2 class="sr-only">${title}</h2>
      <${Tab} channel=${channel} keeps=${keeps(options)} options=${options} />
    </section>
  `;
}

/** Whether messages are kept there. @param {Options} told */
function keeps({ options }) {
  return options.some(({ name, value }) => name === "history_size" && value !== 0);
}

/** @param {{channel: string, namespace: string, keeps: boolean}} props */
function Standing({ channel, namespace, keeps }) {
  const kept = useLoaded(async (signal) => (keeps ? page(channel, { size: 1 }, signal) : null), [channel, keeps], EVERY_MS);
  const followed = useLoaded((signal) => subscribers(channel, signal), [channel], EVERY_MS);
  const stands = kept.error.value ? null : kept.data.value;
  const none = keeps ? (kept.error.value?.message ?? "\u00a0") : "keeps no history";
  return html`
    <div class="stats">
      <${Stat} label="Head" value=${digits(stands?.head)} note=${stands ? `epoch ${stands.epoch}` : none} />
      <${Stat} label="Oldest kept" value=${stands?.head && stands.oldest <= stands.head ? digits(stands.oldest) : "–"}
        note=${stands ? counted(Math.max(0, stands.head - stands.oldest + 1), "offset") : none} href=${href(["channels", channel], { tab: "history" })} />
      <${Stat} label="Subscribers" value=${count(followed.data.value)} note="on all nodes, the console too" href=${href(["connections"], { channel })} />
      <${Stat} label="Namespace" value=${namespace || "none"} note="its effective options" href=${href(["channels", channel], { tab: "options" })} />
    </div>
  `;
}

/**
 * @param {string} channel
 * @param {AbortSignal} signal
 */
async function subscribers(channel, signal) {
  const pattern = channel.replace(/[*?[]/g, "[$&]"); // as it is
  const { channels } = await call("channels", { pattern }, signal);
  return channels[channel]?.num_clients ?? 0;
}
