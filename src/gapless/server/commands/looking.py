"""The commands that look: history, presence."""

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


def presence(session: Session, id: int, request: PresenceRequest) -> None:
    """Tell who is subscribed."""
    session.send(Reply(id, presence=PresenceResult(_present(session, request.channel))))


def presence_stats(session: Session, id: int, request: PresenceStatsRequest) -> None:
    """Tell how many are subscribed."""
    clients = _present(session, request.channel)
    users = {info.user for info in clients.values()}
    session.send(Reply(id, presence_stats=PresenceStatsResult(len(clients), len(users))))


def _present(session: Session, channel: str) -> dict[str, ClientInfo]:
    if not session.node.broker.namespaces.of(channel).namespace.presence:
        raise NotAvailable(f"channel {channel!r} does not track presence")
    rights.check_looking(session, channel, "presence")
    return session.node.broker.presence(channel)
