/** What the drawer explains, and where the lines of it stand: between `how: <part>` and `end` in a file. */

export const steps = [
  {
    title: "Connect",
    text: "The SDK reconnects by itself. Only this page gives it a WebSocket of its own, so that there is a tunnel.",
    file: "kept.js",
    part: "connect",
  },
  {
    title: "Subscribe, and recover",
    text:
      "The SDK remembers the offset of the last message. When it comes back it subscribes with that position, and the " +
      "server sends what came after it, in order, before anything new. The time that is shown begins when that frame is " +
      "sent, and ends when the page has the last message that was missed; the reconnect before it is not in it. If what " +
      "came after that position is not all kept any more, the server says so, and the page begins anew with the newest.",
    file: "kept.js",
    part: "subscribe",
  },
  {
    title: "Show what came",
    text:
      "Recovered messages arrive as all others do: there is one path for messages. Those that come together are shown " +
      "together.",
    file: "kept.js",
    part: "take",
  },
  {
    title: "Send once",
    text:
      "A message has an id before it is sent. If the answer was lost it is sent again with the same id, and the server " +
      "stores it once.",
    file: "kept.js",
    part: "send",
  },
  {
    title: "Wait for a signal",
    text:
      "What was written in the tunnel waits in the tab's storage, and leaves the outbox when it is stored. If a thousand " +
      "wait, the page takes no more until one of them has gone out.",
    file: "outbox.js",
    part: "outbox",
  },
  {
    title: "Scroll back",
    text: "Older messages come over HTTP, a page at a time, from a cursor: nothing is doubled or left out.",
    file: "kept.js",
    part: "scroll",
  },
  {
    title: "See who is here",
    text: "Presence tells who follows the channel now, and each join and leave comes as it happens.",
    file: "kept.js",
    part: "presence",
  },
  {
    title: "The other phone",
    text: "The same SDK and the same server. The channel keeps nothing, so there is nothing to recover.",
    file: "plain.js",
    part: "plain",
  },
  {
    title: "What is missing on the left",
    text: "The page compares the ids that both phones have. It knows of no other source.",
    file: "plain.js",
    part: "compare",
  },
  {
    title: "The cut",
    text: "The server is asked to reset both TCP connections: no close frame, as in a tunnel. Only gapless dev can do that.",
    file: "ride.js",
    part: "cut",
  },
  {
    title: "The tunnel",
    text: "And while the train is inside, no socket can be opened.",
    file: "radio.js",
    part: "tunnel",
  },
];
