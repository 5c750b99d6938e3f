"""What the kernel counted of a TCP connection, read when somebody looks: nothing is counted here."""

import socket
import sys
from struct import Struct
from typing import Final, NamedTuple

from aiofastnet import Transport

__all__ = ["Traffic", "traffic"]

# `struct tcp_info` of Linux: tcpi_rtt (µs), tcpi_bytes_acked, tcpi_bytes_received. It only grows at its end.
_INFO: Final = Struct("@68xI48xQQ")


class Traffic(NamedTuple):
    """Bytes of a connection with all that carries them (TLS, frames), and how long a round trip takes."""

    received_bytes: int
    sent_bytes: int  # and acknowledged by the peer's system
    rtt_ms: float


def traffic(transport: Transport) -> Traffic | None:
    """Return what Linux counted; None of another system, or where there is no TCP."""
    connection = transport.get_extra_info("socket")
    if sys.platform != "linux" or connection is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except OSError:
        return None
    if len(told) < _INFO.size:
        return None
    rtt_us, sent_bytes, received_bytes = _INFO.unpack(told)
    return Traffic(received_bytes, sent_bytes, rtt_us / 1000)
