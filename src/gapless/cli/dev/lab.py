"""The failure lab: what can be made to fail in a node of `gapless dev`, to see the promises hold."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from msgspec import Meta as Bounds
from msgspec import Struct
from starlette.routing import Route

from gapless.broker.appending import Appending
from gapless.cli.dev.faults import Doorbell, Fault, LateStore, UnheardStore
from gapless.cli.dev.own_api import own_url
from gapless.cli.dev.worker import LabWorker
from gapless.core.errors import BadRequest
from gapless.core.limits import LAB_DELAY_MS_MAX, LAB_FAULT_MS_MAX
from gapless.ports import Bus
from gapless.server.api.calls import Answering, encode
from gapless.server.extension import Extension
from gapless.server.hooks import Known, Runner
from gapless.server.node import App, Node
from gapless.server.websocket import WebSocket

__all__ = ["Lab"]

DONE = b"{}"
ForMs = Annotated[int, Bounds(ge=1, le=LAB_FAULT_MS_MAX)]


class FaultsRequest(Struct, forbid_unknown_fields=True):
    """Nothing."""


class DelayStoreRequest(Struct, forbid_unknown_fields=True):
    """By how much appends are answered later, and for how long from now."""

    delay_ms: Annotated[int, Bounds(ge=1, le=LAB_DELAY_MS_MAX)]
    for_ms: ForMs


class DropBusRequest(Struct, forbid_unknown_fields=True):
    """For how long from now nobody is told of what is stored."""

    for_ms: ForMs


class CutRequest(Struct, forbid_unknown_fields=True):
    """Whose connections are cut: one client's, or all of a user."""

    client: str = ""
    user: str = ""


class StartWorkerRequest(Struct, forbid_unknown_fields=True):
    """Nothing."""


class StopWorkerRequest(Struct, forbid_unknown_fields=True):
    """Whether it is killed amid its jobs."""

    kill: bool = False


class Lab(Extension):
    """Adds `lab/*` to the server API of a node, and `routes` to what it serves."""

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self._routes = routes
        self._delayed, self._dropped = Fault(), Fault()
        self._worker: LabWorker | None = None

    def beside(self, app: App) -> App:
        """Return an app that ends what the lab began before `app` ends."""

        @asynccontextmanager
        async def running(node: Node) -> AsyncIterator[list[tuple[Known, Runner]]]:
            async with app(node) as hooks:
                try:
                    yield hooks
                finally:
                    await self._close()

        return running

    async def _close(self) -> None:
        self._dropped.end()
        self._delayed.end()
        if self._worker is not None:
            await self._worker.close()

    # What is added ------------------------------------------------------------------------

    def attach(self, node: Node) -> None:
        """See `Extension.attach`."""
        self._node = node

    def bus(self, bus: Bus | None) -> Bus | None:
        """See `Extension.bus`."""
        return None if bus is None else Doorbell(bus, self._dropped)

    def appending(self, append: Appending) -> Appending:
        """See `Extension.appending`."""
        self._late = LateStore(UnheardStore(append, self._dropped).append, self._delayed, self._node.clock)
        return self._late.append

    def routes(self) -> Sequence[Route]:
        """See `Extension.routes`."""
        return self._routes

    def methods(self) -> Mapping[str, tuple[type[Any], Answering]]:
        """See `Extension.methods`."""
        return {
            "lab/faults": (FaultsRequest, self._faults),
            "lab/delay_store": (DelayStoreRequest, self._delay_store),
            "lab/drop_bus": (DropBusRequest, self._drop_bus),
            "lab/cut": (CutRequest, self._cut),
            "lab/start_worker": (StartWorkerRequest, self._start_worker),
            "lab/stop_worker": (StopWorkerRequest, self._stop_worker),
        }

    # What is asked ------------------------------------------------------------------------

    def _faults(self, request: FaultsRequest) -> bytes:
        """Tell what fails now, and until when."""
        pid = 0 if self._worker is None else self._worker.pid
        faults: dict[str, Any] = {"worker": {"running": bool(pid)} | ({"pid": pid} if pid else {})}
        if self._delayed.until_ms:
            faults["delay_store"] = {"until_ms": self._delayed.until_ms, "delay_ms": self._late.delay_ms}
        if self._dropped.until_ms:
            faults["drop_bus"] = {"until_ms": self._dropped.until_ms}
        return encode({"faults": faults})

    def _delay_store(self, request: DelayStoreRequest) -> bytes:
        self._late.delay_ms = request.delay_ms
        self._delayed.begin(self._node.clock, request.for_ms)
        return DONE

    def _drop_bus(self, request: DropBusRequest) -> bytes:
        # From now on the node looks after what it was not told of, as where others use the store too.
        self._node.broker.store.shared = True
        self._dropped.begin(self._node.clock, request.for_ms)
        return DONE

    def _cut(self, request: CutRequest) -> bytes:
        """End connections as a lost network does."""
        if not request.client and not request.user:
            raise BadRequest("name the client, or the user")
        for session in self._node.sessions.of(request.user, client=request.client):
            if isinstance(session.socket, WebSocket):
                session.socket.cut()
        return DONE

    async def _start_worker(self, request: StartWorkerRequest) -> bytes:
        if self._worker is None:
            self._worker = LabWorker(own_url(self._node), self._node)
        await self._worker.start()
        return DONE

    def _stop_worker(self, request: StopWorkerRequest) -> bytes:
        if self._worker is not None:
            self._worker.stop(kill=request.kill)
        return DONE
