"""Finds the line on which each key of a file stands, for messages; the file has been read before."""

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from msgspec import Struct

__all__ = ["Places", "places"]

_JSON: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_TOML: Final = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
    r"""|\#[^\n]*|\n|[{}\[\],=.]|[^\s{}\[\],=."'#]+""",
    re.DOTALL,
)
_END: Final = ""


class Places(Struct, frozen=True):
    """The line of each path, from 1, where it stands first; `doubled` has that of the second time, if any.

    In JSON that is a mistake; in TOML a table may be opened in several places.
    """

    lines: dict[str, int]
    doubled: dict[str, int]


@lru_cache(maxsize=4)
def places(text: str, *, is_json: bool) -> Places:
    """Find the keys of a valid JSON or TOML file."""
    found = Places({}, {})
    scanner = _Scanner(text, _JSON if is_json else _TOML, found)
    if is_json:
        _json_value(scanner, "")
    else:
        _Toml(scanner).document()
    return found


class _Scanner:
    """The words of a file, one after the other; at its end there are only empty ones."""

    def __init__(self, text: str, words: re.Pattern[str], found: Places) -> None:
        self.index = 0
        self._words = list(words.finditer(text))
        self._line_ends = [match.end() for match in re.finditer("\n", text)]
        self._found = found

    def peek(self, ahead: int = 0) -> str:
        index = self.index + ahead
        return self._words[index][0] if index < len(self._words) else _END

    def take(self) -> str:
        word = self.peek()
        self.index += 1
        return word

    def touches_next(self) -> bool:
        """Tell whether nothing stands between this word and the next."""
        first, second = self._words[self.index : self.index + 2]
        return first.end() == second.start()

    def note(self, path: str, *, at: int | None = None) -> str:
        """Remember that `path` stands at this word, or at number `at`; return it."""
        start = self._words[self.index if at is None else at].start()
        line = bisect_right(self._line_ends, start) + 1
        known = self._found.doubled if path in self._found.lines else self._found.lines
        known.setdefault(path, line)
        return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _json_value(scanner: _Scanner, path: str) -> None:
    opening = scanner.take()
    number = 0
    while opening in ("{", "[") and (word := scanner.peek()) not in ("}", "]", _END):
        if word == ",":
            scanner.take()
        elif opening == "{":
            place = scanner.note(_join(path, json.loads(word)))
            scanner.index += 2  # the key and its colon
            _json_value(scanner, place)
        else:
            _json_value(scanner, scanner.note(f"{path}[{number}]"))
            number += 1
    if opening in ("{", "["):
        scanner.take()


class _Toml:
    """Walks a TOML file. Tables of arrays are numbered: `a[0].b`."""

    def __init__(self, scanner: _Scanner) -> None:
        self._scanner = scanner
        self._tables: dict[str, int] = {}  # how often an array of tables was begun

    def document(self) -> None:
        prefix = ""
        while word := self._scanner.peek():
            if word == "\n" or word.startswith("#"):
                self._scanner.take()
            elif word == "[":
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> str:
        scanner, start = self._scanner, self._scanner.index
        many = scanner.peek(1) == "[" and scanner.touches_next()
        scanner.index += 1 + many
        *above, last = self._key("]")
        scanner.index += many
        path = ""
        for part in above:
            path = _join(path, part)
            if path in self._tables:
                path += f"[{self._tables[path] - 1}]"
        path = scanner.note(_join(path, last), at=start)
        if not many:
            return path
        number = self._tables.get(path, 0)
        self._tables[path] = number + 1
        return scanner.note(f"{path}[{number}]", at=start)

    def _key(self, end: str) -> list[str]:
        """Take a dotted key and what ends it."""
        parts = []
        while (word := self._scanner.take()) not in (end, _END):
            if word != ".":
                parts.append(tomllib.loads(f"k = {word}")["k"] if word[0] in "\"'" else word)
        return parts

    def _pair(self, path: str) -> None:
        start = self._scanner.index
        for part in self._key("="):
            path = self._scanner.note(_join(path, part), at=start)
        self._value(path)

    def _value(self, path: str) -> None:
        opening = self._scanner.peek()
        if opening == "{":
            self._inside("}", lambda number: self._pair(path))
        elif opening == "[":
            self._inside("]", lambda number: self._value(self._scanner.note(f"{path}[{number}]")))
        else:
            while (word := self._scanner.peek()) not in (",", "]", "}", "\n", _END) and word[0] != "#":
                self._scanner.take()

    def _inside(self, end: str, item: Callable[[int], None]) -> None:
        scanner = self._scanner
        scanner.take()
        number = 0
        while (word := scanner.peek()) not in (end, _END):
            if word in (",", "\n") or word[0] == "#":
                scanner.take()
            else:
                item(number)
                number += 1
        scanner.take()
