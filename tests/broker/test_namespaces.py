import asyncio

import pytest
from msgspec.structs import replace

from gapless.broker.namespaces import Grammar, Namespace, Namespaces
from gapless.core.errors import ConfigError, LimitExceeded, UnknownChannel
from gapless.core.stream import Outcome, Stored
from tests.conversation import OPEN, Stage, play

BOUND = replace(OPEN, history_size=50, history_ttl_ms=600_000, history_bytes_total=300)


def test_the_channels_of_a_namespace_share_its_bytes_of_history() -> None:
    async def scene(stage: Stage) -> None:
        async def publish(channel: str, size: int, *, skip_history: bool = False) -> Outcome:
            told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            data = b'"%s"' % (b"x" * (size - 2))
            stage.broker.publish(channel, data, told.set_result, skip_history=skip_history)
            return await told

        for channel in ("chat:a", "chat:b", "chat:c", "a", "b", "c"):
            assert isinstance(await publish(channel, 100), Stored)
        for channel in ("chat:a", "chat:new", "a", "new"):
            assert isinstance(await publish(channel, 10), LimitExceeded)
            assert isinstance(await publish(channel, 10, skip_history=True), Stored)
        await stage.broker.removing.remove_history("chat:a")
        assert isinstance(await publish("chat:new", 100), Stored)
        assert isinstance(await publish("new", 10), LimitExceeded)

    play(scene, replace(BOUND, name="chat"), without=BOUND)


def test_each_namespace_is_a_group_of_its_own_and_only_with_a_limit() -> None:
    named = (replace(BOUND, name="chat"), replace(OPEN, name="free", history_size=5, history_ttl_ms=1_000))
    spaces = Namespaces(without=BOUND, named=named)
    groups = [spaces.of(channel).retention.group for channel in ("a", "b", "chat:a", "chat:b", "free:a")]
    assert groups == ["*", "*", "chat", "chat", ""]
    with pytest.raises(ConfigError, match="a name is"):
        Namespace(name="**")


def test_bytes_of_history_need_history() -> None:
    with pytest.raises(ConfigError, match="history_bytes_total needs history_size"):
        Namespace(history_bytes_total=1_000)


@pytest.mark.parametrize("boundary", [":", ".", "/"])
def test_the_systems_own_channels_are_read_in_one_way_whatever_the_grammar(boundary: str) -> None:
    own = Namespace(name="gapless.health")
    others = Namespace(name="gapless"), Namespace(name="open")
    namespaces = Namespaces(named=(own, *others), grammar=Grammar(namespace_boundary=boundary))
    assert namespaces.of("gapless.health:beat").namespace is own
    for channel in ("gapless.revocations", "gapless.revocations:1", "gapless.", "gapless.a/b"):
        with pytest.raises(UnknownChannel):
            namespaces.of(channel)
