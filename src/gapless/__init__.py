"""gapless: messages that must not get lost. Channels over WebSocket, on one durable log."""

__version__ = "0.1.0"
__all__ = ["__version__"]
