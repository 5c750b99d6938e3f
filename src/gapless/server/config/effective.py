"""What a node runs with, and where each key of it was set."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gapless.server.config.model import Config

__all__ = ["Effective", "SetAt"]

SetAt = Mapping[str, str]
"""For each key that was set, by its path, where: a file with its line, a variable, a flag."""

NOWHERE: Final[SetAt] = MappingProxyType({})


class Effective(NamedTuple):
    """A configuration with its `origins`; what is not among these is a default."""

    config: Config
    origins: SetAt = NOWHERE

    def namespace_path(self, name: str) -> str:
        """Return where the options of a namespace stand (empty: of none); nothing for the system's own."""
        if not name:
            return "channel.without_namespace"
        names = [namespace.name for namespace in self.config.channel.namespaces]
        return f"channel.namespaces[{names.index(name)}]" if name in names else ""
