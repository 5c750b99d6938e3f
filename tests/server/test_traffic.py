"""What the system counted of a connection, through the loops and transports that a server has."""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any
from unittest.mock import Mock

import pytest
import uvloop
from websockets.asyncio.client import connect

from gapless.server.node import Node
from gapless.server.traffic import Traffic, traffic
from tests.certificates import certificate
from tests.server.running import running

SENT_BYTES = 10_000
OURS = certificate()
Run = Callable[[Coroutine[Any, Any, Traffic | None]], Traffic | None]


async def talk(node: Node, *, secured: bool) -> Traffic | None:
    """Let a client say something long, that is answered shortly; return what was counted."""
    address = f"{'wss' if secured else 'ws'}://localhost:{node.port}/connection/websocket"
    async with connect(address, ssl=OURS.client() if secured else None) as client:
        for command in ('{"id":1,"connect":{}}', '{"id":2,"ping":{},"no":"' + "x" * SENT_BYTES + '"}'):
            await client.send(command)
            await client.recv()
        [session] = node.sessions.all
        return session.socket.traffic()


async def plain() -> Traffic | None:
    async with running({"client": {"insecure": True}}) as node:
        return await talk(node, secured=False)


async def over_tls() -> Traffic | None:
    tls = {"enabled": True, "cert_pem": OURS.cert, "key_pem": OURS.key}
    async with running({"client": {"insecure": True}, "http_server": {"tls": tls}}) as node:
        return await talk(node, secured=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it like this")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("secured", [False, True])
def test_bytes_and_the_round_trip_are_counted_by_the_system(run: Run, secured: bool) -> None:
    counted = run(over_tls() if secured else plain())
    assert counted is not None
    assert SENT_BYTES < counted.received_bytes < SENT_BYTES + 5_000
    assert 100 < counted.sent_bytes < 5_000
    assert 0 < counted.rtt_ms < 1_000


def test_where_there_is_no_tcp_nothing_is_counted() -> None:
    ours, theirs = socket.socketpair()
    transport = Mock()
    transport.get_extra_info.return_value = ours
    assert traffic(transport) is None
    transport.get_extra_info.return_value = None
    assert traffic(transport) is None
    ours.close()
    theirs.close()


def test_another_system_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert traffic(Mock()) is None


def test_of_a_system_that_tells_less_nothing_is_taken() -> None:
    transport = Mock()
    transport.get_extra_info.return_value.getsockopt.return_value = bytes(104)
    assert traffic(transport) is None
