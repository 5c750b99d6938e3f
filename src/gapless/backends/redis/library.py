"""The functions that run inside Redis, as one library."""

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

__all__ = ["load_command", "name", "source"]

FOLDER: Final = Path(__file__).parent / "lua"
# In the order in which they build on each other.
FILES: Final = ("store", "streams", "jobs", "groups", "presence")


@cache
def source() -> str:
    """Return the text of the library. Each file is a block: Lua allows 200 local names in one."""
    header = (FOLDER / "header.lua").read_text()
    blocks = [
        f"do\n{path.read_text()}\nend\n"
        for stem in FILES
        for path in sorted(FOLDER.glob(f"{stem}.lua")) + sorted(FOLDER.glob(f"{stem}/*.lua"))
    ]
    return header + "".join(blocks)


@cache
def name() -> str:
    """Return the library's name, which tells its text from every other."""
    return "gapless_" + blake2b(source().encode(), digest_size=6).hexdigest()


def load_command() -> tuple[str, ...]:
    """Return the command that makes the library known."""
    text = f"#!lua name={name()}\nlocal NAME = '{name()}'\n{source()}"
    return ("FUNCTION", "LOAD", "REPLACE", text)
