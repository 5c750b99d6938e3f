"""The commands that publish: `publish`, and rpc `gapless.publish` for what stock SDKs have no place for."""

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.broker.broker import Answer
from gapless.core.errors import BadRequest, GaplessError
from gapless.core.stream import Stored
from gapless.protocol.messages import (
    NO_PAYLOAD,
    Payload,
    PublishRequest,
    PublishResult,
    Reply,
    RpcRequest,
    RpcResult,
    payload,
)
from gapless.protocol.meta import Meta, is_json
from gapless.server.commands import rights
from gapless.server.session import Session

__all__ = ["publish", "rpc"]

NULL: Final = b"null"


class Publish(Struct, forbid_unknown_fields=True):
    """The parameters of rpc `gapless.publish`, a JSON object on either protocol."""

    channel: str
    data: Payload = NO_PAYLOAD
    idempotency_key: str | None = None


class Published(Struct):
    """What rpc `gapless.publish` returns: where the message stands; 0 where the channel keeps no history."""

    offset: int
    epoch: str


_decode: Final = msgspec.json.Decoder(Publish).decode


def publish(session: Session, id: int, request: PublishRequest) -> None:
    """Publish to a channel; answered once the message is stored and handed to this node's subscribers."""
    key, answer = request.idempotency_key or None, partial(_published, session, id)
    _publish(session, request.channel, bytes(request.data), key, answer, any_bytes=session.wire.codec.binary)


def _publish(
    session: Session, channel: str, data: bytes, key: str | None, answer: Answer, *, any_bytes: bool
) -> None:
    """Publish what may be JSON only, or with `any_bytes` anything. A key is its user's own."""
    rights.check(session, channel, "publish")
    if not data or (data == NULL and not any_bytes):
        raise BadRequest("a publication needs data")
    binary = any_bytes and not is_json(data)
    subscription = session.subscriptions.get(channel)
    if subscription is None or subscription.grant is None or not subscription.grant.info:
        meta = session.meta(binary=binary)
    else:
        meta = Meta(info=subscription.info, binary=binary).encoded()
    session.node.broker.publish(
        channel, data, answer, meta=meta, binary=binary, key=key, owner=session.claims.user, origin=session
    )


def _published(session: Session, id: int, outcome: Stored | GaplessError) -> None:
    if not session.open:
        return
    if isinstance(outcome, GaplessError):
        session.refuse(id, outcome)
    else:
        session.send(Reply(id, publish=PublishResult()))


def rpc(session: Session, id: int, request: RpcRequest) -> None:
    """Call `gapless.publish`."""
    try:
        asked = _decode(bytes(request.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"gapless.publish: {error}") from error
    answer = partial(_answer_position, session, id)
    _publish(session, asked.channel, bytes(asked.data), asked.idempotency_key, answer, any_bytes=False)


def _answer_position(session: Session, id: int, outcome: Stored | GaplessError) -> None:
    if not session.open:
        return
    if isinstance(outcome, GaplessError):
        session.refuse(id, outcome)
        return
    position: Any = Published(outcome.offset, outcome.epoch if outcome.offset else "")
    session.send(Reply(id, rpc=RpcResult(payload(msgspec.json.encode(position)))))
