/** One channel: where it stands, and its tabs. */
import { call, page } from "../../api.js";
import { count, counted, digits } from "../../format.js";
import { html } from "../../lib.js";
import { useLoaded } from "../../loading.js";
import { href } from "../../route.js";
import { Page, Stat, Tabs, useChosen } from "../../ui/basics.js";
import { History } from "./history.js";
import { Options } from "./options.js";
import { Presence } from "./presence.js";
import { Publish } from "./publish.js";
import { Tail } from "./tail.js";

const EVERY_MS = 3_000;
const FORGET = ["at", "offset", "before", "after", "by", "from", "filter", "option", "own"];

/** @type {[string, string, any][]} */
const TABS = [
  ["tail", "Live tail", Tail],
  ["history", "History", History],
  ["presence", "Presence", Presence],
  ["publish", "Publish", Publish],
  ["options", "Options", Options],
];

/** @param {{channel: string}} props */
export function Channel({ channel }) {
  const chosen = useChosen("tab", "tail");
  const [, title, Chosen] = TABS.find(([key]) => key === chosen) ?? TABS[0] ?? ["", "", null];
  return html`
    <${Page} title=${html`<a class="up" href=${href(["channels"])}>Channels</a> <span class="mono">${channel}</span>`}>
      <${Standing} channel=${channel} />
      <${Tabs} label="Of this channel" forget=${FORGET} tabs=${TABS.map(([key, name]) => [key, name])} />
      <section class="panel" role="tabpanel" aria-labelledby=${`tab-${chosen}`}>
        <h2 class="sr-only">${title}</h2>
        <${Chosen} channel=${channel} />
      </section>
    <//>
  `;
}

/** @param {{channel: string}} props */
function Standing({ channel }) {
  const kept = useLoaded((signal) => page(channel, { size: 1 }, signal), [channel], EVERY_MS);
  const followed = useLoaded((signal) => subscribers(channel, signal), [channel], EVERY_MS);
  const options = useLoaded((signal) => call("channel_options", { channel }, signal), [channel]);
  const stands = kept.error.value ? null : kept.data.value;
  const none = kept.error.value ? "keeps no history" : "\u00a0";
  const namespace = options.data.value?.namespace;
  return html`
    <div class="stats">
      <${Stat} label="Head" value=${digits(stands?.head)} note=${stands ? `epoch ${stands.epoch}` : none} />
      <${Stat} label="Oldest kept" value=${stands?.head && stands.oldest <= stands.head ? digits(stands.oldest) : "–"}
        note=${stands ? counted(Math.max(0, stands.head - stands.oldest + 1), "offset") : none} href=${href(["channels", channel], { tab: "history" })} />
      <${Stat} label="Subscribers" value=${count(followed.data.value)} note="on all nodes, the console too" href=${href(["connections"], { channel })} />
      <${Stat} label="Namespace" value=${options.data.value ? namespace || "none" : "–"} note="its effective options" href=${href(["channels", channel], { tab: "options" })} />
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
