"""Who is let in, how long the others wait, and what is written down of both."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import Request

from gapless.broker.audit import STREAM
from gapless.broker.revocations import Revocations
from gapless.broker.telling import Telling
from gapless.core.limits import (
    CONSOLE_LOGIN_BYTES_MAX,
    CONSOLE_LOGINS_WAITING_MAX,
    CONSOLE_WRONG_PER_MINUTE,
    CONSOLE_WRONG_RECORDED_PER_HOUR,
)
from gapless.server.addresses import Addresses
from gapless.server.config import Config, Source, read
from gapless.server.console import login as login_module
from gapless.server.console.files import SECURITY
from gapless.server.console.login import Login, Users
from gapless.server.console.passes import Passes
from gapless.server.console.passwords import Cost, Hash, hash_of
from tests.conversation import Stage, T, play, rest
from tests.server.console.asking import Answer, ask
from tests.several import Line

CHEAP = Cost(16, 1, 1)
ANN = {"name": "ann", "role": "operator", "password": "correct horse"}
BOB = {"name": "bob", "password": str(hash_of("battery staple", b"salt", CHEAP))}
RIGHT = {"name": "ann", "password": "correct horse"}
WRONG = {"name": "ann", "password": "hunter2"}


def configured(key: str = "the key", **console: Any) -> Config:
    tree = {"console": {"enabled": True, "users": [ANN, BOB], **console}, "http_api": {"key": key}}
    return read([Source(name="test", tree=tree)])


class Scene:
    def __init__(self, stage: Stage, config: Config) -> None:
        self.stage, self.telling = stage, stage.broker.telling
        self.passes = Passes(config, stage.clock, "shared", Revocations())
        addresses = Addresses(["10.9.0.0/16"])
        self.login = Login(config, self.passes, stage.clock, addresses, stage.broker)
        self.routes = self.login.routes("/console")

    async def post(self, body: object, address: str = "10.0.0.1", **fields: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in fields.items()}
        return await ask(self.routes, "/console/login", body, method="POST", fields=named, address=address)

    async def renew(self, token: str, scheme: str = "Bearer") -> Answer:
        fields = {"authorization": f"{scheme} {token}"}
        return await ask(self.routes, "/console/renew", method="POST", fields=fields)

    async def recorded(self) -> list[dict[str, Any]]:
        page = await self.stage.broker.store.read(STREAM, limit_messages=1_000, limit_bytes=2**20)
        return [json.loads(message.data) for message in page.messages]


def act(scene: Callable[[Scene], Coroutine[Any, Any, None]], config: Config | None = None) -> None:
    async def run(stage: Stage) -> None:
        await scene(Scene(stage, config or configured()))

    play(run)


# In -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "name", "role"),
    [
        (RIGHT, "ann", "operator"),
        ({"name": "bob", "password": "battery staple"}, "bob", "read_only"),
        ({"key": "the key"}, "key", "operator"),
    ],
)
def test_who_knows_a_secret_is_let_in(said: dict[str, str], name: str, role: str) -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.post(said)
        assert answer.status == 200
        told = answer.read()
        assert (told["name"], told["role"]) == (name, role)
        assert told["expires_ms"] == T + 12 * 3600 * 1000
        assert scene.passes.read(told["token"]).name == name
        assert answer.fields["cache-control"] == "no-store"
        assert SECURITY.items() <= answer.fields.items()

    act(scene)


def test_where_it_is_insecure_everybody_is() -> None:
    async def scene(scene: Scene) -> None:
        for body in (b"{}", b""):
            told = (await scene.post(body)).read()
            assert (told["name"], told["role"]) == ("anybody", "operator")
        assert await scene.recorded() == []

    act(scene, configured(insecure=True))


def test_elsewhere_nobody_comes_in_by_saying_nothing() -> None:
    async def scene(scene: Scene) -> None:
        for _ in range(20):
            answer = await scene.post({})
            assert answer.status == 401
            assert "log in with a name and password" in answer.read()["error"]["message"]

    act(scene)


@pytest.mark.parametrize(
    "said",
    [
        WRONG,
        {"name": "nobody", "password": "correct horse"},
        {"name": "ann"},
        {"name": "ann", "password": ""},
        {"password": "correct horse"},
        {"name": "bob", "password": "correct horse"},
        {"name": "bob", "password": BOB["password"]},
        {"name": "ANN", "password": "correct horse"},
        {"name": "key", "password": "the key"},
        {"key": "the keys"},
        {"name": "ann", "password": "correct horse", "key": "wrong"},
    ],
)
def test_who_does_not_know_one_is_refused(said: dict[str, str]) -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.post(said)
        assert (answer.status, answer.read()["error"]["code"]) == (401, 101)

    act(scene)


def test_where_no_key_is_configured_an_empty_one_opens_nothing() -> None:
    async def scene(scene: Scene) -> None:
        assert (await scene.post({"key": ""})).status == 401
        assert (await scene.post({"key": "x"})).status == 401

    act(scene, configured(key=""))


def test_an_unknown_name_is_told_nothing_else_than_a_wrong_password() -> None:
    async def scene(scene: Scene) -> None:
        answers = [await scene.post({"name": name, "password": "x"}) for name in ("ann", "bob", "eve")]
        assert len({(answer.status, answer.body) for answer in answers}) == 1

    act(scene)


def test_an_unknown_name_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[Cost] = []

    def counted(password: str, salt: bytes, cost: Cost) -> Hash:
        costs.append(cost)
        return hash_of(password, salt, cost)

    monkeypatch.setattr(login_module, "hash_of", counted)
    dear = str(hash_of("x", b"salt", Cost(32, 1, 1)))
    config = configured(users=[ANN, BOB, {"name": "eve", "password": dear}])
    users = Users(config.console.users)

    async def asked() -> None:
        for name in ("ann", "bob", "eve", "nobody"):
            await users.right(name, "wrong")

    asyncio.run(asked())
    assert costs == [CHEAP, Cost(32, 1, 1)] * 4


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"name": 1}', b'{"user": "ann"}', b"\xff", b'"x"', b"[" * 4_000, b'{"name":"\\ud800"}'],
)
def test_what_is_no_login_is_told_what_one_is(body: bytes) -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.post(body)
        assert (answer.status, answer.read()["error"]["code"]) == (400, 107)
        assert await scene.recorded() == []

    act(scene)


def test_a_login_is_short() -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.post({"name": "ann", "password": "x" * CONSOLE_LOGIN_BYTES_MAX})
        assert answer.status == 400

    act(scene)


def test_a_page_of_another_origin_has_no_business_here() -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.post(RIGHT, origin="https://evil.example")
        assert (answer.status, answer.read()["error"]["code"]) == (403, 103)
        assert (await scene.post(RIGHT, origin="http://here")).status == 200

    act(scene)


def test_in_development_no_name_of_the_internet_leads_here() -> None:
    async def scene(scene: Scene) -> None:
        scene.login.routes("/console", local=True)
        for host, status in (("evil.example", 403), ("127.0.0.1:8000", 200), ("localhost:8000", 200)):
            assert (await scene.post({}, host=host, origin=f"http://{host}")).status == status
        scene.login.routes("/console")
        assert (
            await scene.post({}, host="intranet.example", origin="https://intranet.example")
        ).status == 200

    act(scene, configured(insecure=True))


def test_where_nobody_has_to_log_in_a_page_is_let_in_with_what_it_asks_first() -> None:
    def asked(host: str) -> Request:
        return Request({"type": "http", "headers": [(b"host", host.encode())]})

    async def scene(scene: Scene) -> None:
        let_in = scene.login.free(asked("console.example"))
        assert let_in is not None
        assert scene.passes.read(let_in.token).role == "operator"
        scene.login.routes("/console", local=True)
        assert scene.login.free(asked("console.example")) is None
        assert scene.login.free(asked("localhost:8000")) is not None
        scene.login.follow(configured())
        assert scene.login.free(asked("localhost:8000")) is None

    act(scene, configured(insecure=True))


# Throttled ------------------------------------------------------------------------------------


def test_wrong_ones_of_an_address_have_to_wait_and_then_are_heard_again() -> None:
    async def scene(scene: Scene) -> None:
        for _ in range(CONSOLE_WRONG_PER_MINUTE):
            assert (await scene.post(WRONG)).status == 401
        for said in (WRONG, RIGHT, {"key": "the key"}):
            answer = await scene.post(said)
            assert (answer.status, answer.fields["retry-after"]) == (429, "12")
            assert answer.read()["error"]["temporary"]
        assert (await scene.post(RIGHT, "10.0.0.2")).status == 200
        scene.stage.clock.pass_ms(12_000)
        assert (await scene.post(RIGHT)).status == 200

    act(scene)


def test_wrong_ones_count_at_all_nodes_together() -> None:
    async def run(stage: Stage) -> None:
        line, nodes = Line(), []
        for name in ("a", "b"):
            stage.broker.telling = Telling(line.end(), name)
            nodes.append(Scene(stage, configured()))
        for turn in range(CONSOLE_WRONG_PER_MINUTE):
            stage.broker.telling = nodes[turn % 2].telling
            assert (await nodes[turn % 2].post(WRONG)).status == 401
            await rest()
        assert [(await node.post(RIGHT)).status for node in nodes] == [429, 429]
        assert [(await node.post(RIGHT, "10.0.0.2")).status for node in nodes] == [200, 200]

    play(run)


def test_right_ones_cost_nothing() -> None:
    async def scene(scene: Scene) -> None:
        for _ in range(4 * CONSOLE_WRONG_PER_MINUTE):
            assert (await scene.post(RIGHT)).status == 200

    act(scene)


def test_a_network_of_ipv6_is_one_address() -> None:
    async def scene(scene: Scene) -> None:
        for n in range(CONSOLE_WRONG_PER_MINUTE):
            assert (await scene.post(WRONG, f"2001:db8::{n}")).status == 401
        assert (await scene.post(WRONG, "2001:db8::ffff")).status == 429
        assert (await scene.post(WRONG, "2001:db8:0:1::1")).status == 401

    act(scene)


def test_behind_a_proxy_the_clients_address_counts() -> None:
    async def scene(scene: Scene) -> None:
        for _ in range(CONSOLE_WRONG_PER_MINUTE):
            assert (await scene.post(WRONG, "10.9.0.1", x_forwarded_for="8.8.8.8")).status == 401
        assert (await scene.post(WRONG, "10.9.0.1", x_forwarded_for="8.8.8.8")).status == 429
        assert (await scene.post(WRONG, "10.9.0.1", x_forwarded_for="9.9.9.9")).status == 401

    act(scene)


def test_who_guesses_all_at_once_is_heard_no_more_often() -> None:
    async def scene(scene: Scene) -> None:
        said = {"name": "bob", "password": "x"}
        answers = await asyncio.gather(*(scene.post(said) for _ in range(CONSOLE_LOGINS_WAITING_MAX + 5)))
        statuses = [answer.status for answer in answers]
        assert statuses.count(401) == CONSOLE_WRONG_PER_MINUTE
        assert statuses.count(429) == len(statuses) - CONSOLE_WRONG_PER_MINUTE

    act(scene)


# On record ------------------------------------------------------------------------------------


def test_who_came_and_who_did_not_is_recorded_without_a_secret() -> None:
    async def scene(scene: Scene) -> None:
        await scene.post(RIGHT)
        await scene.post(WRONG)
        await scene.post({"name": "my password, by mistake", "password": "x"})
        await scene.post({"key": "wrong key"})
        came, wrong, stranger, key = await scene.recorded()
        assert came == {
            "what": "login",
            "who": "console:ann",
            "name": "ann",
            "details": {"address": "10.0.0.1", "how": "password"},
        }
        assert (wrong["what"], wrong["who"], wrong["name"]) == ("login_refused", "console", "ann")
        assert (stranger["what"], stranger["name"]) == ("login_refused", "")
        assert key["details"] == {"address": "10.0.0.1", "how": "key"}
        written = json.dumps(await scene.recorded())
        assert not any(
            secret in written for secret in ("horse", "hunter2", "mistake", "wrong key", "console.ey")
        )

    act(scene)


def test_who_guesses_for_hours_does_not_push_out_what_others_did() -> None:
    async def scene(scene: Scene) -> None:
        for n in range(3 * CONSOLE_WRONG_RECORDED_PER_HOUR):
            assert (await scene.post(WRONG, f"10.0.{n}.1")).status == 401
            scene.stage.clock.pass_ms(600)
        assert len(await scene.recorded()) <= CONSOLE_WRONG_RECORDED_PER_HOUR + 2

    act(scene)


# Again ----------------------------------------------------------------------------------------


def test_a_session_that_is_renewed_lasts_longer() -> None:
    async def scene(scene: Scene) -> None:
        token = (await scene.post(RIGHT)).read()["token"]
        scene.stage.clock.pass_ms(11 * 3600 * 1000)
        answer = await scene.renew(token)
        assert (answer.status, answer.read()["name"]) == (200, "ann")
        scene.stage.clock.pass_ms(2 * 3600 * 1000)
        assert (await scene.renew(token)).status == 401
        assert (await scene.renew(answer.read()["token"], "bearer")).status == 200

    act(scene)


@pytest.mark.parametrize(("token", "scheme"), [("", "Bearer"), ("x", "Bearer"), ("console.x", "Basic")])
def test_what_is_no_session_is_not_renewed(token: str, scheme: str) -> None:
    async def scene(scene: Scene) -> None:
        answer = await scene.renew(token, scheme)
        assert (answer.status, answer.read()["error"]["code"]) == (401, 101)

    act(scene)


def test_another_configuration_holds_at_once() -> None:
    async def scene(scene: Scene) -> None:
        now = configured(users=[{**ANN, "password": "another"}], key="")
        scene.passes.follow(now)
        scene.login.follow(now)
        assert (await scene.post(RIGHT)).status == 401
        assert (await scene.post({"key": "the key"})).status == 401
        assert (await scene.post({"name": "ann", "password": "another"})).status == 200

    act(scene)
