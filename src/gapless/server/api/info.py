"""How a node is doing, as `info` tells it."""

from msgspec import Struct

from gapless.ports import Durability

__all__ = ["Node", "StoreInfo"]


class StoreInfo(Struct, frozen=True):
    """The store behind a node: its engine, what an acknowledgement is worth, how the writer is doing."""

    engine: str
    durability: Durability
    epoch: str
    statistics: dict[str, int]


class Node(Struct, frozen=True, kw_only=True):
    """One node. Names are Centrifugo's, but for `store`. `uptime` in seconds."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int
    store: StoreInfo
