"""By which address others reach a server for development."""

import socket
from typing import Final

__all__ = ["reached_at"]

ANY: Final = ("", "0.0.0.0", "::")
ELSEWHERE: Final = ("192.0.2.1", 9)  # of documentation (RFC 5737): a way out is looked up, and nothing sent


def reached_at(address: str) -> str:
    """Return what stands in links to a server that listens on an address.

    Where that is all of this machine's, it is the one by which devices beside it reach it, if there is one.
    """
    if address not in ANY:
        return f"[{address}]" if ":" in address else address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:  # no network
            return "127.0.0.1"
        return str(probe.getsockname()[0])
