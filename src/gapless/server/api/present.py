"""The method that tells who is connected, to which node, and how far each is with what it follows."""

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import chain
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Raw, Struct

from gapless.broker.channel import Subscription
from gapless.core.errors import Unavailable
from gapless.core.limits import TOLD_PAGE, TOLD_PAGE_BYTES_MAX, TOLD_SUBSCRIPTIONS_MAX
from gapless.server.api.answers import Connected, FollowedChannel
from gapless.server.api.calls import encode
from gapless.server.api.requests import ConnectionsRequest
from gapless.server.session import Session
from gapless.server.sessions import Sessions

__all__ = ["Present"]

Entry = tuple[str, Raw]  # a client id, and what is told of it


class _Page(Struct):
    """Connections of a node by client id; there may be `more` behind the last."""

    entries: list[Entry]
    total: int
    more: bool = False


_channel: Final = attrgetter("channel.name")
_read_request: Final = msgspec.json.Decoder(ConnectionsRequest).decode
_read_page: Final = msgspec.json.Decoder(_Page).decode


class Present:
    """Who is connected, here and elsewhere."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        if sessions.elsewhere is not None:
            sessions.elsewhere.serve("connections", self._page_here, looks=True)

    async def connections(self, request: ConnectionsRequest) -> bytes:
        """Return a page of those who are connected.

        Raises:
            Unavailable: another node does not answer.
        """
        pages, elsewhere = [self._page(request)], self._sessions.elsewhere
        if elsewhere is not None and not elsewhere.is_alone:
            pages += map(_read, await elsewhere.everywhere("connections", encode(request)))
        entries, more = _merged(pages, request.limit or TOLD_PAGE)
        answer = {"connections": [told for _, told in entries], "total": sum(page.total for page in pages)}
        return encode({**answer, "next": entries[-1][0]} if more else answer)

    async def _page_here(self, body: bytes) -> bytes:
        return encode(self._page(_read_request(body)))

    def _page(self, request: ConnectionsRequest) -> _Page:
        clients, by_client = [each.info.client for each in self._fitting(request)], self._sessions.by_client
        after, limit = request.after or "", request.limit or TOLD_PAGE
        first = nsmallest(limit + 1, (client for client in clients if client > after))
        page, size_bytes = _Page([], len(clients), len(first) > limit), 0
        for client in first[:limit]:
            told = encode(self._told(by_client[client]))
            size_bytes += len(told)
            if size_bytes > TOLD_PAGE_BYTES_MAX and page.entries:
                page.more = True
                break
            page.entries.append((client, Raw(told)))
        return page

    def _fitting(self, request: ConnectionsRequest) -> Iterator[Session]:
        user, channel = request.user or "", request.channel or ""
        for session in self._some(request):
            fits = user in ("", session.info.user) and (not channel or channel in session.subscriptions)
            if fits and session.connected:
                yield session

    def _some(self, request: ConnectionsRequest) -> Iterable[Session]:
        """Return who may fit, as few as the request allows."""
        sessions = self._sessions
        if request.client:
            return sessions.of("", client=request.client)
        if request.user:
            return sessions.of(request.user)
        if not request.channel:
            return sessions.by_client.values()
        followed = sessions.broker.hub.channels.get(request.channel)
        readers = followed.subscriptions if followed is not None else ()
        found = (sessions.by_client.get(subscription.reader.info.client) for subscription in readers)
        return [session for session in found if session is not None]

    def _told(self, session: Session) -> Connected:
        name, version = session.sdk or ("", "")
        counted = session.socket.traffic()
        some = nsmallest(TOLD_SUBSCRIPTIONS_MAX, session.subscriptions.values(), key=_channel)
        told = Connected(
            client=session.info.client,
            user=session.info.user,
            node=self._sessions.broker.node,
            address=session.address,
            transport="websocket",
            protocol="protobuf" if session.wire.codec.binary else "json",
            name=name,
            version=version,
            connected_ms=session.connected_ms,
            watches=session.claims.watches,
            stalled=session.paused,
            buffered_bytes=session.socket.buffered_bytes(),
            num_subs=len(session.subscriptions),
            subscriptions=[_followed(subscription) for subscription in some],
        )
        if counted is not None:
            told.received_bytes, told.sent_bytes, told.rtt_ms = counted
        return told


def _followed(subscription: Subscription) -> FollowedChannel:
    channel, stands = subscription.channel, subscription.stands
    kept = channel.rules.namespace.history
    end = max(channel.live, channel.known) if kept else channel.sent
    return FollowedChannel(
        channel.name,
        stands if kept else 0,
        max(0, end - stands),
        not subscription.level,
        subscription.server_side,
    )


def _merged(pages: list[_Page], limit: int) -> tuple[list[Entry], bool]:
    """Join pages as far as all of them go; tell whether there is more."""
    entries = sorted(chain.from_iterable(page.entries for page in pages), key=lambda entry: entry[0])
    ends = [page.entries[-1][0] for page in pages if page.more]
    fitting = [entry for entry in entries if not ends or entry[0] <= min(ends)][:limit]
    return fitting, bool(ends) or len(entries) > len(fitting)


def _read(told: bytes) -> _Page:
    try:
        return _read_page(told)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"another node answers what cannot be read: {error}") from error
