"""The commands that publish: `publish`, and rpc `gapless.publish` for what stock SDKs have no place for."""

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from gapless.broker import permissions
from gapless.broker.broker import Answer
from gapless.core.errors import BadRequest, GaplessError
from gapless.core.stream import Stored
from gapless.protocol.hooks import Decision, Publishing
from gapless.protocol.messages import (
    NO_PAYLOAD,
    Payload,
    PublishRequest,
    Reply,
    RpcRequest,
    RpcResult,
    payload,
)
from gapless.protocol.meta import Meta, is_json
from gapless.server import hooking
from gapless.server.commands import rights
from gapless.server.hooks import Hooks
from gapless.server.session import Session, Work

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


def publish(session: Session, id: int, request: PublishRequest) -> Work | None:
    """Publish to a channel; answered once the message is stored and handed to this node's subscribers."""
    key, answer = request.idempotency_key or None, partial(_published, session, id)
    any_bytes = session.wire.codec.binary
    hooks = session.node.hooks
    if hooks is not None and hooks.has("publish", request.channel):
        said = Publish(request.channel, request.data, key)
        return _publish_by_hook(session, id, hooks, said, answer, any_bytes=any_bytes)
    _publish(session, request.channel, bytes(request.data), key, answer, any_bytes=any_bytes)
    return None


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


def _publish_by_hook(
    session: Session, id: int, hooks: Hooks, said: Publish, answer: Answer, *, any_bytes: bool
) -> Work:
    """Let a hook decide; what comes later for this channel waits until then."""
    rights.check_acting(session)
    session.asking = session.asking or set()
    session.asking.add(said.channel)
    return _publish_later(session, id, hooks, said, answer, any_bytes=any_bytes)


async def _publish_later(
    session: Session, id: int, hooks: Hooks, said: Publish, answer: Answer, *, any_bytes: bool
) -> None:
    channel = said.channel
    try:
        session.node.broker.namespaces.of(channel)
        permissions.refuse_system(channel)
        if not len(said.data):
            raise BadRequest("a publication needs data")
        who = hooking.who(session, said.data)
        asked = Publishing(**who, channel=channel, idempotency_key=said.idempotency_key or "")
        decision = await hooking.decided(session, id, hooks, asked)
        if decision is None:
            return
        if not decision.decided:
            rights.check(session, channel, "publish")
        _publish_decided(session, said, decision, answer, any_bytes=any_bytes)
    finally:
        assert session.asking is not None
        session.asking.discard(channel)


def _publish_decided(
    session: Session, said: Publish, decision: Decision, answer: Answer, *, any_bytes: bool
) -> None:
    data = decision.body() or bytes(said.data)
    binary = (any_bytes or decision.b64data is not None) and not is_json(data)
    if data == NULL and not any_bytes:
        raise BadRequest("a publication needs data")
    subscription = session.subscriptions.get(said.channel)
    info = subscription.info if subscription is not None else session.info
    session.node.broker.publish(
        said.channel,
        data,
        answer,
        meta=Meta(info=info, tags=decision.tags, binary=binary).encoded(),
        binary=binary,
        key=said.idempotency_key,
        owner=session.claims.user,
        skip_history=decision.skip_history,
        origin=session,
    )


def _published(session: Session, id: int, outcome: Stored | GaplessError) -> None:
    if not session.open:
        return
    if isinstance(outcome, GaplessError):
        session.refuse(id, outcome)
    else:
        session.send_part(session.wire.codec.published(id))


def rpc(session: Session, id: int, request: RpcRequest) -> Work | None:
    """Call `gapless.publish`."""
    try:
        asked = _decode(bytes(request.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"gapless.publish: {error}") from error
    answer = partial(_answer_position, session, id)
    hooks = session.node.hooks
    if hooks is not None and hooks.has("publish", asked.channel):
        return _publish_by_hook(session, id, hooks, asked, answer, any_bytes=False)
    _publish(session, asked.channel, bytes(asked.data), asked.idempotency_key, answer, any_bytes=False)
    return None


def _answer_position(session: Session, id: int, outcome: Stored | GaplessError) -> None:
    if not session.open:
        return
    if isinstance(outcome, GaplessError):
        session.refuse(id, outcome)
        return
    position: Any = Published(outcome.offset, outcome.epoch if outcome.offset else "")
    session.send(Reply(id, rpc=RpcResult(payload(msgspec.json.encode(position)))))
