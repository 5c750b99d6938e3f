"""The reference of the Python library, from its signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from inspect import Parameter
from typing import Any

import gapless
from docs.generate.words import said
from gapless import Job, Message, Router
from gapless.library import hooks
from gapless.library.handlers import QueueHandler, RecurringHandler, StreamHandler
from gapless.library.making import JobOptions, MessageOptions
from gapless.library.streaming import Streams
from gapless.library.tending import Jobs, Queues, Result, Schedules
from gapless.library.terms import QueueSaid, StreamSaid

__all__ = ["library_page"]

HEAD = """# Python library

`from gapless import …` for what has no other place here. How it is used: [queues](../howto/jobs.md), [streams](../howto/streams.md),
[workers](../howto/workers.md), [hooks](../howto/hooks.md), [tests](../howto/test-your-handlers.md). What the verbs answer stands with the verbs of
[queues](queues-api.md) and [streams](streams-api.md), what errors mean under [codes](codes.md): `gapless.errors` has a class for each reason.

Durations are `"30s"`, `"5m"`, `"1h30m"`, a `timedelta` or a number of seconds; times are a `datetime`, RFC 3339, or milliseconds
since the Unix epoch. Every verb is awaited; `gl.sync` has the same for programs without a loop: `gl.sync.publish(…)`.
"""

SECTIONS: dict[str, list[tuple[str, type]]] = {
    "What is declared": [
        ("`@gl.queue(name, …)`", QueueSaid),
        ("`@gl.stream(name, group=…, …)`", StreamSaid),
        ("What may be said of a job", JobOptions),
        ("What may be said of a message", MessageOptions),
        ("A function that handles a queue", QueueHandler),
        ("A function that handles a stream", StreamHandler),
        ("A function that recurs", RecurringHandler),
    ],
    "What is looked after": [
        ("gl.jobs", Jobs),
        ("gl.queues", Queues),
        ("gl.schedules", Schedules),
        ("gl.streams", Streams),
        ("Result", Result),
    ],
}
# What nobody makes, and what declares as `Gapless` does; what only the layers above ask for.
UNMADE = (Job, Message, QueueHandler, RecurringHandler, StreamHandler, Jobs, Queues, Schedules, Streams)
SAME = (Router,)
INNER = {"through", "meanwhile", "carry", "ask", "send_jobs", "send_messages", "emitted", "hooks", "handlers"}
INNER |= {"running", "key_of"}
FAILING = re.compile(r"^Raises:\n((?:[ ]+.*\n?)+)", re.MULTILINE)


def library_page() -> str:
    """Return the page."""
    parts = [HEAD]
    for name in gapless.__all__:
        thing = getattr(gapless, name)
        if callable(thing):
            parts += _told(name, thing)
    for title, things in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name, kind in things:
            parts += _told(name, kind, level=3)
    parts.append("## gapless.hooks\n\n" + _prose(said(hooks)) + "\n")
    for name in hooks.__all__:
        thing = getattr(hooks, name)
        if isinstance(thing, type) and name not in ("Declaring", "Hook"):
            parts += _told(f"hooks.{name}", thing, level=3)
    return "\n".join(parts)


def _told(name: str, thing: Any, level: int = 2) -> Iterator[str]:
    """Yield a heading, what it is, and, if it is a class, its methods."""
    yield f"{'#' * level} {name}\n\n{_prose(said(thing))}\n"
    if not isinstance(thing, type):
        yield f"`{name}{_signature(thing)}`\n"
        return
    if hasattr(thing, "__total__"):
        yield ", ".join(f"`{option}`" for option in thing.__annotations__) + "\n"
        return
    if issubclass(thing, Enum):
        yield ", ".join(f"`{each.value}`" for each in thing) + "\n"
    elif thing not in UNMADE:
        yield f"`{name}{_signature(thing)}`\n"
    for method, function in inspect.getmembers(thing, inspect.isfunction):
        inner = (
            thing in SAME or method.startswith("_") or method in INNER or (thing, method) == (Job, "settle")
        )
        if function.__doc__ and function.__module__.startswith("gapless.library") and not inner:
            yield f"**`{method}{_signature(function)}`** {_prose(said(function))}\n"


def _signature(thing: Callable[..., Any]) -> str:
    """Return names and defaults; types are in the code, where editors find them."""
    if isinstance(thing, type) and issubclass(thing, Exception) and "__init__" not in vars(thing):
        return "(reason)"
    told: list[str] = []
    starred = False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is Parameter.VAR_KEYWORD:
            told.append("…")
            continue
        if parameter.kind is Parameter.KEYWORD_ONLY and not starred:
            starred = True
            told.append("*")
        told.append(parameter.name + _default(parameter.default))
    return f"({', '.join(told)})"


def _default(value: Any) -> str:
    if value is Parameter.empty:
        return ""
    told = value.value if isinstance(value, Enum) else value
    return f"={told!r}" if isinstance(told, str | int | float | tuple | None) else "=…"


def _prose(text: str) -> str:
    """Return a docstring as Markdown: what is indented there is no code."""
    return FAILING.sub(lambda found: "Raises " + " ".join(found[1].split()), text)
