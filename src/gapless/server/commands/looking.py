"""The commands that look: history, presence."""

from collections.abc import Callable
from functools import partial

from gapless.core.errors import NotAvailable
from gapless.core.stream import Position
from gapless.protocol.messages import (
    ClientInfo,
    HistoryRequest,
    HistoryResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    Reply,
)
from gapless.server.commands import rights
from gapless.server.session import Session, Work

__all__ = ["history", "presence", "presence_stats"]

Present = dict[str, ClientInfo]


def history(session: Session, id: int, request: HistoryRequest) -> Work:
    """Read what a channel keeps; so much at once, as what no socket has taken yet is in memory."""
    channel = request.channel
    if not session.node.broker.namespaces.of(channel).namespace.history:
        raise NotAvailable(f"channel {channel!r} keeps no history")
    rights.check_looking(session, channel, "history")
    cap = session.node.options.history_max_publication_limit
    limit = cap if request.limit < 0 else min(request.limit, cap)
    session.awaited_messages += limit
    return _read_history(session, id, request, limit)


async def _read_history(session: Session, id: int, request: HistoryRequest, limit: int) -> None:
    broker, codec = session.node.broker, session.wire.codec
    try:
        since = Position(request.since.epoch, request.since.offset) if request.since is not None else None
        held = await broker.history(request.channel, limit=limit, since=since, reverse=request.reverse)
        publications = [codec.publication(message) for message in held.messages]
        result = HistoryResult(epoch=held.epoch, offset=held.offset)
        if not session.expired():
            session.send_part(codec.history(id, result, publications))
    finally:
        session.awaited_messages -= limit


def presence(session: Session, id: int, request: PresenceRequest) -> Work | None:
    """Tell who is subscribed."""
    return _look(session, request.channel, partial(_tell_clients, session, id))


def presence_stats(session: Session, id: int, request: PresenceStatsRequest) -> Work | None:
    """Tell how many are subscribed."""
    return _look(session, request.channel, partial(_tell_numbers, session, id))


def _tell_clients(session: Session, id: int, present: Present) -> None:
    session.send(Reply(id, presence=PresenceResult(present)))


def _tell_numbers(session: Session, id: int, present: Present) -> None:
    users = {info.user for info in present.values()}
    session.send(Reply(id, presence_stats=PresenceStatsResult(len(present), len(users))))


def _look(session: Session, channel: str, tell: Callable[[Present], None]) -> Work | None:
    if not session.node.broker.namespaces.of(channel).namespace.presence:
        raise NotAvailable(f"channel {channel!r} does not track presence")
    rights.check_looking(session, channel, "presence")
    present = session.node.broker.presence_now(channel)
    if present is None:
        return _ask(session, channel, tell)
    tell(present)
    return None


async def _ask(session: Session, channel: str, tell: Callable[[Present], None]) -> None:
    present = await session.node.broker.presence(channel)
    if not session.expired():
        tell(present)
