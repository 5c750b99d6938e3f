/** The two phones: the same conversation, with and without history. */
import * as kept from "../kept.js";
import { html } from "../lib.js";
import { name } from "../name.js";
import * as plain from "../plain.js";
import { inTunnel } from "../radio.js";
import { messageOf } from "../message.js";
import { Avatar, Bubble, counted, Line } from "./bubble.js";
import { Chat } from "./chat.js";
import { isRecovered, LostLine, Mark, markBefore, outcome, placeOfLost } from "./marks.js";

const FACES_MAX = 4;

/**
 * @param {{id: string, title: string, about: string, result: string, isGood?: boolean, isConnected: boolean,
 *   people?: any, children?: any}} props
 */
function Phone({ id, title, about, result, isGood = false, isConnected, people, children }) {
  return html`
    <section class=${`phone ${id}`} id=${id} aria-labelledby=${`${id}-title`}>
      <div class="caption">
        <h2 id=${`${id}-title`}>${title}</h2>
        <p class=${isGood ? "result good" : "result"} role="status">${result}</p>
        <p class="about muted">${about}</p>
      </div>
      <div class=${inTunnel.value ? "device dark" : "device"}>
        <div class="status-bar">
          <span class="room">Concert</span>
          ${people}
          <${Signal} isConnected=${isConnected} />
        </div>
        ${children}
      </div>
    </section>
  `;
}

/** @param {{isConnected: boolean}} props */
function Signal({ isConnected }) {
  const said = inTunnel.value ? "No signal" : isConnected ? "Online" : "Connecting";
  return html`
    <span class=${`signal ${said.split(" ")[0]?.toLowerCase()}`}>
      <svg viewBox="0 0 18 12" aria-hidden="true"><path d="M1 12V9h3v3zM5.500 12V6h3v6zM10 12V3h3v9zM14.500 12V0h3v12z" /></svg>
      ${said}
    </span>
  `;
}

export function PlainPhone() {
  const rows = plain.rows.value;
  return html`
    <${Phone} id="plain" title="A channel without history" isConnected=${plain.isConnected.value}
      about="What a WebSocket over plain Pub/Sub does." result=${lostLast()}>
      <${Chat} label="Conversation without history">
        ${rows.length ? null : html`<${Empty} text="Nothing yet. What was said before you came is not kept." />`}
        ${rows.map((row, index) =>
          "gap" in row
            ? html`<${Line} key=${row.key} id=${row.key} kind="gap">${missed(row, counted(row.gap))}<//>`
            : html`<${Bubble} key=${row.message.id} message=${row.message} before=${before(rows, index)}
                state=${row.state === "arrived" ? "" : row.state} />`,
        )}
      <//>
    <//>
  `;
}

function lostLast() {
  const { value: gap } = plain.lastGap;
  return gap && "gap" in gap ? missed(gap, gap.gap.toLocaleString("en")) : "";
}

/** @param {plain.Gap} gap @param {string} said how many */
function missed({ gap, isLost }, said) {
  if (!gap) return "nobody can tell how many never arrived";
  return isLost ? `about ${said} never arrived` : `${said} never arrived`;
}

/** @param {readonly any[]} rows @param {number} index */
const before = (rows, index) => rows[index - 1]?.message;

export function KeptPhone() {
  const rows = kept.rows.value;
  const drafts = kept.drafts.value;
  const marks = new Map(kept.marks.value.map((mark) => [mark.after, mark]));
  const lostPlace = placeOfLost(rows);
  return html`
    <${Phone} id="kept" title="A gapless channel" isConnected=${kept.isConnected.value} people=${html`<${People} />`}
      about="The same messages, kept and recovered in order." ...${outcome()}>
      <${Chat} label="Conversation of the gapless channel" onOlder=${kept.showOlder} onNewer=${kept.showNewer}
        onLook=${kept.look} hasNewer=${kept.unseen.value > 0} jumps=${kept.jumps.value}>
        <${Past} />
        ${rows.flatMap((message, index) => [
          index === lostPlace ? html`<${LostLine} key="lost" />` : null,
          html`<${Mark} key=${`mark ${message.offset}`} mark=${markBefore(marks, rows, index)} />`,
          html`<${Bubble} key=${message.offset} message=${message} before=${rows[index - 1]}
            isRecovered=${isRecovered(message.offset)} />`,
        ])}
        ${lostPlace === rows.length ? html`<${LostLine} key="lost" />` : null}
        ${kept.unseen.value
          ? null
          : drafts.map(
              (draft) => html`<${Bubble} key=${`draft ${draft.id}`} state=${inTunnel.value ? "waiting" : "sending"}
                message=${messageOf({ ...draft, name })} />`,
            )}
      <//>
      <${ToNewest} />
    <//>
  `;
}

function Past() {
  const { more, fetching } = kept.past.value;
  const first = kept.rows.value[0];
  if (!first) return html`<${Empty} text=${more || fetching ? "Reading …" : "Nothing yet. Say something."} />`;
  const beginning = first.offset > 1 ? "The beginning of what is kept" : "The beginning";
  const said = more ? (inTunnel.value ? "No signal: older messages come later" : "Earlier messages …") : beginning;
  return html`<${Line} kind="past" id="past" isBusy=${fetching}>${said}<//>`;
}

/** @param {{text: string}} props */
const Empty = ({ text }) => html`<p class="empty muted">${text}</p>`;

function ToNewest() {
  const unseen = kept.unseen.value;
  if (!unseen) return null;
  return html`<button type="button" class="to-newest" onClick=${kept.showNewest}>${counted(unseen, "new message")} ↓</button>`;
}

function People() {
  const names = [...kept.people.value.values()];
  const label = `${counted(names.length, "person").replace("persons", "people")} online: ${names.join(", ")}`;
  return html`
    <span class="people" role="img" aria-label=${label} title=${label}>
      ${names.slice(0, FACES_MAX).map((one) => html`<${Avatar} name=${one} />`)}
      <span class="small">${names.length} online</span>
    </span>
  `;
}
