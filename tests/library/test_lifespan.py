"""What surrounds all deliveries: one lifespan, its state, middleware, and what stands in for dependencies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gapless import Depends, Gapless, Middleware
from gapless.core.errors import ConfigError
from gapless.core.jobs import Deed
from gapless.library.delivery import Delivery
from gapless.library.running import run_handler
from tests.library.deliveries import job
from tests.server.serving import on_a_loop


@on_a_loop
async def test_the_lifespan_surrounds_deliveries_and_gives_them_its_state() -> None:
    gl, told = Gapless("memory:"), list[str]()

    @gl.lifespan
    async def life(library: Gapless) -> AsyncIterator[str]:
        assert library is gl
        told.append("begins")
        yield "state"
        told.append("ends")

    @gl.queue("mail")
    async def send(payload: int, state: str = Depends(gl.state)) -> None:
        told.append(f"{payload} with {state}")

    async with gl.running() as context:
        found = await run_handler(send, job(), b"5", context)
    assert found is not None
    assert found.deed is Deed.ACK
    assert told == ["begins", "5 with state", "ends"]
    with pytest.raises(ConfigError, match="one does it all"):
        gl.lifespan(life)
    with pytest.raises(ConfigError, match="no state"):
        gl.state()


@on_a_loop
async def test_a_context_manager_is_a_lifespan_too() -> None:
    gl = Gapless("memory:")

    @gl.lifespan
    @asynccontextmanager
    async def life() -> AsyncIterator[int]:
        yield 7

    async with gl.running() as context:
        assert context.state == 7


@on_a_loop
async def test_middleware_and_overrides_reach_deliveries() -> None:
    gl, told = Gapless("memory:"), list[Delivery]()

    class Telling(Middleware):
        async def before(self, delivery: Delivery) -> None:
            told.append(delivery)

    def real() -> str:
        raise AssertionError("not in a test")

    @gl.queue("mail")
    async def send(payload: int, value: str = Depends(real)) -> None:
        assert value == "stub"

    gl.use(Telling())
    gl.dependency_overrides[real] = lambda: "stub"
    delivered = job()
    async with gl.running() as context:
        found = await run_handler(send, delivered, b"5", context)
    assert found is not None
    assert (found.deed, told) == (Deed.ACK, [delivered])


@pytest.mark.parametrize("url", ["nothing", "redis:here", "http://"])
def test_a_malformed_url_is_told_when_it_is_given_or_used(url: str) -> None:
    with pytest.raises(ConfigError):
        Gapless(url).sync.publish("news", 1)


def test_a_configuration_is_the_server_s_own() -> None:
    with pytest.raises(ConfigError, match="server's own"):
        Gapless("http://127.0.0.1:1", config={})
    with pytest.raises(ConfigError, match="histry_size"):
        Gapless("memory:", config={"channel": {"without_namespace": {"histry_size": 5}}})
