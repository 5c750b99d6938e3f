"""Finding the Gapless that a worker is to serve: `module:gl`."""

import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from traceback import extract_tb

from gapless.core.errors import ConfigError
from gapless.library.gapless import Gapless

__all__ = ["find"]


def find(target: str) -> Gapless:
    """Return the Gapless that `module:name` names; modules are looked for in the working directory too.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or there is no Gapless of that name.
    """
    module_name, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _module(target, module_name)
    try:
        found = attrgetter(name or "gl")(module)
    except AttributeError:
        raise ConfigError(f"{target}: {module_name} has no {name or 'gl'!r}{_instead(module)}") from None
    if not isinstance(found, Gapless):
        raise ConfigError(f"{target} is no Gapless but {type(found).__name__}{_instead(module)}")
    return found


def _module(target: str, name: str) -> object:
    if not name or name.startswith("."):
        raise ConfigError(f'{target!r} names no module: write "module:gl"')
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(f"{target}: there is no module {error.name!r} here") from None
        raise ConfigError(f"{target}: cannot be imported: {_where(error)}") from error
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{target}: cannot be imported: {_where(error)}") from error


def _where(error: Exception) -> str:
    """Return an error and the line that raised it."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) or error.__traceback__ is None:
        return told
    last = extract_tb(error.__traceback__)[-1]
    return f"{told} ({last.filename}:{last.lineno})"


def _instead(module: object) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Gapless))
    return "; there is " + ", ".join(names) if names else ""
