"""The command rpc: `gapless.publish`, and the verbs of queues and streams as `gapless.queue.enqueue`."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gapless.broker.jobs import cut
from gapless.broker.verbs import Verbs
from gapless.core.errors import BadRequest, MethodNotFound, PermissionDenied, UnknownQueue
from gapless.core.limits import JOB_KEY_BYTES_MAX, REQUEST_SECRET_CHARS, RPC_WAIT_MAX_MS
from gapless.protocol import queues as wire
from gapless.protocol.codes import error_of
from gapless.protocol.hooks import Calling
from gapless.protocol.messages import Reply, RpcRequest, RpcResult, payload
from gapless.protocol.payloads import Failure
from gapless.protocol.schedules import ScheduleRequest
from gapless.protocol.settings import QueueSettings
from gapless.server import hooking
from gapless.server.commands import publishing, rights
from gapless.server.hooks import Hooks
from gapless.server.session import Session, Work

__all__ = ["rpc"]

PREFIX: Final = "gapless."
GONE: Final = {""}  # the queue of a job that is not there: nothing can be done to it
_encode: Final = msgspec.json.Encoder().encode


def rpc(session: Session, id: int, request: RpcRequest) -> Work | None:
    """Call a method of the node."""
    rights.check_acting(session)
    if request.method == "gapless.publish":
        return publishing.rpc(session, id, request)
    hooks = session.node.hooks
    if hooks is not None and not request.method.startswith(PREFIX) and hooks.has("rpc", request.method):
        return _call_hook(session, id, request, hooks)
    family, _, name = request.method.removeprefix(PREFIX).partition(".")
    verb, verbs = f"{family}/{name}", session.node.verbs
    if not request.method.startswith(PREFIX) or verbs is None or verb not in verbs.catalogue:
        raise MethodNotFound(f"there is no method {request.method!r}")
    return _call(session, id, verbs, verb, _asked(verb, verbs.catalogue[verb][0], bytes(request.data)))


async def _call_hook(session: Session, id: int, request: RpcRequest, hooks: Hooks) -> None:
    asked = Calling(**hooking.who(session, request.data), method=request.method)
    decision = await hooking.decided(session, id, hooks, asked)
    if decision is not None:
        data = hooking.payload_of(session, decision)
        session.send(Reply(id, rpc=RpcResult(payload(data))))


def _asked(verb: str, kind: type[Any], data: bytes) -> Any:
    try:
        data.decode()
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{verb}: {error}") from error


async def _call(session: Session, id: int, verbs: Verbs, verb: str, asked: Any) -> None:
    """Carry out a verb for a client: what it may do is asked first, and who it is stands in the claim."""
    await _check(session, verbs, verb, asked)
    user = session.info.user
    if getattr(asked, "wait_ms", 0) > RPC_WAIT_MAX_MS:
        asked = replace(asked, wait_ms=RPC_WAIT_MAX_MS)
    who = _caller(session, asked)
    if isinstance(asked, wire.ClaimRequest):
        worker = f"{user}/{asked.worker}" if asked.worker else user or "anonymous"
        asked = replace(asked, worker=cut(worker, JOB_KEY_BYTES_MAX))
        answer: Any = await verbs.queueing.claim(asked, who, lambda: not session.expired())
    else:
        answer = await verbs.call(verb, asked, who)
    if not session.expired():
        session.send(Reply(id, rpc=RpcResult(payload(_encode(_discreet(answer))))))


def _caller(session: Session, asked: Any) -> str:
    """Return who calls, for the audit stream, and of whom a call is a repeat.

    Who is anonymous is one connection, unless the request has an id that nobody else can know.
    """
    if session.info.user:
        return f"user {session.info.user}"
    if len(getattr(asked, "request", "")) >= REQUEST_SECRET_CHARS:
        return "anonymous"
    return f"client {session.info.client}"


def _discreet(answer: Any) -> Any:
    """Return an answer whose items tell a client its own faults in words, the server's by number only."""
    for name in answer.__struct_fields__:
        items = getattr(answer, name)
        for item in items if isinstance(items, list) else ():
            failure = getattr(item, "error", None)
            if isinstance(failure, Failure):
                item.error = replace(failure, message=error_of(failure.error()).message)
    return answer


async def _check(session: Session, verbs: Verbs, verb: str, asked: Any) -> None:
    """Refuse what the session may not do (`PermissionDenied`), also by what it emits."""
    if session.node.options.insecure:
        return
    family, claims = verb.partition("/")[0], session.claims
    granted = claims.queues if family == "queue" else claims.streams
    try:
        verbs.access.check(verb, await _names(verbs, family, asked), granted, claims.user)
    except PermissionDenied as denied:
        if not isinstance(asked, wire.DeclareQueueRequest) or asked.options != QueueSettings():
            raise
        await _check_look(session, verbs, asked.queue, denied)
    for settled in (*getattr(asked, "settlements", ()), *getattr(asked, "commits", ())):
        for emit in settled.emit:
            if emit.publish is not None:
                rights.check(session, emit.publish.channel, "publish")
            if emit.append is not None:
                verbs.access.check("stream/append", [emit.append.stream], claims.streams, claims.user)
            if emit.enqueue is not None:
                verbs.access.check("queue/enqueue", [emit.enqueue.queue], claims.queues, claims.user)


async def _check_look(session: Session, verbs: Verbs, queue: str, denied: PermissionDenied) -> None:
    """Let who may claim from a queue that is there hear how it behaves, as who declares it does."""
    try:
        verbs.access.check("queue/claim", [queue], session.claims.queues, session.claims.user)
    except PermissionDenied:
        raise denied from None
    verbs.queueing.declaring.forget()  # one that was dropped just now is not made anew
    try:
        await verbs.queueing.declaring.check(queue)
    except UnknownQueue:
        raise PermissionDenied(f"there is no queue {queue!r}, and {denied}") from None


async def _names(verbs: Verbs, family: str, asked: Any) -> set[str]:
    """Return the queues or streams that a request is about; jobs are in queues."""
    if family == "stream":
        return {getattr(asked, "stream", "") or getattr(asked, "source", "")}
    if isinstance(asked, wire.EnqueueRequest):
        return {job.queue for job in asked.jobs}
    if isinstance(asked, wire.ExtendRequest | wire.SettleRequest):
        held = asked.leases if isinstance(asked, wire.ExtendRequest) else asked.settlements
        return {await verbs.queueing.queue_of(each.id) for each in held} - GONE
    if isinstance(asked, wire.JobRequest | wire.CancelRequest | wire.ResultRequest):
        return {await verbs.queueing.queue_of(asked.id)} - GONE
    if isinstance(asked, ScheduleRequest):  # it may take the place of another queue's
        return {asked.queue, await verbs.queueing.scheduled_for(asked.name)} - GONE
    return {getattr(asked, "queue", "")}
