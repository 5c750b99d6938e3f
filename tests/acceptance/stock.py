"""What every stock SDK finds here: one suite, for each SDK, in JSON and in Protobuf."""

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest

from tests.acceptance.driver import Driver, Refused, StockClient
from tests.acceptance.raw import RawClient
from tests.program import Program

__all__ = ["CONFIG", "NAMESPACES", "Stock", "StockSuite", "data", "numbers", "publish_many", "token"]

SECRET = "a secret of thirty-two characters"
ALLOWED = ("subscribe", "publish", "history", "presence")
NAMESPACES: list[dict[str, Any]] = [
    {
        "name": "chat",
        "history_size": 10_000,
        "history_ttl": "10m",
        "force_recovery": True,
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
        "allow_user_limited_channels": True,
        **{f"allow_{right}_for_client": True for right in ALLOWED},
    },
    {
        "name": "short",
        "history_size": 10,
        "history_ttl": "10m",
        "force_recovery": True,
        "allow_subscribe_for_client": True,
    },
    {"name": "live", "allow_subscribe_for_client": True, "allow_publish_for_client": True},
    {"name": "shut"},
]
CONFIG = {
    "client": {
        "token": {"hmac_secret_key": SECRET},
        "ping_interval": "1s",
        "pong_timeout": "500ms",
        "history_max_publication_limit": 1_000,
    },
    "channel": {"namespaces": NAMESPACES},
}
BATCH = 500

numbers = itertools.count()


def token(user: str, **claims: Any) -> str:
    """Sign a connection token."""
    return jwt.encode({"sub": user, **claims}, SECRET, "HS256")


def publish_many(program: Program, channel: str, payloads: Sequence[Any]) -> None:
    """Publish through the server API, in order."""
    for start in range(0, len(payloads), BATCH):
        batch = payloads[start : start + BATCH]
        commands = [{"publish": {"channel": channel, "data": data}} for data in batch]
        answer = program.api("batch", commands=commands)
        replies = answer["replies"] if "replies" in answer else answer["result"]["replies"]
        assert all("publish" in reply for reply in replies)


def data(events: Sequence[dict[str, Any]]) -> list[Any]:
    return [event["data"] for event in events]


class Stock:
    """What suites for stock SDKs share. Subclass them as `Test…` with a fixture `driver`."""

    config: ClassVar[dict[str, Any]] = CONFIG

    @pytest.fixture(scope="class", params=[False, True], ids=["json", "protobuf"])
    @staticmethod
    def binary(request: pytest.FixtureRequest) -> bool:
        return bool(request.param)

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
        program = Program(tmp_path_factory.mktemp("server"), cls.config)
        program.start()
        yield program
        program.close()

    @pytest.fixture
    @classmethod
    def own_server(cls, tmp_path: Path) -> Iterator[Program]:
        """A server that may be ended."""
        program = Program(tmp_path, cls.config)
        program.start()
        yield program
        program.close()

    def client(
        self,
        driver: Driver,
        server: Program,
        binary: bool,
        user: str = "ann",
        *,
        credentials: str = "",
        **options: Any,
    ) -> StockClient:
        name, credentials = f"{user}-{next(numbers)}", credentials or token(user)
        client = StockClient(driver, name, server.url, binary=binary, token=credentials, **options)
        client.told("connecting")
        client.told("connected")
        return client

    def channel(self, namespace: str = "chat") -> str:
        return f"{namespace}:{next(numbers)}"


class StockSuite(Stock):
    """Channels, and coming back."""

    # Connecting ---------------------------------------------------------------------------

    def test_a_token_says_who_connects(self, driver: Driver, server: Program, binary: bool) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        ann.subscribe(channel)
        present = ann.call("presence", channel=channel)
        assert [told["user"] for told in present.values()] == ["ann"]
        assert list(present) == [told["client"] for told in present.values()]

    @pytest.mark.parametrize(
        ("credentials", "code"),
        [
            (jwt.encode({"sub": "eve"}, "another secret of enough characters", "HS256"), 3500),
            ("no token at all", 3500),
            (token("eve", channel="chat:1"), 3500),  # a subscription token
            ("", 3501),
        ],
        ids=["signature", "malformed", "kind", "none"],
    )
    def test_who_has_no_valid_token_is_turned_away_for_good(
        self, driver: Driver, server: Program, binary: bool, credentials: str, code: int
    ) -> None:
        eve = StockClient(driver, f"eve-{next(numbers)}", server.url, binary=binary, token=credentials)
        assert eve.told("disconnected")["code"] == code

    def test_an_expired_token_is_asked_to_be_renewed(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        late = token("late", exp=int(time.time()) - 60)
        client = StockClient(driver, f"late-{next(numbers)}", server.url, binary=binary, token=late)
        unauthorized = 1  # the SDK's own: error 109 came, and it has no way to renew
        assert client.told("disconnected")["code"] == unauthorized

    def test_pings_and_pongs_keep_a_quiet_connection(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        ann.subscribe(channel)
        with RawClient(server.port, token("watch")) as watch:
            for _ in range(2):
                watch.wait_for_ping()
                watch.pong()
        server.api("publish", channel=channel, data="still there")
        assert data(ann.publications(channel, 1)) == ["still there"]
        assert not {"connecting", "disconnected"} & set(driver.waiting(ann.name))

    # Channels -----------------------------------------------------------------------------

    def test_what_one_publishes_all_receive_with_its_name(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, bob = (self.client(driver, server, binary, user) for user in ("ann", "bob"))
        channel = self.channel()
        for client in (ann, bob):
            client.subscribe(channel)
        ann.call("publish", channel=channel, data={"text": "grüß dich\n"})
        for client in (ann, bob):
            (event,) = client.publications(channel, 1)
            assert event["data"] == {"text": "grüß dich\n"}
            assert event["offset"] == 1
            assert event["info"]["user"] == "ann"

    def test_what_a_backend_publishes_arrives_with_its_tags(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel("live")
        told = ann.subscribe(channel)
        assert not told["recoverable"]
        server.api("publish", channel=channel, data=[1, 2], tags={"kind": "list"})
        (event,) = ann.publications(channel, 1)
        assert (event["data"], event["tags"], event["info"]) == ([1, 2], {"kind": "list"}, None)

    def test_history_is_read_from_either_end_or_from_a_position(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        publish_many(server, channel, list(range(20)))

        def read(**options: Any) -> dict[str, Any]:
            told: dict[str, Any] = ann.call("history", channel=channel, options=options)
            return told

        top = read(limit=0)
        assert (top["publications"], top["offset"]) == ([], 20)
        assert data(read(limit=3)["publications"]) == [0, 1, 2]
        assert data(read(limit=3, reverse=True)["publications"]) == [19, 18, 17]
        since = {"offset": 17, "epoch": top["epoch"]}
        assert data(read(limit=100, since=since)["publications"]) == [17, 18, 19]
        assert data(read(limit=2, since=since, reverse=True)["publications"]) == [15, 14]
        with pytest.raises(Refused) as refused:
            read(limit=1, since={"offset": 99, "epoch": top["epoch"]})
        assert refused.value.code == 112

    def test_presence_counts_clients_and_users(self, driver: Driver, server: Program, binary: bool) -> None:
        channel = self.channel()
        clients = [self.client(driver, server, binary, user) for user in ("ann", "ann", "bob")]
        for client in clients:
            client.subscribe(channel)
        assert clients[0].call("presence_stats", channel=channel) == {"num_clients": 3, "num_users": 2}
        users = sorted(told["user"] for told in clients[0].call("presence", channel=channel).values())
        assert users == ["ann", "ann", "bob"]

    def test_others_hear_who_joins_and_leaves(self, driver: Driver, server: Program, binary: bool) -> None:
        ann, bob = (self.client(driver, server, binary, user) for user in ("ann", "bob"))
        channel = self.channel()
        ann.subscribe(channel)
        bob.subscribe(channel)
        driver.event(ann.name, lambda told: told["event"] == "join" and told["info"]["user"] == "bob")
        bob.call("disconnect")
        assert ann.told("leave", channel)["info"]["user"] == "bob"

    def test_an_unknown_rpc_is_told(self, driver: Driver, server: Program, binary: bool) -> None:
        ann = self.client(driver, server, binary)
        with pytest.raises(Refused) as refused:
            ann.call("rpc", method="sum", data=[1, 2])
        assert refused.value.code == 104

    @pytest.mark.parametrize(
        ("channel", "code"),
        [("shut:1", 103), ("$chat:1", 103), ("chat:1#bob", 103), ("nowhere:1", 102), ("chat:ü", 107)],
        ids=["no permission", "private", "of another user", "unknown", "not ascii"],
    )
    def test_a_refused_subscription_ends_with_its_error(
        self, driver: Driver, server: Program, binary: bool, channel: str, code: int
    ) -> None:
        eve = self.client(driver, server, binary, "eve")
        eve.call("subscribe", channel=channel)
        assert eve.told("unsubscribed", channel)["code"] == code

    @pytest.mark.parametrize(("channel", "code"), [("short:1", 103), ("nowhere:1", 102)])
    @pytest.mark.parametrize("order", ["publish", "history", "presence", "presence_stats"])
    def test_a_call_that_is_not_allowed_is_refused(
        self, driver: Driver, server: Program, binary: bool, order: str, channel: str, code: int
    ) -> None:
        eve = self.client(driver, server, binary, "eve")
        with pytest.raises(Refused) as refused:
            eve.call(order, channel=channel, data=1, options={"limit": 1})
        without_presence = channel.startswith("short") and order.startswith("presence")
        assert refused.value.code == (108 if without_presence else code)

    def test_who_unsubscribes_hears_no_more(self, driver: Driver, server: Program, binary: bool) -> None:
        ann, channel, other = self.client(driver, server, binary), self.channel(), self.channel()
        ann.subscribe(channel)
        ann.subscribe(other)
        ann.call("unsubscribe", channel=channel)
        unsubscribe_called = 0  # the SDK's own
        assert ann.told("unsubscribed", channel)["code"] == unsubscribe_called
        assert ann.call("presence", channel=channel) == {}
        server.api("publish", channel=channel, data="unheard")
        server.api("publish", channel=other, data="heard")
        heard = driver.event(ann.name, lambda told: told["event"] == "publication")
        assert heard["channel"] == other

    def test_bytes_that_are_no_json_reach_protobuf_clients_only(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        ann.subscribe(channel)
        server.api("publish", channel=channel, b64data="/w==")
        if binary:
            assert data(ann.publications(channel, 1)) == [{"base64": "/w=="}]
        else:
            assert ann.told("disconnected")["code"] == 3506

    # Coming back --------------------------------------------------------------------------

    def test_who_was_away_gets_what_it_missed(self, driver: Driver, server: Program, binary: bool) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        told = ann.subscribe(channel)
        assert (told["recoverable"], told["positioned"], told["was_recovering"]) == (True, True, False)
        publish_many(server, channel, [1, 2])
        assert data(ann.publications(channel, 2)) == [1, 2]
        ann.call("disconnect")
        publish_many(server, channel, [3, 4, 5])
        ann.call("connect")
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        server.api("publish", channel=channel, data=6)
        assert data(ann.publications(channel, 4)) == [3, 4, 5, 6]

    def test_who_missed_nothing_is_told_that_it_recovered(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        ann.subscribe(channel)
        publish_many(server, channel, [1])
        ann.publications(channel, 1)
        ann.call("disconnect")
        ann.call("connect")
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        server.api("publish", channel=channel, data=2)
        assert data(ann.publications(channel, 1)) == [2]

    def test_five_thousand_missed_messages_arrive_in_order_once(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        ann.subscribe(channel)
        ann.call("disconnect")
        publish_many(server, channel, list(range(5_000)))
        ann.call("connect")
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        server.api("publish", channel=channel, data="last")
        events = ann.publications(channel, 5_001)
        assert data(events) == [*range(5_000), "last"]
        assert [event["offset"] for event in events] == list(range(1, 5_002))

    def test_who_missed_more_than_is_kept_is_told_so(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel("short")
        ann.subscribe(channel)
        ann.call("disconnect")
        publish_many(server, channel, list(range(11)))
        ann.call("connect")
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, False)
        server.api("publish", channel=channel, data="new")
        assert data(ann.publications(channel, 1)) == ["new"]

    def test_a_server_that_was_killed_comes_back_with_everything(
        self, driver: Driver, own_server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, own_server, binary), self.channel()
        ann.subscribe(channel)
        publish_many(own_server, channel, list(range(50)))
        own_server.kill()
        own_server.start()
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        own_server.api("publish", channel=channel, data="after")
        assert data(ann.publications(channel, 51)) == [*range(50), "after"]

    def test_a_server_that_shuts_down_says_so(
        self, driver: Driver, own_server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, own_server, binary), self.channel()
        ann.subscribe(channel)
        own_server.api("publish", channel=channel, data=1)
        ann.publications(channel, 1)
        assert own_server.stop() == 0
        assert ann.told("connecting")["code"] == 3001
        own_server.start()
        assert ann.told("subscribed", channel)["recovered"]
