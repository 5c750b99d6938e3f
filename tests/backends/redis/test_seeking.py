"""The Redis that takes writes is found and logged in to, or it is said why not."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless.core.errors import ConfigError, OutcomeUnknown, StoreRefused, Unavailable
from gapless.core.limits import REDIS_CONNECT_MS
from tests.backends.redis.cluster import cluster, formed, move, parts, replica
from tests.backends.redis.fake import bulk, faking
from tests.backends.redis.opening import Hand, calling, refusal, serving, until
from tests.certificates import Pair, certificate
from tests.redis_server import RedisServer, free_port


def opened(url: str, **options: object) -> None:
    """Open a store, use it, close it."""

    async def scenario() -> None:
        async with calling(url, **options) as calls:
            await calls.call("generations")

    asyncio.run(scenario())


# Logging in ---------------------------------------------------------------------------------


def test_a_password_alone_or_of_a_user_opens_the_store() -> None:
    with serving() as server:
        server.command("ACL", "SETUSER", "app", "on", ">its", "~*", "&*", "+@all")
        server.command("CONFIG", "SET", "requirepass", "secret")
        at = f"127.0.0.1:{server.port}"
        opened(f"redis://:secret@{at}")
        opened(f"redis://app:its@{at}")
        for wrong in ("", ":wrong@", "app:secret@", "nobody:its@"):
            with pytest.raises(StoreRefused, match="user or password"):
                opened(f"redis://{wrong}{at}")


def test_a_password_where_none_is_asked_for_is_refused() -> None:
    with serving() as server, pytest.raises(StoreRefused, match="AUTH"):
        opened(f"redis://:secret@127.0.0.1:{server.port}")


@pytest.mark.parametrize("rights", ["-fcall", "-function", "-info", "resetkeys"])
def test_a_user_that_may_not_do_what_is_needed_is_refused(rights: str) -> None:
    with serving() as server:
        server.command("ACL", "SETUSER", "app", "on", ">its", "~*", "&*", "+@all", rights)
        with pytest.raises(StoreRefused, match="user or password"):
            opened(f"redis://app:its@127.0.0.1:{server.port}")


def test_a_database_has_a_store_of_its_own() -> None:
    with serving() as server:
        opened(f"{server.url}/3")
        assert "db3:" in server.command("INFO", "keyspace")
        assert "db0:" not in server.command("INFO", "keyspace")
        with pytest.raises(StoreRefused, match="DB index"):
            opened(f"{server.url}/99")


# What is no Redis that can be used ----------------------------------------------------------


def test_a_replica_is_refused() -> None:
    with (
        serving() as server,
        serving(replicaof=f"127.0.0.1 {server.port}") as replica,
        pytest.raises(StoreRefused, match="replica"),
    ):
        opened(replica.url)


def test_nobody_there_is_told() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        opened(f"redis://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("version", ["6.2.14", "5.0.3"])
def test_an_older_redis_is_refused(version: str) -> None:
    def answer(command: list[bytes]) -> bytes:
        match command[0]:
            case b"INFO":
                return bulk(f"redis_version:{version}\r\nrole:master\r\n")
            case b"CONFIG":
                return b"-ERR Unknown subcommand or wrong number of arguments for 'GET'\r\n"
            case _:
                return b"+OK\r\n"

    async def scenario() -> None:
        async with faking(answer) as fake:
            with pytest.raises(StoreRefused, match=f"{version} is too old"):
                async with calling(fake.url):
                    pass
            assert [command[0] for command in fake.heard] == [b"PING", b"CONFIG", b"INFO"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "told",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "BUSY Redis is busy",
    ],
)
def test_a_redis_that_is_not_ready_is_asked_again_later(told: str) -> None:
    async def scenario() -> None:
        async with faking(lambda command: f"-{told}\r\n".encode()) as fake:
            with pytest.raises(Unavailable, match=told) as refused:
                async with calling(fake.url):
                    pass
            assert not isinstance(refused.value, StoreRefused)

    asyncio.run(scenario())


class Hurried(Hand):
    """Does not wait for whoever does not answer."""

    def after(self, delay_ms: int, callback):  # type: ignore[no-untyped-def]
        return super().after(10 if delay_ms == REDIS_CONNECT_MS else delay_ms, callback)


@pytest.mark.parametrize("silent_from", [b"PING", b"CONFIG", b"FUNCTION"])
def test_a_server_that_does_not_answer_is_not_waited_for_long(silent_from: bytes) -> None:
    is_silent = False

    def answer(command: list[bytes]) -> bytes | None:
        nonlocal is_silent
        is_silent |= command[0] == silent_from
        if is_silent:
            return None
        told = {b"INFO": bulk("redis_version:7.0.15\r\nrole:master\r\n"), b"CONFIG": b"*0\r\n"}
        return told.get(command[0], b"+OK\r\n")

    async def scenario() -> None:
        async with faking(answer) as fake:
            with pytest.raises(Unavailable):
                async with calling(fake.url, after=Hurried().after):
                    pass

    asyncio.run(scenario())


def test_what_answers_in_another_language_is_told() -> None:
    async def scenario() -> None:
        async with faking(lambda command: b"HTTP/1.1 400 Bad Request\r\n\r\n") as fake:
            with pytest.raises(Unavailable):
                async with calling(fake.url):
                    pass

    asyncio.run(scenario())


def test_whoever_gives_up_opening_is_let_go() -> None:
    async def scenario() -> None:
        async with faking(lambda command: None) as fake:
            opening = asyncio.ensure_future(calling(fake.url).__aenter__())
            await until(lambda: fake.heard)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

    asyncio.run(scenario())


# TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return certificate().write(folder), folder


@contextmanager
def encrypted(folder: Path, *, clients: bool = False) -> Iterator[RedisServer]:
    """Run a server with a port for TLS besides."""
    port = str(free_port())
    files = {
        "tls-cert-file": str(Pair.cert_file(folder)),
        "tls-key-file": str(Pair.key_file(folder)),
        "tls-ca-cert-file": str(Pair.cert_file(folder)),
    }
    settings = {"tls-port": port, "tls-auth-clients": "yes" if clients else "no"}
    with serving(**files, **settings) as server:
        server.settings["tls-port"] = port
        yield server


def test_tls_is_spoken_to_whom_the_certificate_names(pair: tuple[Pair, Path]) -> None:
    _, folder = pair
    ca = f"ca={Pair.cert_file(folder)}"
    with encrypted(folder) as server:
        port = server.settings["tls-port"]
        opened(f"rediss://127.0.0.1:{port}?{ca}")
        opened(f"rediss://localhost:{port}?{ca}")
        with pytest.raises(Unavailable, match="certificate"):
            opened(f"rediss://127.0.0.1:{port}")
        with pytest.raises(Unavailable):
            opened(f"rediss://127.0.0.1:{server.port}?{ca}", after=Hurried().after)
        with pytest.raises(Unavailable):
            opened(f"redis://127.0.0.1:{port}")


def test_a_certificate_of_another_name_is_not_trusted(tmp_path: Path) -> None:
    certificate("elsewhere").write(tmp_path)
    with encrypted(tmp_path) as server, pytest.raises(Unavailable, match="localhost"):
        opened(f"rediss://localhost:{server.settings['tls-port']}?ca={Pair.cert_file(tmp_path)}")


def test_a_client_may_have_a_certificate_too(pair: tuple[Pair, Path]) -> None:
    _, folder = pair
    ca = f"ca={Pair.cert_file(folder)}"
    with encrypted(folder, clients=True) as server:
        at = f"rediss://127.0.0.1:{server.settings['tls-port']}?{ca}"
        opened(f"{at}&cert={Pair.cert_file(folder)}&key={Pair.key_file(folder)}")
        with pytest.raises(Unavailable):
            opened(at)


def test_files_for_tls_that_are_not_there_are_told() -> None:
    for option in ("ca", "cert"):
        with pytest.raises(ConfigError, match="TLS files"):
            opened(f"rediss://127.0.0.1:1?{option}=/nowhere.pem")


# Sentinel -----------------------------------------------------------------------------------


def told_by_a_sentinel(found: bytes) -> Callable[[list[bytes]], bytes]:
    return lambda command: found if command[0] == b"SENTINEL" else b"+OK\r\n"


def test_sentinels_are_asked_in_turn() -> None:
    async def scenario() -> None:
        with serving() as server:
            found = b"*2\r\n" + bulk("127.0.0.1") + bulk(str(server.port))
            async with (
                faking(told_by_a_sentinel(b"*-1\r\n")) as ignorant,
                faking(told_by_a_sentinel(found)) as wise,
            ):
                hosts = f"127.0.0.1:{free_port()},127.0.0.1:{ignorant.port},127.0.0.1:{wise.port}"
                async with calling(f"redis+sentinel://{hosts}/main") as calls:
                    assert calls.attachment.standing.may_fail_over
                    await calls.call("generations")
                assert [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main"] in wise.heard
                with pytest.raises(Unavailable, match="no Redis was found"):
                    async with calling(f"redis+sentinel://127.0.0.1:{ignorant.port}/main"):
                        pass

    asyncio.run(scenario())


def test_a_sentinel_that_knows_only_what_was_is_not_asked_again_at_once() -> None:
    async def scenario() -> None:
        with serving() as server, serving(replicaof=f"127.0.0.1 {server.port}") as replica:
            stale, wise = (b"*2\r\n" + bulk("127.0.0.1") + bulk(str(one.port)) for one in (replica, server))
            async with (
                faking(told_by_a_sentinel(stale)) as one,
                faking(told_by_a_sentinel(wise)) as two,
                calling(f"redis+sentinel://127.0.0.1:{two.port},127.0.0.1:{one.port}/main") as calls,
            ):
                server.command("CLIENT", "KILL", "TYPE", "normal")
                await until(lambda: refusal(calls))
                await until(lambda: not refusal(calls))
                assert one.heard

    asyncio.run(scenario())


def test_a_sentinel_that_stops_half_way_is_not_waited_for_long() -> None:
    async def scenario() -> None:
        async with faking(lambda command: b"+OK\r\n" if command[0] == b"PING" else None) as fake:
            url = f"redis+sentinel://127.0.0.1:{fake.port}/main"
            with pytest.raises(Unavailable, match="no Redis was found"):
                async with calling(url, after=Hurried().after):
                    pass

    asyncio.run(scenario())


class Sentinel(RedisServer):
    """A real one, which watches one master."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder)
        self._config = folder / "sentinel.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 1000\n"
        )

    def arguments(self) -> list[str]:
        return [str(self._config), "--sentinel"]


@contextmanager
def watching(master: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """Run a Sentinel."""
    watcher = Sentinel(folder, master)
    try:
        yield watcher.start()
    finally:
        watcher.kill()


def test_a_failover_is_followed(tmp_path: Path) -> None:
    async def scenario() -> None:
        with serving() as master, serving(replicaof=f"127.0.0.1 {master.port}") as replica:
            await until(lambda: "master_link_status:up" in replica.command("INFO", "replication"))
            with watching(master, tmp_path) as watcher:
                await until(lambda: "slaves=1" in watcher.command("INFO", "sentinel"))
                async with calling(f"redis+sentinel://127.0.0.1:{watcher.port}/main") as calls:
                    before = calls.epoch
                    await calls.call("declare_stream", "a", 1, '{"partitions":1}', 10)
                    await until(lambda: replica.command("HLEN", "{gapless}:declared") == "1")
                    master.kill()
                    await until(lambda: refusal(calls))
                    await until(lambda: not refusal(calls))
                    assert await calls.read("declared_streams") == [[b"a", b'{"partitions":1}']]
                    assert calls.epoch != before

    asyncio.run(scenario())


# Cluster ------------------------------------------------------------------------------------


def test_a_cluster_is_asked_who_has_the_slot_and_again_when_it_moves() -> None:
    async def scenario() -> None:
        with cluster(3) as servers:
            await formed(servers)
            owner, other, slot = parts(servers)
            async with calling(f"redis+cluster://127.0.0.1:{other.port}") as calls:
                await calls.call("declare_stream", "a", 1, '{"partitions":1}', 10)
                assert int(owner.command("CLUSTER", "COUNTKEYSINSLOT", slot)) > 0
                # As `redis-cli --cluster reshard` moves a slot.
                move(owner, other, slot)
                await until(lambda: not refusal(calls))
                with pytest.raises((Unavailable, OutcomeUnknown)):
                    await calls.call("generations")
                await until(lambda: not refusal(calls))
                assert await calls.read("declared_streams") == [[b"a", b'{"partitions":1}']]
            with pytest.raises(StoreRefused, match="Cluster"):
                async with calling(owner.url):
                    pass

    asyncio.run(scenario())


def test_a_cluster_of_which_one_server_was_named_is_found_again_when_that_one_is_gone() -> None:
    async def scenario() -> None:
        with cluster(3) as servers:
            await formed(servers)
            owner, _, _ = parts(servers)
            async with (
                replica(servers, owner) as heir,
                calling(f"redis+cluster://127.0.0.1:{owner.port}") as calls,
            ):
                before = calls.epoch
                await calls.call("declare_stream", "a", 1, '{"partitions":1}', 10)
                await until(lambda: heir.command("DBSIZE") == owner.command("DBSIZE"))
                owner.kill()
                await until(lambda: refusal(calls))
                await until(lambda: not refusal(calls))
                assert await calls.read("declared_streams") == [[b"a", b'{"partitions":1}']]
                assert calls.epoch != before

    asyncio.run(scenario())
