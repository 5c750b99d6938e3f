"""The calls of the ports, as they go over a socket: their types are those of the ports' methods."""

import inspect
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from gapless.core.errors import GaplessError
from gapless.core.stream import Entry, Outcome
from gapless.ports import Care, Store
from gapless.sharing.frames import MALFORMED, GiveUp, Ping, Refusal, Refused, Ring, Sent, Tell

__all__ = ["APPEND", "CALLS", "CARE", "Call", "Verb", "read_call"]


class Call(Struct, array_like=True):
    """A call under a number that rises within a connection; subclasses have the method's arguments."""

    number: int


class Verb(NamedTuple):
    """A method of the ports: the type of its calls, how an answer is read, and what a repeat does.

    `items` names the argument whose items are answered one by one. Who calls is told of progress if it
    `tells`.
    """

    name: str
    kind: Callable[..., Call]
    arguments: tuple[str, ...]
    answer: Callable[[bytes | msgspec.Raw], Any]
    is_repeatable: Callable[[Any], bool]
    only_reads: bool
    items: str = ""
    tells: bool = False


# What changes nothing.
_READS: Final = {
    "read", "heads", "find", "last_keyed", "generations",
    "queues", "look", "states", "browse", "next_due_ms", "schedules",
    "declared_streams", "groups", "present",
    "aside", "free_bytes",
}  # fmt: skip
# What may be begun anew by who called, when nothing more is heard of it; the owner's end gives it up.
_ENDS_WITH_OWNER: Final = {"backup", "check", "compact"}
# What may be carried out twice: the port says so, or the second time finds it done.
_HARMLESS: Final = {
    "trim", "compact_keys", "declare", "extend", "settle", "schedule", "fire", "declare_stream",
    "heartbeat", "leave", "beat", "enter", "depart", "end",
}  # fmt: skip
_ITEMS: Final = {"enqueue": "batches", "extend": "leases", "settle": "settlements", "commit": "commits"}
_REPEATABLE: Final[dict[str, Callable[[Any], bool]]] = {
    "append": lambda call: all(entry.key is not None for entry in call.entries),
    "enqueue": lambda call: (
        bool(call.request) or all(job.message_id is not None for batch in call.batches for job in batch)
    ),
    "claim": lambda call: bool(call.request),
    "pause": lambda call: call.audit is None,
    "commit": lambda call: not any(commit.emit for commit in call.commits),
}


def _on_wire(kind: Any) -> Any:
    """Return a type with what stands for errors in the place of errors."""
    if kind is GaplessError:
        return Refusal
    arguments = get_args(kind)
    if not arguments or GaplessError not in _leaves(kind):
        return kind
    told = tuple(_on_wire(argument) for argument in arguments)
    origin = get_origin(kind)
    if origin in (list, tuple):
        return origin[told]
    return Union[told]  # noqa: UP007 - how many they are is not known here


def _leaves(kind: Any) -> set[Any]:
    arguments = get_args(kind)
    return {kind} if not arguments else set().union(*map(_leaves, arguments))


def _verb(
    name: str, parameters: dict[str, Any], defaults: dict[str, Any], answer: Any, *, tells: bool = False
) -> Verb:
    fields = [(one, kind) for one, kind in parameters.items() if one not in defaults]
    optional = [(one, kind, defaults[one]) for one, kind in parameters.items() if one in defaults]
    kind = msgspec.defstruct(name, [*fields, *optional], bases=(Call,), array_like=True, tag=name)
    decoder = msgspec.msgpack.Decoder(_on_wire(answer))
    repeatable = name in _READS or name in _HARMLESS
    return Verb(
        name,
        cast("type[Call]", kind),
        tuple(field for field in kind.__struct_fields__ if field != "number"),
        decoder.decode,
        _REPEATABLE.get(name, lambda call: repeatable),
        name in _READS or name in _ENDS_WITH_OWNER,
        _ITEMS.get(name, ""),
        tells,
    )


def _of_port(port: type[Any], name: str) -> Verb:
    function = getattr(port, name)
    hints = get_type_hints(function, include_extras=True)
    answer = hints.pop("return")
    tells = hints.pop("told", None) is not None
    parameters = inspect.signature(function).parameters
    defaults = {
        one: it.default for one, it in parameters.items() if it.default is not inspect.Parameter.empty
    }
    return _verb(name, hints, defaults, answer, tells=tells)


CALLS: Final = {
    name: _of_port(Store, name)
    for name in sorted(Store.__abstractmethods__)
    if name != "close" and inspect.iscoroutinefunction(getattr(Store, name))
}
"""Every call of a store that is awaited, by its name."""

CARE: Final = {
    name: _of_port(Care, name)
    for name, function in vars(Care).items()
    if inspect.iscoroutinefunction(function)
}
"""Every call of the care of a file."""

APPEND: Final = _verb("append", {"entries": list[Entry]}, {}, list[Outcome])

_KINDS: Final = tuple(verb.kind for verb in (*CALLS.values(), *CARE.values(), APPEND))
_READ: Final = msgspec.msgpack.Decoder(Union[(*_KINDS, GiveUp, Ping, Ring, Sent, Tell)])
_HEAD: Final = msgspec.msgpack.Decoder(list[Any])


def read_call(body: bytes) -> Any:
    """Return what somebody who joined says; a call whose arguments are malformed is a `Refused`.

    Raises:
        msgspec.MsgspecError: it is no frame of ours.
    """
    try:
        return _READ.decode(body)
    except msgspec.ValidationError as error:
        match _HEAD.decode(body):
            case [str(), int(number), *_]:
                return Refused(number, Refusal(MALFORMED, f"malformed: {error}"))
        raise
