"""What must never be seen, and what must be seen in the end (semantics 9), of several nodes on one store.

Each checker takes a history and tells what should not be. Only two need a clock: until when something that is
unknown may still be stored, and how long a right that was revoked may still be served.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from gapless.protocol.codes import Unsubscribe, reconnects
from tests.faults.cluster.events import History, Publish, Track

__all__ = ["CHECKERS", "DEADLINE_MS", "GRACE_MS", "SHORT", "findings", "gone", "silent"]

SHORT = (
    "short:"  # channels that keep little: who stays away from them for long is told that something is lost
)
DEADLINE_MS = 10_000  # of an append, by the store's time
GRACE_MS = 5_000  # until a revocation holds everywhere
SETTLED_MS = 3_000  # until the nodes have said what they know of a store that was rewound, and a bit

Checker = Callable[[History], Iterator[str]]


def findings(history: History) -> list[str]:
    """Return what all checkers have found."""
    return [f"{checker.__name__}: {found}" for checker in CHECKERS for found in checker(history)]


def silent(found: list[str]) -> list[str]:
    """Return those findings that say: somebody missed something, and nobody told them."""
    names = {checker.__name__ for checker in (skipped, untold, wrong_prefix, unseen, unannounced)}
    return [finding for finding in found if finding.partition(":")[0] in names]


def gone(history: History) -> list[Publish]:
    """Return what was acknowledged, and is not held in the end, though nothing may have dropped it."""
    missing = []
    for publish in history.publishes.values():
        held = history.held[publish.channel]
        if publish.acked is not None and publish.channel in history.epoch and publish.id not in held.values():
            offset = publish.acked.offset
            dropped = publish.channel.startswith(SHORT) and (not offset or offset < min(held, default=0))
            if not dropped:
                missing.append(publish)
    return missing


# What is stored -------------------------------------------------------------------------------


def lost(history: History) -> Iterator[str]:
    """What was acknowledged is held, unless the store was rewound since."""
    for publish in gone(history):
        if not _excused(history, publish):
            yield f"{publish.id} of {publish.channel} was acknowledged, and is not held: {publish.acked}"


def _excused(history: History, publish: Publish) -> bool:
    """Tell whether a store of which a message was acknowledged was rewound later."""
    assert publish.acked is not None
    epoch = publish.acked.epoch
    return history.rewound_since(history.seen[epoch] if epoch else publish.invoked)


def two_values(history: History) -> Iterator[str]:
    """At one offset of a channel, in one epoch, there is one message."""
    values: dict[tuple[str, str, int], str] = {}

    def differing(channel: str, epoch: str, offset: int, id: str) -> Iterator[str]:
        first = values.setdefault((channel, epoch, offset), id)
        if first != id:
            yield f"{channel} {epoch}:{offset} is both {first} and {id}"

    for _, event in history.of("ok", "delivered"):
        if event.epoch and event.offset:
            yield from differing(event.channel, event.epoch, event.offset, event.id)
    for channel, held in history.held.items():
        for offset, id in held.items():
            yield from differing(channel, history.epoch[channel], offset, id)


def stored_twice(history: History) -> Iterator[str]:
    """What was published once, or with a key however often, stands at one offset."""
    for channel, held in history.held.items():
        for id, times in Counter(held.values()).items():
            if times > 1:
                yield f"{channel} holds {id} {times} times"


def refused_seen(history: History) -> Iterator[str]:
    """What was refused is not stored, and nobody receives it."""
    refused = {id for id, each in history.publishes.items() if set(each.outcomes) == {"fail"}}
    for channel, held in history.held.items():
        for id in refused.intersection(held.values()):
            yield f"{id} of {channel} was refused, and is held"
    for _, event in history.of("delivered"):
        if event.id in refused:
            yield f"{event.id} of {event.channel} was refused, and delivered to {event.who}"


def stored_late(history: History) -> Iterator[str]:
    """What is not known to be stored by its deadline is not stored later."""
    for id, publish in history.publishes.items():
        if publish.key or "unknown" not in publish.outcomes or not publish.invoked_ms:
            continue
        late_ms = history.held_ms.get(id, 0) - publish.invoked_ms - DEADLINE_MS
        if late_ms > 0:
            yield f"{id} of {publish.channel} was stored {late_ms} ms after its deadline"


def unpublished(history: History) -> Iterator[str]:
    """Nothing is held or delivered that nobody published there."""
    for channel, held in history.held.items():
        for offset, id in held.items():
            if id not in history.publishes or history.publishes[id].channel != channel:
                yield f"{channel} holds {id} at {offset}, which nobody published there"
    for _, event in history.of("delivered"):
        if event.id not in history.publishes or history.publishes[event.id].channel != event.channel:
            yield f"{event.who} received {event.id} of {event.channel}, which nobody published there"


def publishers_disorder(history: History) -> Iterator[str]:
    """What one connection publishes to a channel, and is acknowledged, stands there in its order."""
    for channel in history.held:
        offsets = history.offsets(channel)
        last: dict[str, tuple[int, str]] = defaultdict(lambda: (0, ""))
        mine = [
            each
            for each in history.publishes.values()
            if each.channel == channel and not each.key and each.acked
        ]
        for publish in sorted(mine, key=lambda each: each.number):
            offset = offsets.get(publish.id)
            if offset is not None and publish.origin:
                if offset < last[publish.origin][0]:
                    yield f"{channel} holds {publish.id} at {offset}, before {last[publish.origin]}"
                last[publish.origin] = (offset, publish.id)


def overtaken(history: History) -> Iterator[str]:
    """What a connection had sent behind a message that failed is refused: nothing overtakes it."""
    by_origin: dict[tuple[str, str], list[Publish]] = defaultdict(list)
    for publish in history.publishes.values():
        if publish.origin and not publish.key:
            by_origin[publish.origin, publish.channel].append(publish)
    for mine in by_origin.values():
        mine.sort(key=lambda each: each.number)
        for ahead, behind in pairwise(mine):
            if ahead.failed and behind.acked and behind.invoked < ahead.answered:
                yield f"{behind.id} of {behind.channel} is stored, and {ahead.id}, sent before it, is not"


# What subscribers see -------------------------------------------------------------------------


def skipped(history: History) -> Iterator[str]:
    """Nobody is delivered a message before those ahead of it, unless told that some are lost."""
    for track, last, (_, _, offset, id) in _steps(history):
        if offset > last + 1:
            yield f"{track.who} in {track.channel} received {id} at {offset} after {last}"


def disorder(history: History) -> Iterator[str]:
    """Nobody is delivered what lies at or before the position that was presented."""
    for track, last, (_, _, offset, id) in _steps(history):
        if offset <= last:
            yield f"{track.who} in {track.channel} received {id} at {offset} after {last}"


def delivered_twice(history: History) -> Iterator[str]:
    """Nobody is delivered a message twice, wherever it stands."""
    for track in history.tracks:
        for id, times in Counter(id for _, _, _, id in track.items).items():
            if times > 1:
                yield f"{track.who} in {track.channel} received {id} {times} times"


def unseen(history: History) -> Iterator[str]:
    """When all is healed and quiet, everybody has received all that is held since they began."""
    for track in history.ending():
        if track.channel not in history.epoch:
            continue
        if not track.live or track.epoch != history.epoch[track.channel]:
            yield f"{track.who} is not subscribed to {track.channel} in the end, but stands in {track.epoch}"
            continue
        received = {offset for _, _, offset, _ in track.items}
        missing = {offset for offset in history.held[track.channel] if offset > track.start} - received
        if missing:
            yield f"{track.who} never received {len(missing)} of {track.channel}: {sorted(missing)[:5]}"


def wrong_prefix(history: History) -> Iterator[str]:
    """A position that is accepted holds: what was read up to it is what is held."""
    for track in history.ending():
        held = history.held[track.channel]
        if not track.live or track.channel not in history.epoch:
            continue
        oldest = min(held, default=1)
        for _, epoch, offset, id in track.items:
            if oldest <= offset and held.get(offset) != id:
                at = f"{track.channel} {epoch}:{offset}"
                yield f"{track.who} read {id} at {at}, there is {held.get(offset)}, and nobody said so"


def untold(history: History) -> Iterator[str]:
    """Where something acknowledged is lost, no older position in that channel is accepted any more.

    Unless every node that knew of it is gone too: the one that acknowledged it was killed as well.
    """
    cuts: dict[str, list[tuple[int, Publish]]] = defaultdict(list)
    for publish in gone(history):
        cut = None if publish.channel.startswith(SHORT) else _cut(history, publish)
        if cut is not None:
            cuts[publish.channel].append((cut, publish))
    for track in history.tracks:
        for place, since, epoch in track.resumed:
            for cut, publish in cuts[track.channel]:
                if history.seen.get(since[0], place) < cut < history.seen[epoch] and place > cut:
                    yield f"{track.who} resumed {track.channel} from {since}, though {publish.id} was lost"
                    break


def _cut(history: History, publish: Publish) -> int | None:
    """Return where the store was rewound that had acknowledged a message, if its node went on."""
    acked = publish.acked
    if acked is None or not acked.epoch:
        return None
    cut = next((place for place in history.rewound if _lacks(history, place, publish)), None)
    if cut is None:
        return None
    until_ms = history.events[cut].at_ms + SETTLED_MS
    for place in history.killed[acked.node]:
        if place > publish.invoked and history.events[place].at_ms <= until_ms:
            return None
    return cut


def _lacks(history: History, rewound: int, publish: Publish) -> bool:
    """Tell whether a message had been acknowledged when the store was rewound, and was gone then."""
    acked = publish.acked
    if acked is None or rewound < history.seen[acked.epoch]:
        return False
    for place, ids in history.stood[publish.channel]:
        if place > rewound:
            return publish.id not in ids
    return True  # it is gone in the end, and was not looked for earlier


def false_alarm(history: History) -> Iterator[str]:
    """Nobody is told of a loss where there was none: a clean restart, or a takeover, says so."""
    for place, event in history.of("subscribed"):
        if event.since is None or event.recovered or event.channel.startswith(SHORT):
            continue
        epoch, offset = event.since
        if not history.rewound_since(history.seen.get(epoch, 0), place):
            yield f"{event.who} was told that {event.channel} lost what follows {epoch}:{offset}"


def unannounced(history: History) -> Iterator[str]:
    """Who follows a channel live is unsubscribed (2500) before anything of another generation comes.

    What an older generation stored may be read in a later one, where it stands.
    """
    for _, event in history.of("delivered"):
        publish = history.publishes.get(event.id)
        acked = publish.acked if publish is not None else None
        if publish is None or acked is None or acked.epoch in ("", event.epoch) or not event.epoch:
            continue
        if publish.invoked > history.seen[event.epoch] or acked.offset != event.offset:
            yield f"{event.who} stands in {event.epoch}, and received {event.id} of {acked.epoch}"


def reply_elsewhere(history: History) -> Iterator[str]:
    """A recovered subscription goes on from where the client stands, not from the end."""
    for _, event in history.of("subscribed"):
        if event.since is not None and event.recovered and event.offset != event.since[1]:
            yield f"{event.who} asked for {event.channel} from {event.since}, and was told {event.offset}"


def empty_epoch(history: History) -> Iterator[str]:
    """An offset without an epoch is no position."""
    for _, event in history.of("subscribed"):
        if event.since is not None and event.recovered and event.since[1] and not event.since[0]:
            yield f"{event.who} recovered {event.channel} from {event.since[1]} without an epoch"


def above_end(history: History) -> Iterator[str]:
    """Nobody stands above the end: what was delivered or acknowledged is there when the end is asked for."""
    highest: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for place, event in history.of("ok", "delivered", "head"):
        at = (event.channel, event.epoch)
        # `number` of a head says where it was asked for: what is seen meanwhile may be newer.
        if event.what == "head" and event.offset < highest[at][0] and highest[at][1] < event.number:
            yield f"{event.channel} ends at {event.epoch}:{event.offset}, and {highest[at][0]} was told"
        if event.what != "head" and event.epoch and event.offset > highest[at][0]:
            highest[at] = (event.offset, place)


def unpermitted(history: History) -> Iterator[str]:
    """Nobody receives what they may not see, or no longer."""
    strangers = {(event.who, event.channel) for _, event in history.of("stranger")}
    revoked = {(event.who, event.channel): event.at_ms for _, event in history.of("revoked")}
    for _, event in history.of("delivered", "subscribed"):
        whose = (event.who, event.channel)
        if whose in strangers:
            yield f"{event.who} may not see {event.channel}: {event.what} at {event.offset}"
        elif event.at_ms > revoked.get(whose, event.at_ms) + GRACE_MS:
            yield f"{event.who} may not see {event.channel} any more: {event.what} at {event.offset}"


def sent_away(history: History) -> Iterator[str]:
    """Nobody is sent away for good who may be there."""
    excused = {(event.who, event.channel) for _, event in history.of("stranger", "revoked")}
    for _, event in history.of("unsubscribed"):
        if event.code < Unsubscribe.INSUFFICIENT_STATE and (event.who, event.channel) not in excused:
            yield f"{event.who} was unsubscribed from {event.channel}: {event.code}"
    for _, event in history.of("disconnected"):
        if event.code and not reconnects(event.code):
            yield f"{event.who} was sent away: {event.code}"
    for _, event in history.of("refused"):
        if (event.who, event.channel) not in excused:
            yield f"{event.who} was refused {event.channel}: {event.code}"


Step = tuple[Track, int, tuple[int, str, int, str]]


def _steps(history: History) -> Iterator[Step]:
    """Return each delivery with the track that it belongs to, and how far that had come."""
    for track in history.tracks:
        last = track.start
        for item in track.items:
            yield track, last, item
            last = item[2]


CHECKERS: list[Checker] = [
    lost,
    two_values,
    stored_twice,
    refused_seen,
    stored_late,
    unpublished,
    publishers_disorder,
    overtaken,
    skipped,
    disorder,
    delivered_twice,
    unseen,
    wrong_prefix,
    untold,
    false_alarm,
    unannounced,
    reply_elsewhere,
    empty_epoch,
    above_end,
    unpermitted,
    sent_away,
]
