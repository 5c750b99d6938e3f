"""Plain batches take a short way: what they are answered, and what is kept, is as on the long one."""

import asyncio
import json
from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gapless.backends import Options
from gapless.backends.memory import Backend
from gapless.broker.broker import Broker
from gapless.broker.namespaces import DataFormat, Namespace, Namespaces
from gapless.core.errors import GaplessError
from gapless.core.limits import COMMIT_ENTRIES_MAX, JSON_DEPTH_MAX
from gapless.core.stream import Entry, Message, Retention, Stored
from gapless.server.api import Api, plain
from gapless.server.api.calls import Told
from tests.server.serving import HandClock

KEPT: dict[str, Any] = {"history_size": 3, "history_ttl_ms": 60_000}
NAMESPACES = (
    Namespace(name="kept", **KEPT),
    Namespace(name="passing"),
    Namespace(name="objects", publication_data_format=DataFormat.JSON_OBJECT, **KEPT),
    Namespace(name="digits", channel_regex="^[0-9]+$", **KEPT),
)
CHANNELS = ("kept:1", "kept:2", "passing:1", "objects:1", "digits:1", "digits:x", "none:1", "kept:ü", "")
DEEP = "[" * (JSON_DEPTH_MAX + 1) + "]" * (JSON_DEPTH_MAX + 1)
DATA = ("1", "null", '"ü"', "{}", '{"a": [1, 2]}', DEEP, '"' + "x" * 300 + '"')
PLAIN = '{"publish":{"channel":"kept:1","data":1}}'
ODD = (
    '{"publish":{"channel":"kept:1"}}',
    '{"publish":{"data":1}}',
    '{"publish":{"channel":"kept:1","data":1,"skip_history":true}}',
    '{"publish":{"channel":"kept:1","data":1,"tags":{"a":"b"}}}',
    '{"publish":{"channel":"kept:1","b64data":"YQ=="}}',
    '{"publish":{"channel":"kept:1","data":1,"version":1}}',
    '{"publish":{"channel":"kept:1","data":1,"unheard_of":1}}',
    '{"publish":{"channel":1,"data":1}}',
    '{"broadcast":{"channels":["kept:1","kept:2"],"data":1}}',
    '{"publish":null}',
    "{}",
    "[",
)

publications = st.builds(
    '{{"publish":{{"channel":"{}","data":{}}}}}'.format, st.sampled_from(CHANNELS), st.sampled_from(DATA)
)
commands = st.one_of(publications, publications, st.sampled_from(ODD))
bodies = st.builds(
    lambda steps: f'{{"commands":[{",".join(steps)}]}}'.encode(), st.lists(commands, max_size=6)
)


class LongWay(Api):
    """Takes no batch for a plain one."""

    def _publish_plain(self, body: bytes, told: Told) -> bool:
        return False


async def carry_out(
    api: type[Api], bodies: list[bytes], **options: Any
) -> tuple[list[Any], list[list[Message]]]:
    """Return the outcomes of batches in one tick, and what is kept then."""
    store = Backend(Options(now_ms=lambda: 7, token=lambda: "generation", **options))
    namespaces = Namespaces(named=NAMESPACES)
    broker = Broker(store, HandClock(), namespaces, soon=asyncio.get_running_loop().call_soon)
    await broker.placing.check_generation()
    calls = api(broker, {})
    told: list[object] = [None] * len(bodies)
    works = []
    for index, body in enumerate(bodies):
        try:
            works.append(calls.call("batch", body, partial(told.__setitem__, index)))
        except GaplessError as error:
            told[index] = str(error)
    await asyncio.gather(*filter(None, works))
    await asyncio.sleep(0)
    pages = [await store.read(name, limit_messages=9, limit_bytes=9_999) for name in CHANNELS]
    return told, [page.messages for page in pages]


@given(st.lists(bodies, min_size=1, max_size=3))
@example([b""])
@example([f'{{"commands":[{",".join([PLAIN] * (COMMIT_ENTRIES_MAX + 1))}]}}'.encode()])
def test_the_short_way_comes_to_the_same_as_the_long_one(bodies: list[bytes]) -> None:
    assert asyncio.run(carry_out(Api, bodies)) == asyncio.run(carry_out(LongWay, bodies))


@given(st.lists(bodies, min_size=1, max_size=3))
def test_it_does_so_where_the_store_takes_no_more_or_refuses_some(bodies: list[bytes]) -> None:
    few: dict[str, Any] = {"writer_entries_max": 4, "message_bytes_max": 20}
    assert asyncio.run(carry_out(Api, bodies, **few)) == asyncio.run(carry_out(LongWay, bodies, **few))


def test_only_what_is_plain_takes_the_short_way() -> None:
    def entries(*steps: str) -> list[Entry] | None:
        body = f'{{"commands":[{",".join(steps)}]}}'.encode()
        return plain.entries(body, lambda channel, data: Entry(channel, data, Retention()))

    assert entries(PLAIN, PLAIN) == [Entry("kept:1", b"1", Retention())] * 2
    assert [entries(PLAIN, odd) for odd in ODD[:-1]] == [None] * (len(ODD) - 1)
    assert entries() is None
    assert entries(*[PLAIN] * (COMMIT_ENTRIES_MAX + 1)) is None


def test_replies_of_two_generations_each_tell_their_own() -> None:
    assert plain.replies([Stored("a", 1, 7), Stored("b", 1, 7)]) is None
    told = plain.replies([Stored("a", 1, 7), Stored("a", 9, 7)])
    assert told is not None
    assert json.loads(b"[%b]" % told) == [
        {"publish": {"offset": 1, "epoch": "a"}},
        {"publish": {"offset": 9, "epoch": "a"}},
    ]
