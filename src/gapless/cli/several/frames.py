"""What the processes of one server and their parent tell one another."""

from typing import Final

import msgspec
from msgspec import Struct

from gapless.server.config import Config
from gapless.server.sums import Measured
from gapless.sharing.frames import Refusal

__all__ = [
    "DOWN",
    "UP",
    "Begin",
    "Down",
    "Failed",
    "Gather",
    "Gathered",
    "Ready",
    "Reload",
    "Reloaded",
    "Stop",
    "Tell",
    "Told",
    "Up",
]


class Begin(Struct, tag="begin", array_like=True):
    """First of all: which of them this one is, what it runs with, and the application if there is one.

    `origins` tell where each key of the configuration was set. With the `secret` all of them sign what it
    has no secret for.
    """

    number: int
    config: Config
    target: str = ""
    origins: dict[str, str] = {}
    secret: str = ""


class Reload(Struct, tag="reload", array_like=True):
    """Go on with another configuration; `Reloaded` follows in any case."""

    config: Config
    origins: dict[str, str] = {}


class Stop(Struct, tag="stop", array_like=True):
    """End in good order."""


class Tell(Struct, tag="tell", array_like=True):
    """Tell the numbers of this process."""

    number: int


class Gathered(Struct, tag="gathered", array_like=True):
    """The numbers of all of them."""

    number: int
    measured: Measured


class Ready(Struct, tag="ready", array_like=True):
    """It serves."""


class Failed(Struct, tag="failed", array_like=True):
    """It could not start, or had to end."""

    refusal: Refusal


class Reloaded(Struct, tag="reloaded", array_like=True):
    """It goes on with the other configuration, or has said why not."""


class Gather(Struct, tag="gather", array_like=True):
    """Asks for the numbers of all of them."""

    number: int


class Told(Struct, tag="told", array_like=True):
    """The numbers of this process."""

    number: int
    measured: Measured


Down = Begin | Reload | Stop | Tell | Gathered
Up = Ready | Failed | Reloaded | Gather | Told
DOWN: Final = msgspec.json.Decoder(list[Down])
UP: Final = msgspec.json.Decoder(list[Up])
