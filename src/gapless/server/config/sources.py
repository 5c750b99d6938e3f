"""Where settings come from: a TOML or JSON file, `GAPLESS_*` variables, flags."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gapless.core.errors import ConfigError
from gapless.core.limits import CONFIG_BYTES_MAX

__all__ = ["Source", "from_all", "from_environment", "from_file", "from_flags"]

PREFIX: Final = "GAPLESS_"
PREFIX_OF_CENTRIFUGO: Final = "CENTRIFUGO_"
NESTING: Final = "__"
FROM_FILE: Final = "_FILE"
# What Kubernetes sets for a service whose name begins like ours, and Docker for a linked container.
OF_A_SERVICE: Final = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END))?|ENV_.+)"
)
ADDRESS_OF_A_SERVICE: Final = re.compile(r"(.+_)?PORT=(tcp|udp|sctp)://.*|(.+_)?NAME=/.*")
TOML_LINE: Final = re.compile(r"(.*) \(at line (\d+), column \d+\)")

Tree = dict[str, Any]


class Source(Struct, frozen=True, kw_only=True):
    """Settings as they were written, sections as nested objects. In a `spelled` one every value is a text.

    `remark` is something to say of it besides, `unknown` too, where it is as wrong as an unknown key.
    """

    name: str
    tree: Tree
    text: str = ""
    is_json: bool = False
    spelled: bool = False
    remark: str = ""
    unknown: str = ""

    def place(self, path: str) -> str:
        """Return where `path` was set, for an error: with the line, in a file."""
        if not self.text:
            return self.name
        from gapless.server.config.places import places

        lines = places(self.text, is_json=self.is_json).lines
        while path and path not in lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.name}:{lines[path]}" if path else self.name


def from_all(
    file: Path | None, environment: Mapping[str, str], assignments: Iterable[str] = ()
) -> list[Source]:
    """Read a file if there is one, variables and flags, in the order in which they override each other.

    Raises:
        ConfigError: one cannot be read.
    """
    return [
        *([from_file(file)] if file is not None else []),
        *from_environment(environment),
        *from_flags(assignments),
    ]


def from_file(path: Path) -> Source:
    """Read a TOML or JSON file; its extension decides, or what it begins with.

    Raises:
        ConfigError: it cannot be read, or is neither.
    """
    text = _read(path, str(path))
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{path}: write the configuration as TOML or JSON")
    is_json = path.suffix == ".json" or (path.suffix != ".toml" and text.lstrip().startswith("{"))
    tree = _parse_json(path, text) if is_json else _parse_toml(path, text)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold an object")
    return Source(name=str(path), tree=tree, text=text, is_json=is_json)


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{name}: cannot be read: it has more than {CONFIG_BYTES_MAX} bytes")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{name}: cannot be read: {reason}") from error


def _parse_toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = TOML_LINE.fullmatch(str(error))
        where, reason = (f"{path}:{found[2]}", found[1]) if found else (str(path), str(error))
        raise ConfigError(f"{where}: is no TOML: {reason}") from error


def _parse_json(path: Path, text: str) -> Any:
    import json  # its errors tell the line, msgspec's do not

    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is no JSON: {error}") from error
    from gapless.server.config.places import places

    for doubled, line in places(text, is_json=True).doubled.items():
        raise ConfigError(f"{path}:{line}: {doubled}: is there twice")
    return tree


def from_environment(environment: Mapping[str, str]) -> Iterable[Source]:
    """Return a source for each variable such as `GAPLESS_HTTP_SERVER__PORT`: two underscores go a level down.

    With `_FILE` behind its name a variable names a file that holds the value, as secrets of containers are
    given. One without levels that is almost a key's is as wrong as an unknown key; any other is only said to
    name no key, since programs beside may share the environment. What Kubernetes and Docker set for a service
    of our name is left alone. Of Centrifugo's it is said that they are not read.

    Raises:
        ConfigError: a variable names a file that cannot be read, or is set beside the one that it stands for.
    """
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX_OF_CENTRIFUGO):
            yield from _not_ours(name)
        elif name.startswith(PREFIX):
            variable = name.removeprefix(PREFIX)
            if NESTING not in variable:
                yield from _without_levels(name, variable, value)
            elif variable.endswith(FROM_FILE) and not _is_key(variable):
                yield _from_secret(name, value, environment)
            else:
                yield _single(name, variable.lower().split(NESTING), value)


def _without_levels(name: str, variable: str, value: str) -> Iterable[Source]:
    if OF_A_SERVICE.fullmatch(variable) or ADDRESS_OF_A_SERVICE.match(f"{variable}={value}"):
        return
    from gapless.server.config.mistakes import flat, hint, nearly

    path, file = flat(variable), ""
    if not path and variable.endswith(FROM_FILE):
        path, file = flat(variable.removesuffix(FROM_FILE)), FROM_FILE
    if path == variable.lower():  # a section, as JSON
        yield _single(name, [path], value)
    elif path:
        yield Source(name=name, tree={}, unknown=f"{name}: write {_variable(path)}{file}")
    elif near := nearly(variable):
        yield Source(name=name, tree={}, unknown=f"{name}: unknown key; did you mean {_variable(near)}?")
    else:
        remark = f"{name}: is not read, it names no key{hint(variable.lower())}"
        yield Source(name=name, tree={}, remark=remark)


def _variable(path: str) -> str:
    """Return how a key is written as a variable."""
    return PREFIX + path.replace("namespaces.", "namespaces.<name>.").upper().replace(".", NESTING)


def _not_ours(name: str) -> Iterable[Source]:
    from gapless.server.config.mistakes import flat

    path = flat(name.removeprefix(PREFIX_OF_CENTRIFUGO))
    if "." in path:
        yield Source(name=name, tree={}, remark=f"{name}: is not read: write {_variable(path)}")


def _from_secret(name: str, path: str, environment: Mapping[str, str]) -> Source:
    plain = name.removesuffix(FROM_FILE)
    if plain in environment:
        raise ConfigError(f"{name}: {plain} is set too; set one of them")
    value = _read(Path(path), f"{name}: {path}").rstrip("\n")
    return _single(name, plain.removeprefix(PREFIX).lower().split(NESTING), value)


def _is_key(variable: str) -> bool:
    from gapless.server.config.mistakes import flat

    return "." in flat(variable.replace(NESTING, "_"))


def from_flags(assignments: Iterable[str], name: str = "--set") -> Iterable[Source]:
    """Return a source for each `section.key=value` of the flag `name`.

    Raises:
        ConfigError: one is no assignment.
    """
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise ConfigError(f"{assignment!r}: write section.key=value")
        yield _single(name, path.split("."), value)


def _single(name: str, path: list[str], value: str) -> Source:
    tree: Any = value
    for key in reversed(path):
        tree = {key: tree}
    return Source(name=name, tree=tree, spelled=True)
