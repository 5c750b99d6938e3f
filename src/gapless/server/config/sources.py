"""Where settings come from: a TOML or JSON file, `GAPLESS_*` variables, flags."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gapless.core.errors import ConfigError

__all__ = ["Source", "from_environment", "from_file", "from_flags"]

PREFIX: Final = "GAPLESS_"
NESTING: Final = "__"

Tree = dict[str, Any]


class Source(Struct, frozen=True, kw_only=True):
    """Settings as they were written, sections as nested objects. In a `spelled` one every value is a text."""

    name: str
    tree: Tree
    text: str = ""
    spelled: bool = False

    def place(self, path: str) -> str:
        """Return where `path` was set, for an error: with the line, if only one can be meant."""
        key = re.escape(path.rpartition(".")[2])
        word = re.compile(rf"(?<![\w-]){key}(?![\w-])")
        lines = [
            number
            for number, line in enumerate(self.text.splitlines(), start=1)
            if word.search(line) and not line.lstrip().startswith("#")
        ]
        return f"{self.name}:{lines[0]}" if len(lines) == 1 else self.name


def from_file(path: Path) -> Source:
    """Read a TOML or JSON file; its extension decides, or what it begins with.

    Raises:
        ConfigError: it cannot be read, or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{path}: write the configuration as TOML or JSON")
    json = path.suffix == ".json" or (path.suffix != ".toml" and text.lstrip().startswith("{"))
    try:
        tree = _parse_json(text) if json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no {'JSON' if json else 'TOML'}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold an object")
    return Source(name=str(path), tree=tree, text=text)


def _parse_json(text: str) -> Any:
    import json  # its errors tell the line, msgspec's do not

    return json.loads(text)


def from_environment(environment: Mapping[str, str]) -> Iterable[Source]:
    """Return a source for each variable such as `GAPLESS_HTTP_SERVER__PORT`: two underscores go a level down.

    Others that begin alike are left alone (Kubernetes sets some for a service of our name).

    Raises:
        ConfigError: a variable names a key, but not its levels.
    """
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX):
            variable = name.removeprefix(PREFIX)
            if NESTING in variable:
                yield _single(name, variable.lower().split(NESTING), value)
            else:
                _refuse_flat(name, variable)


def _refuse_flat(name: str, variable: str) -> None:
    from gapless.server.config.mistakes import flat

    path = flat(variable)
    if "." in path:
        raise ConfigError(f"{name}: write {PREFIX}{path.upper().replace('.', NESTING)}")


def from_flags(assignments: Iterable[str]) -> Iterable[Source]:
    """Return a source for each `section.key=value`.

    Raises:
        ConfigError: one is no assignment.
    """
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise ConfigError(f"{assignment!r}: write section.key=value")
        yield _single("--set", path.split("."), value)


def _single(name: str, path: list[str], value: str) -> Source:
    tree: Any = value
    for key in reversed(path):
        tree = {key: tree}
    return Source(name=name, tree=tree, spelled=True)
