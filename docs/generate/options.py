"""The reference of options, from the configuration's model; and of Centrifugo's keys, from their list."""

import tomllib
from collections.abc import Iterator
from importlib.resources import files

from msgspec import Struct

from docs.generate.words import default_of, said, table, type_of
from gapless.core.jobs import QueueOptions
from gapless.protocol.settings import FullStreamSettings
from gapless.server.config.centrifugo import Verdict, rows
from gapless.server.config.fields import keys, section_of
from gapless.server.config.model import Config

__all__ = ["centrifugo_page", "meaning", "meanings", "options_page", "sections"]

# Where the meaning of a section's keys stands, if it is not their own: what it builds on.
FROM = {
    "client.subscription_token": "client.token",
    "limits.user": "limits.connection",
    "limits.address": "limits.user",
}

# What the rules of a section may say, with the defaults of what is new.
FULL: dict[str, type[Struct]] = {"queues": QueueOptions, "streams": FullStreamSettings}

LISTS = ("channel.namespaces", "console.users", "queues", "streams")

HEAD = """# Options

A configuration is a TOML or JSON file, then the environment, then `--set`; what comes later counts. A key
`client.token.audience` stands in the section `[client.token]` of a TOML file, is the variable
`GAPLESS_CLIENT__TOKEN__AUDIENCE`, and `--set client.token.audience=…`. A duration is written as `"300ms"`, `"1h30m"`.
`gapless config` prints every value and where it came from; see [the command line](command-line.md).

An unknown key is an error that names the nearest one; with `--lenient` it is a warning. So is a variable of one underscore
where two belong, or almost: `GAPLESS_HTTP_SERVER_PRT`. Any other `GAPLESS_…` without two underscores may be meant for a program that shares the
environment; it is not read, and a warning says so. What Kubernetes and Docker set for a service of that name
(`GAPLESS_SERVICE_HOST`, `GAPLESS_PORT=tcp://…`, `GAPLESS_PORT_8000_TCP`, …) is left alone.

What Centrifugo has is named as there. Its whole list is in [Centrifugo's keys](centrifugo-keys.md).
"""

WHAT = {
    Verdict.SAME: "has it",
    Verdict.OURS: "only gapless has it",
    Verdict.IGNORED: "accepted, without effect",
    Verdict.MISSING: "an error, unless it is switched off",
}

CENTRIFUGO = """# Centrifugo's keys

Every key of a Centrifugo v6 file, and what gapless does with it. What is not here is an error unless it has the value
that switches it off; with `--lenient` such an error is a warning. The keys of `channel.namespaces` stand for
`channel.without_namespace` too.
"""


def sections(model: type[Struct] = Config, path: str = "") -> Iterator[tuple[str, type[Struct]]]:
    """Yield every section with its path; what holds for channels stands once, as `channel.namespaces`."""
    yield path, model
    for key, field in keys(model).items():
        inner = section_of(field)
        place = f"{path}.{key}" if path else key
        if inner is not None and place != "channel.without_namespace":
            yield from sections(inner, place)


def meanings() -> dict[str, str]:
    """Return what each key means, by its path."""
    found: dict[str, str] = tomllib.loads((files(__package__) / "options.toml").read_text())
    return found


def meaning(told: dict[str, str], section: str, key: str) -> str:
    """Return what a key means, in its own words or in those of what its section builds on."""
    own = told.get(f"{section}.{key}")
    return own if own is not None else meaning(told, FROM[section], key)


def options_page() -> str:
    """Return the page of options."""
    told = meanings()
    parts = [HEAD]
    for path, model in sections():
        values = {key: field for key, field in keys(model).items() if section_of(field) is None}
        if not path:
            continue
        full = keys(FULL[path]) if path in FULL else {}
        shown = path + "[]" if path in LISTS else path
        lines = [
            (f"`{key}`", type_of(field), default_of(full.get(key, field)), meaning(told, path, key))
            for key, field in values.items()
        ]
        parts.append(f"## {shown}\n\n{said(model)}\n\n{table(('Key', 'Value', 'Default', 'Meaning'), lines)}")
    return "\n".join(parts)


def centrifugo_page() -> str:
    """Return the page of Centrifugo's keys."""
    lines = [
        (
            f"`{key.path}`",
            key.kind,
            f"`{key.default}`" if key.default else "",
            WHAT[key.verdict],
            key.sentence,
        )
        for key in rows()
    ]
    return CENTRIFUGO + "\n" + table(("Key", "Value", "Centrifugo's default", "gapless", ""), lines)
