"""The public client of the server API (`cent`, sync and async) works unchanged."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import cent
import pytest

from tests.acceptance.raw import RawClient
from tests.acceptance.stock import CONFIG, token
from tests.program import API_KEY, Program


class Both:
    """One way to call either client."""

    def __init__(self, program: Program, *, asynchronous: bool, key: str = API_KEY) -> None:
        self._url = program.api_url
        self._key = key
        self._asynchronous = asynchronous

    def __call__(self, method: str, request: cent.CentRequest[Any]) -> Any:
        if self._asynchronous:
            return asyncio.run(self._call(method, request))
        client = cent.Client(self._url, self._key)
        try:
            return getattr(client, method)(request)
        finally:
            client._session.close()

    async def _call(self, method: str, request: cent.CentRequest[Any]) -> Any:
        async with cent.AsyncClient(self._url, self._key) as client:
            return await getattr(client, method)(request)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("cent"), CONFIG)
    program.start()
    yield program
    program.close()


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, program: Program) -> Both:
    return Both(program, asynchronous=request.param == "async")


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return f"chat:{abs(hash(request.node.name))}"


def test_a_publication_is_stored_once_per_key(api: Both, channel: str) -> None:
    request = cent.PublishRequest(
        channel=channel, data={"text": "hi"}, tags={"a": "b"}, idempotency_key="key", skip_history=False
    )
    first = api("publish", request)
    assert first.offset == 1
    assert first.epoch
    assert api("publish", request) == first
    held = api("history", cent.HistoryRequest(channel=channel, limit=10))
    assert [(item.data, item.offset, item.tags) for item in held.publications] == [
        ({"text": "hi"}, 1, {"a": "b"})
    ]
    assert (held.offset, held.epoch) == (1, first.epoch)


def test_a_broadcast_tells_of_each_channel(api: Both, channel: str) -> None:
    channels = [f"{channel}a", "unknown:1", f"{channel}b"]
    told = api("broadcast", cent.BroadcastRequest(channels=channels, data=1)).responses
    assert [response.result and response.result.offset for response in told] == [1, None, 1]
    assert told[1].error is not None
    assert told[1].error.code == 102


@pytest.mark.parametrize("parallel", [False, True])
def test_a_batch_tells_of_each_command(api: Both, channel: str, parallel: bool) -> None:
    requests: list[cent.CentRequest[Any]] = [
        *[cent.PublishRequest(channel=channel, data=number) for number in range(10)],
        cent.BroadcastRequest(channels=[channel], data=10),
        cent.InfoRequest(),
    ]
    replies = api("batch", cent.BatchRequest(requests=requests, parallel=parallel)).replies
    assert [reply.offset for reply in replies[:10]] == list(range(1, 11))
    assert replies[10].responses[0].result.offset == 11
    assert len(replies[11].nodes) == 1


def test_history_is_read_from_a_position_and_backwards(api: Both, channel: str) -> None:
    requests = [cent.PublishRequest(channel=channel, data=number) for number in range(5)]
    api("batch", cent.BatchRequest(requests=requests))
    held = api("history", cent.HistoryRequest(channel=channel, limit=2, reverse=True))
    assert [item.offset for item in held.publications] == [5, 4]
    since = cent.StreamPosition(offset=3, epoch=held.epoch)
    held = api("history", cent.HistoryRequest(channel=channel, limit=-1, since=since))
    assert [item.offset for item in held.publications] == [4, 5]


def test_info_tells_of_the_node(api: Both) -> None:
    (node,) = api("info", cent.InfoRequest()).nodes
    assert node.uid
    assert node.name
    assert node.version
    assert node.store["durability"] in ("disk", "memory", "process")


def test_errors_are_the_clients_own(program: Program, api: Both) -> None:
    with pytest.raises(cent.CentApiResponseError) as caught:
        api("publish", cent.PublishRequest(channel="unknown:1", data=1))
    assert caught.value.code == 102
    for asynchronous in (False, True):
        with pytest.raises(cent.CentUnauthorizedError):
            Both(program, asynchronous=asynchronous, key="wrong")("info", cent.InfoRequest())


PAID: dict[str, dict[str, Any]] = {
    "connections": {"user": "", "expression": ""},
    "get_user_status": {"users": ["ann"]},
    "update_user_status": {"users": ["ann"]},
    "delete_user_status": {"users": ["ann"]},
    "block_user": {"user": "ann"},
    "unblock_user": {"user": "ann"},
    "revoke_token": {"uid": "1"},
    "invalidate_user_tokens": {"user": "ann"},
    "device_list": {},
    "user_topic_list": {},
    "cancel_push": {"uid": "1"},
}


@pytest.mark.parametrize("method", sorted(PAID))
def test_a_method_of_the_paid_edition_is_not_found(api: Both, method: str) -> None:
    request = getattr(cent, "".join(map(str.capitalize, method.split("_"))) + "Request")
    with pytest.raises(cent.CentTransportError) as caught:
        api(method, request(**PAID[method]))
    assert caught.value.status_code == 404


def test_a_user_is_subscribed_seen_refreshed_and_disconnected(
    program: Program, api: Both, channel: str
) -> None:
    with RawClient(program.port, token("ann")) as ann:
        api("subscribe", cent.SubscribeRequest(user="ann", channel=channel, data={"a": 1}, info={"b": 2}))
        assert ann.push(channel)["subscribe"]["data"] == {"a": 1}
        (present,) = api("presence", cent.PresenceRequest(channel=channel)).presence.values()
        assert (present.user, present.chan_info) == ("ann", {"b": 2})
        stats = api("presence_stats", cent.PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (1, 1)
        found = api("channels", cent.ChannelsRequest(pattern=f"{channel[:-1]}?")).channels
        assert {name: info.num_clients for name, info in found.items()} == {channel: 1}
        api("refresh", cent.RefreshRequest(user="ann", expire_at=int(time.time()) + 600))
        assert ann.push("")["refresh"]["expires"]
        api("unsubscribe", cent.UnsubscribeRequest(user="ann", channel=channel))
        assert ann.push(channel)["unsubscribe"]["code"] == 2000
        going = cent.Disconnect(code=4500, reason="bye")
        api("disconnect", cent.DisconnectRequest(user="ann", disconnect=going))
        assert ann.end() == 4500


def test_history_is_removed(api: Both, channel: str) -> None:
    at = api("publish", cent.PublishRequest(channel=channel, data=1))
    api("history_remove", cent.HistoryRemoveRequest(channel=channel))
    held = api("history", cent.HistoryRequest(channel=channel, limit=10))
    assert (held.publications, held.offset) == ([], at.offset)
