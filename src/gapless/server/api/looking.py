"""The methods that look: at channels, at who is there, at what is kept; and the one that drops that."""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import translate
from heapq import nsmallest
from re import compile as compiled
from typing import Any

import msgspec

from gapless.broker.broker import Broker
from gapless.broker.permissions import hide_system, is_system
from gapless.core.errors import BinaryMessage, Unavailable
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
from gapless.server.nodes.asking import Asking

__all__ = ["Looking"]


class _Channels(msgspec.Struct, frozen=True):
    """Channels by name, with how many follow each; `next` is the last of them if there are more."""

    channels: dict[str, int]
    next: str = ""


class Looking:
    """What a backend may see of channels. `nodes` tells how the nodes are, `elsewhere` asks the others."""

    def __init__(
        self, broker: Broker, nodes: Callable[[], list[Node]], elsewhere: Asking | None = None
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._elsewhere = elsewhere
        if elsewhere is not None:
            elsewhere.serve("channels", self._channels_here, looks=True)

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
        await self._broker.removing.remove_history(request.channel)
        return b"{}"

    async def presence(self, request: PresenceRequest) -> bytes:
        """Return who is subscribed, by client id."""
        hide_system(request.channel)
        return encode({"presence": await self._broker.presence(request.channel)})

    async def presence_stats(self, request: PresenceStatsRequest) -> bytes:
        """Return how many are subscribed."""
        hide_system(request.channel)
        clients = await self._broker.presence(request.channel)
        users = {info.user for info in clients.values()}
        return encode({"num_clients": len(clients), "num_users": len(users)})

    async def channels(self, request: ChannelsRequest) -> bytes:
        """Return the channels that somebody follows; a page of them if one is asked for."""
        page = self._page(request)
        if self._elsewhere is not None and not self._elsewhere.is_alone:
            others = await self._elsewhere.everywhere("channels", encode(request))
            page = _merged([page, *map(_read_page, others)], request.limit or 0)
        channels = {name: {"num_clients": count} for name, count in page.channels.items()}
        told: dict[str, Any] = {"channels": channels}
        if page.next:
            told["next"] = page.next
        return encode(told)

    async def _channels_here(self, body: bytes) -> bytes:
        return encode(self._page(msgspec.json.decode(body, type=ChannelsRequest)))

    def _page(self, request: ChannelsRequest) -> _Channels:
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
        told = {name: len(followed[name].subscriptions) for name in page[: limit or None]}
        return _Channels(told, page[limit - 1] if more else "")

    def info(self, request: InfoRequest) -> bytes:
        """Return how the nodes are."""
        return encode({"nodes": self._nodes()})


def _read_page(told: bytes) -> _Channels:
    try:
        return msgspec.json.decode(told, type=_Channels)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"another node answers what cannot be read: {error}") from error


def _merged(pages: Sequence[_Channels], limit: int) -> _Channels:
    """Join the pages of all nodes. What fits is whole: none has it behind the end of its page."""
    followed: Counter[str] = Counter()
    for page in pages:
        followed.update(page.channels)
    names = sorted(followed)
    more = bool(limit) and (len(names) > limit or any(page.next for page in pages))
    fitting = names[: limit or None]
    return _Channels({name: followed[name] for name in fitting}, fitting[-1] if more else "")


def _publication(message: Message) -> bytes:
    try:
        return codec(binary=False).publication(message)
    except BinaryMessage:
        beside = msgspec.json.decode(message.meta or b"{}", type=Meta)
        encoded = base64.b64encode(message.data).decode()
        told = {"data": None, "b64data": encoded, "offset": message.offset, "tags": beside.tags}
        return encode(told if beside.info is None else {**told, "info": beside.info})
