"""How clients reach nodes: from a network namespace of their own, over a link for each node."""

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Protocol

import aiohttp

__all__ = ["Links", "Loopback", "Network", "network"]

CLONE_NEWNET = 0x40000000
FAMILY, KIND, PROTOCOL = 0, 1, 2


class Network(Protocol):
    """The way of clients to nodes, which are numbered from 1."""

    links: bool  # each node has one, which can be down

    def host(self, node: int) -> str:
        """Return the address at which clients reach a node."""

    def connector(self) -> aiohttp.TCPConnector:
        """Return what opens connections of a client."""

    def put(self, node: int, *, up: bool) -> None:
        """Let the link of a node be up, or down: then packets vanish, and nobody is told."""

    def close(self) -> None:
        """Let go of all."""


class Loopback:
    """Where nothing else may be had: all are on one machine, and see it."""

    links = False

    def host(self, node: int) -> str:
        """See `Network.host`."""
        return "127.0.0.1"

    def connector(self) -> aiohttp.TCPConnector:
        """See `Network.connector`."""
        return aiohttp.TCPConnector(limit=0)

    def put(self, node: int, *, up: bool) -> None:
        """See `Network.put`."""

    def close(self) -> None:
        """See `Network.close`."""


class Links:
    """A namespace for clients, and a pair of interfaces for each node: 10.x.y.(4n+1) and 10.x.y.(4n+2)."""

    links = True

    def __init__(self, nodes: int) -> None:
        here = os.getpid()
        self._nodes = nodes
        self._space = f"gapless-{here}"
        self._net = f"10.{200 + here % 50}.{here // 50 % 250}"
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._ip("netns", "add", self._space)
            for node in range(1, nodes + 1):
                end, other = self._end(node), f"gl{here % 65_536:x}c{node}"
                self._ip("link", "add", end, "type", "veth", "peer", "name", other, "netns", self._space)
                self._ip("address", "add", f"{self._net}.{4 * node + 1}/30", "dev", end)
                self._ip("-n", self._space, "address", "add", f"{self._net}.{4 * node + 2}/30", "dev", other)
                self._ip("-n", self._space, "link", "set", other, "up")
                self.put(node, up=True)
        except subprocess.CalledProcessError:
            self.close()
            raise

    def _end(self, node: int) -> str:
        return f"gl{os.getpid() % 65_536:x}n{node}"

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def host(self, node: int) -> str:
        """See `Network.host`."""
        return f"{self._net}.{4 * node + 1}"

    def connector(self) -> aiohttp.TCPConnector:
        """See `Network.connector`."""
        return aiohttp.TCPConnector(limit=0, socket_factory=self._socket)

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket in the namespace; it stays there, whoever uses it."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        theirs = os.open(Path("/run/netns") / self._space, os.O_RDONLY)
        try:
            self._enter(theirs)
            try:
                return socket.socket(address[FAMILY], address[KIND], address[PROTOCOL])
            finally:
                self._enter(own)
        finally:
            os.close(own)
            os.close(theirs)

    def _enter(self, space: int) -> None:
        if self._libc.setns(space, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def put(self, node: int, *, up: bool) -> None:
        """See `Network.put`."""
        self._ip("link", "set", self._end(node), "up" if up else "down")

    def close(self) -> None:
        """See `Network.close`."""
        for node in range(1, self._nodes + 1):
            subprocess.run(["ip", "link", "del", self._end(node)], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self._space], check=False, capture_output=True)


def network(nodes: int) -> Network:
    """Return the best there is for this process."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return Loopback()
    try:
        return Links(nodes)
    except subprocess.CalledProcessError:
        return Loopback()
