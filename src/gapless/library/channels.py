"""What is read of channels: publications, pages of them, and a subscription's way through them."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from gapless.client.following import Arrived, Event
from gapless.core.cursor import cursor, position
from gapless.core.errors import BadRequest, PositionLost
from gapless.core.stream import Position
from gapless.library.times import instant_ms, moment
from gapless.protocol.meta import is_json

__all__ = ["Page", "Place", "Publication", "page_of", "position_of", "publications", "query_of"]

Place = str | Position | datetime
"""A cursor, a position, or a time with its zone."""


class Publication(Struct, frozen=True, kw_only=True):
    """A message of a channel: `data` is what JSON says, or bytes. `cursor` names where it stands.

    Where a channel keeps no history there is no `position`, and the cursor is empty. `publisher` is who a
    client was that published it, as far as it is known.
    """

    channel: str
    data: Any
    position: Position | None = None
    cursor: str = ""
    time: datetime | None = None
    tags: dict[str, str] = {}
    publisher: dict[str, Any] | None = None


class Page(Struct, frozen=True, kw_only=True):
    """Publications in the order asked for: the newest first, unless those after a place were.

    `before` and `after` are the cursors of its two ends, from which to read on if there is more to read.
    """

    publications: list[Publication]
    before: str
    after: str
    has_before: bool
    has_after: bool
    head: int
    oldest: int
    epoch: str


class _Item(Struct):
    cursor: str
    offset: int
    time: int
    data: Any = None
    b64data: str | None = None
    tags: dict[str, str] = {}
    publisher: dict[str, Any] | None = None


class _Answer(Struct):
    items: list[_Item]
    before_cursor: str
    after_cursor: str
    has_before: bool
    has_after: bool
    head: int
    oldest: int
    epoch: str


_decode = msgspec.json.Decoder(_Answer).decode


def query_of(
    channel: str,
    *,
    before: Place | None,
    after: Place | None,
    around: Place | None,
    size: int,
) -> bytes:
    """Return the query of the messages API. Raises BadRequest: a place is none."""
    given = {"before": before, "after": after, "around": around}
    query: dict[str, str | int] = {"size": size}
    for name, place in given.items():
        if place is not None:
            told = _told(channel, place)
            query["at" if name == "around" and isinstance(told, int) else name] = told
    return urlencode(query).encode()


def _told(channel: str, place: Place) -> str | int:
    if isinstance(place, str):
        return place
    if isinstance(place, Position):
        return cursor(channel, place)
    if isinstance(place, datetime):
        return instant_ms(place)
    raise BadRequest(f"{place!r} is no place: a cursor, a position, or a datetime")


def page_of(channel: str, body: bytes) -> Page:
    """Return a page that the messages API answered."""
    answer = _decode(body)
    return Page(
        publications=[_publication(channel, answer.epoch, item) for item in answer.items],
        before=answer.before_cursor,
        after=answer.after_cursor,
        has_before=answer.has_before,
        has_after=answer.has_after,
        head=answer.head,
        oldest=answer.oldest,
        epoch=answer.epoch,
    )


def _publication(channel: str, epoch: str, item: _Item) -> Publication:
    return Publication(
        channel=channel,
        data=item.data if item.b64data is None else base64.b64decode(item.b64data),
        position=Position(epoch, item.offset),
        cursor=item.cursor,
        time=moment(item.time),
        tags=item.tags,
        publisher=item.publisher,
    )


def position_of(channel: str, after: str | Position | None) -> Position | None:
    """Return where to go on from. Raises BadRequest: it is no cursor of this channel."""
    return position(channel, after) if isinstance(after, str) else after


async def publications(
    channel: str, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[Publication, None]:
    """Return what arrives in a channel.

    Raises:
        PositionLost: what was published after the last one cannot be told; it says what may be missing.
    """
    async with aclosing(events) as told:
        async for event in told:
            if isinstance(event, Arrived):
                yield _arrived(channel, event)
            elif event.after is not None:
                raise PositionLost(f"channel {channel!r}: what followed {_said(event.after)} cannot be told")


def _arrived(channel: str, event: Arrived) -> Publication:
    at = event.position
    return Publication(
        channel=channel,
        data=_read(event.data),
        position=at,
        cursor=cursor(channel, at) if at is not None else "",
        tags=event.tags,
    )


def _read(data: bytes) -> Any:
    """Return what JSON says; what is not JSON was published as bytes."""
    return msgspec.json.decode(data) if is_json(data) else data


def _said(at: Position) -> str:
    return f"offset {at.offset} of {at.epoch}"
