"""The methods that look: at channels, at who is there, at what is kept; and the one that drops that."""

import base64
from collections.abc import Callable
from fnmatch import translate
from heapq import nsmallest
from re import compile as compiled

import msgspec

from gapless.broker.broker import Broker
from gapless.broker.permissions import hide_system, is_system
from gapless.core.errors import BinaryMessage
from gapless.core.limits import PAGE_MESSAGES_MAX
from gapless.core.stream import Message, Position
from gapless.protocol.codec import codec
from gapless.protocol.meta import Meta
from gapless.server.api.calls import encode, text
from gapless.server.api.info import Node
from gapless.server.api.requests import (
    ChannelsRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
)

__all__ = ["Looking"]


class Looking:
    """What a backend may see of channels. `nodes` tells how the nodes are."""

    def __init__(self, broker: Broker, nodes: Callable[[], list[Node]]) -> None:
        self._broker = broker
        self._nodes = nodes

    async def history(self, request: HistoryRequest) -> bytes:
        """Return publications, and the position of the channel's end. At most a page of messages at once."""
        hide_system(request.channel)
        limit, since = request.limit or 0, request.since
        held = await self._broker.history(
            request.channel,
            limit=PAGE_MESSAGES_MAX if limit < 0 else min(limit, PAGE_MESSAGES_MAX),
            since=Position(since.epoch, since.offset) if since is not None else None,
            reverse=request.reverse or False,
        )
        publications = b",".join(map(_publication, held.messages))
        return b'{"publications":[%b],"offset":%d,"epoch":%b}' % (
            publications,
            held.offset,
            text(held.epoch),
        )

    async def history_remove(self, request: HistoryRemoveRequest) -> bytes:
        """Drop what a channel keeps; its readers who had not read that are told so."""
        hide_system(request.channel)
        await self._broker.remove_history(request.channel)
        return b"{}"

    def presence(self, request: PresenceRequest) -> bytes:
        """Return who is subscribed, by client id."""
        hide_system(request.channel)
        return encode({"presence": self._broker.presence(request.channel)})

    def presence_stats(self, request: PresenceStatsRequest) -> bytes:
        """Return how many are subscribed."""
        hide_system(request.channel)
        clients = self._broker.presence(request.channel)
        users = {info.user for info in clients.values()}
        return encode({"num_clients": len(clients), "num_users": len(users)})

    def channels(self, request: ChannelsRequest) -> bytes:
        """Return the channels that somebody follows; a page of them if one is asked for."""
        fits = compiled(translate(request.pattern)).fullmatch if request.pattern else None
        after, limit = request.after or "", request.limit or 0
        names = (
            name
            for name, channel in self._broker.hub.channels.items()
            if channel.subscriptions and name > after and not is_system(name) and (fits is None or fits(name))
        )
        page = nsmallest(limit + 1, names) if limit else sorted(names)
        more = bool(limit) and len(page) > limit
        followed = self._broker.hub.channels
        told = {name: {"num_clients": len(followed[name].subscriptions)} for name in page[: limit or None]}
        return encode({"channels": told, "next": page[limit - 1]} if more else {"channels": told})

    def info(self, request: InfoRequest) -> bytes:
        """Return how the nodes are."""
        return encode({"nodes": self._nodes()})


def _publication(message: Message) -> bytes:
    try:
        return codec(binary=False).publication(message)
    except BinaryMessage:
        beside = msgspec.json.decode(message.meta or b"{}", type=Meta)
        encoded = base64.b64encode(message.data).decode()
        told = {"data": None, "b64data": encoded, "offset": message.offset, "tags": beside.tags}
        return encode(told if beside.info is None else {**told, "info": beside.info})
