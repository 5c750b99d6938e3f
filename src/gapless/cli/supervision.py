"""What the service manager is told: `Type=notify` and `Type=notify-reload` of systemd (sd_notify(3))."""

import os
import socket
import time

__all__ = ["tell_ready", "tell_reloading", "tell_stopping"]


def tell_ready() -> None:
    """Tell that the node serves, for the first time or again."""
    _notify("READY=1")


def tell_reloading() -> None:
    """Tell that the configuration is read again; `tell_ready` follows."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def tell_stopping() -> None:
    """Tell that the node ends."""
    _notify("STOPPING=1")


def _notify(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            return  # a manager that does not listen is no reason not to serve
