"""The server API, for the user's backends: Centrifugo's methods, requests and answers."""

from gapless.server.api.catalogue import every_method
from gapless.server.api.door import Door
from gapless.server.api.info import Node, StoreInfo
from gapless.server.api.methods import Api

__all__ = ["Api", "Door", "Node", "StoreInfo", "every_method"]
