"""What a page is told first."""

from typing import Any

import pytest
from starlette.routing import Route

from gapless import __version__
from gapless.server.config import Config, Source, read
from gapless.server.config.model import Role
from gapless.server.console.about import about_route
from gapless.server.console.login import LoggedIn
from tests.server.console.asking import ask
from tests.server.serving import on_a_loop

SESSION = LoggedIn("t", "", Role.OPERATOR, 1)


def configured(**sections: Any) -> Config:
    return read([Source(name="test", tree=sections)])


async def about(config: Config, **flags: bool) -> Any:
    free = SESSION if config.console.insecure else None
    route: Route = about_route(lambda: config, lambda request: free, **{"demo": False, "lab": False, **flags})
    answer = await ask([route], f"{config.console.handler_prefix}/about.json")
    assert answer.fields["cache-control"] == "no-store"
    return answer.read()


@on_a_loop
async def test_a_page_is_told_where_everything_is() -> None:
    assert await about(configured()) == {
        "version": __version__,
        "login": True,
        "dev": False,
        "api": "/api",
        "websocket": "/connection/websocket",
        "messages": "/api/channels",
        "lab": False,
        "demo": False,
        "session": None,
    }


@on_a_loop
async def test_paths_are_those_of_the_configuration() -> None:
    told = await about(
        configured(
            console={"handler_prefix": "/ops/console", "insecure": True},
            http_api={"handler_prefix": "/v1"},
            websocket={"handler_prefix": "/ws"},
            messages={"enabled": False},
        )
    )
    assert (told["login"], told["api"], told["websocket"], told["messages"]) == (False, "/v1", "/ws", None)
    assert told["session"] == {"token": "t", "name": "", "role": "operator", "expires_ms": 1}


@pytest.mark.parametrize("flag", ["demo", "lab"])
@on_a_loop
async def test_what_only_development_has_is_told(flag: str) -> None:
    told = await about(configured(), **{flag: True})
    assert told[flag]
    assert told["dev"]
