"""The reference of codes: what each means, why it comes, and what to do."""

import tomllib
from importlib.resources import files
from typing import Any

from docs.generate.words import table
from gapless.core.errors import GaplessError
from gapless.protocol.codes import Disconnect, Unsubscribe, error_of, reconnects

__all__ = ["KINDS", "explained", "numbers", "pages", "reasons"]

KINDS = {"error": "Errors", "disconnect": "Disconnects", "unsubscribe": "Unsubscribes", "reason": "Reasons"}

WHERE = {
    "error": "It comes as the answer to a command, or to a call of the server API, with `code`, `message` and `temporary`.",
    "disconnect": "It comes as the code and the reason of the WebSocket's close frame.",
    "unsubscribe": "It comes as a push that ends one subscription; the connection stays.",
    "reason": "It stands beside the code as `reason`, in answers over HTTP.",
}


def explained() -> dict[str, dict[str, Any]]:
    """Return cause and cure of each code, by kind and code."""
    found: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "codes.toml").read_text())
    return found


def errors(parent: type[GaplessError] = GaplessError) -> list[type[GaplessError]]:
    """Return the whole tree of errors; what modules of gapless derive from it for themselves is none of it."""
    children = [child for child in parent.__subclasses__() if child.__module__ == GaplessError.__module__]
    return [parent, *(error for child in children for error in errors(child))]


def reasons() -> dict[str, type[GaplessError]]:
    """Return the errors by their stable names; of those that share one, the first."""
    found: dict[str, type[GaplessError]] = {}
    for error in errors():
        found.setdefault(error.code, error)
    return found


def numbers() -> dict[str, dict[str, str]]:
    """Return every code that gapless can send with its text, by kind."""
    told = {error.number: error_of(error()).message for error in errors()}
    return {
        "error": {str(number): told[number] for number in sorted(told)},
        "disconnect": {str(int(code)): code.reason for code in Disconnect},
        "unsubscribe": {str(int(code)): code.reason for code in Unsubscribe},
        "reason": {name: (error.__doc__ or "").partition("\n")[0] for name, error in reasons().items()},
    }


def pages() -> dict[str, str]:
    """Return the pages: one of all codes, and one for each."""
    told, every = numbers(), explained()
    found = {"reference/codes.md": _index(told)}
    for kind, codes in told.items():
        for code, text in codes.items():
            found[f"reference/codes/{code}.md"] = _page(kind, code, text, every[kind][code])
    return found


def _index(told: dict[str, dict[str, str]]) -> str:
    parts = [
        "# Codes\n\nEach code has a page that says why it comes and what to do. Their meaning never changes.\n"
    ]
    for kind, title in KINDS.items():
        lines = [(f"[{code}](codes/{code}.md)", text) for code, text in told[kind].items()]
        parts.append(f"## {title}\n\n{WHERE[kind]}\n\n{table(('Code', 'Says'), lines)}")
    return "\n".join(parts)


def _page(kind: str, code: str, text: str, why: dict[str, str]) -> str:
    facts = [*_facts(kind, code)]
    shown = f"{code}: {text}" if kind != "reason" else code
    lead = text if kind == "reason" else WHERE[kind]
    return f"# {shown}\n\n{lead}\n\n{table(('', ''), facts)}\n## Cause\n\n{why['cause']}\n\n## Cure\n\n{why['cure']}\n"


def _facts(kind: str, code: str) -> list[tuple[str, str]]:
    if kind == "disconnect":
        back = (
            "yes: SDKs do, after a random time that grows" if reconnects(int(code)) else "no: it is terminal"
        )
        return [("The client comes back", back)]
    if kind == "unsubscribe":
        again = "yes: SDKs do, with their position" if int(code) >= Unsubscribe.INSUFFICIENT_STATE else "no"
        return [("The client subscribes again", again)]
    if kind == "reason":
        error = reasons()[code]
        return [
            ("Code", f"[{error.number}]({error.number}.md)"),
            ("HTTP status in transport mode", str(error.http_status)),
            ("Safe to repeat", "yes" if error.temporary else "no"),
        ]
    named = [name for name, error in reasons().items() if str(error.number) == code]
    return [
        ("Reasons", ", ".join(f"[`{name}`]({name}.md)" for name in named)),
        (
            "Safe to repeat",
            ", ".join(sorted({"yes" if reasons()[name].temporary else "no" for name in named})),
        ),
    ]
