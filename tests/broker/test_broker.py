"""Publishing, as those hear of it who follow along."""

from msgspec.structs import replace

from gapless.core.stream import Entry, Outcome, Retention, Stored
from tests.conversation import OPEN, Stage, play, rest

KEPT = replace(OPEN, history_size=100, history_ttl_ms=600_000)
KEEP = Retention(100, 600_000)


def test_what_is_stored_with_a_message_is_heard_where_it_went_and_only_then() -> None:
    async def scene(stage: Stage) -> None:
        reader, other = await stage.reader("a"), await stage.reader("b")
        answered: list[Outcome] = []

        async def append(key: str, *, to: str = "a", transient: bool = False) -> None:
            also = Entry("b", b"{}", KEEP)
            entry = Entry(to, b"[]", KEEP, key=key, also=also, transient=transient)
            stage.broker.append([entry], lambda entries, outcomes: answered.extend(outcomes))
            await rest()

        await append("k")
        assert (reader.offsets(), other.offsets()) == ([1], [1])
        await append("k")
        assert (reader.offsets(), other.offsets()) == ([], [])
        await append("l", transient=True)
        assert (reader.offsets(), other.offsets()) == ([0], [])
        await append("m", to="followed by nobody")
        assert (reader.offsets(), other.offsets()) == ([], [2])
        assert [bool(one.also) for one in answered if isinstance(one, Stored)] == [True, False, False, True]

    play(scene, without=KEPT)
