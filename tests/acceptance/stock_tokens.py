"""What tokens do for every stock SDK: what they grant, how they are renewed, what the server adds."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.acceptance.driver import Driver, Refused, StockClient
from tests.acceptance.raw import RawClient
from tests.acceptance.stock import CONFIG, NAMESPACES, Stock, data, numbers, publish_many, token
from tests.program import Program, merged

__all__ = ["StockTokens"]

SOCIAL = {"presence": True, "join_leave": True, "force_push_join_leave": True}
KEPT = {"history_size": 10_000, "history_ttl": "10m", "force_recovery": True}


def soon() -> int:
    """A time that is near, and not past yet, in seconds."""
    return int(time.time()) + 2


def past() -> int:
    return int(time.time()) - 60


class StockTokens(Stock):
    config: ClassVar[dict[str, Any]] = merged(
        CONFIG,
        {
            "client": {"expired_close_delay": "30s", "expired_sub_close_delay": "30s"},
            "channel": {
                "namespaces": [
                    *NAMESPACES,
                    {"name": "news", **KEPT, **SOCIAL, "allow_presence_for_subscriber": True},
                    {"name": "open", "allow_publish_for_client": True, **KEPT},
                ]
            },
        },
    )

    @pytest.fixture(scope="class")
    @classmethod
    def personal(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
        """A server that subscribes each user to a channel of its own, and keeps its last connection."""
        own = {"enabled": True, "personal_channel_namespace": "news", "single_connection": True}
        program = Program(
            tmp_path_factory.mktemp("personal"),
            cls.config,
            {"client": {"subscribe_to_user_personal_channel": own}},
        )
        program.start()
        yield program
        program.close()

    # Renewed ------------------------------------------------------------------------------

    def test_a_connection_is_prolonged_with_a_new_token(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        first, second = token("ann", exp=soon()), token("ann")
        ann = self.client(driver, server, binary, credentials=first, tokens=[second])
        ann.told("asked")
        self.outlast_a_ping(server)
        assert not {"connecting", "disconnected", "error"} & set(driver.waiting(ann.name))

    def test_an_expired_token_is_renewed_before_the_connection_stands(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        expired = token("ann", exp=past())
        ann = self.client(driver, server, binary, credentials=expired, tokens=[token("ann")])
        ann.told("asked")

    def test_a_subscription_is_prolonged_with_a_new_token(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), "$" + self.channel("news")
        tokens = [token("ann", channel=channel, exp=soon()), token("ann", channel=channel)]
        ann.subscribe(channel, tokens=tokens)
        for _ in range(2):
            ann.told("asked", channel)
        self.outlast_a_ping(server)
        server.api("publish", channel=channel, data="still there")
        assert data(ann.publications(channel, 1)) == ["still there"]
        assert driver.waiting(ann.name).count("subscribing") == 1

    def test_an_expired_subscription_token_is_renewed(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel("news")
        expired, good = token("ann", channel=channel, exp=past()), token("ann", channel=channel)
        ann.subscribe(channel, token=expired, tokens=[good])
        ann.told("asked", channel)
        server.api("publish", channel=channel, data=1)
        assert data(ann.publications(channel, 1)) == [1]

    def test_a_token_that_is_old_already_when_it_prolongs_is_asked_for_again(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel("news")
        good, old = token("ann", channel=channel, exp=soon()), token("ann", channel=channel, exp=past())
        ann.subscribe(channel, tokens=[good, old, token("ann", channel=channel)])
        server.api("publish", channel=channel, data=1)
        ann.publications(channel, 1)
        for _ in range(3):
            ann.told("asked", channel)
        told = ann.told("subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)

    @staticmethod
    def outlast_a_ping(server: Program) -> None:
        """Wait until the server has pinged a connection, so that others had their ping too."""
        with RawClient(server.port, token("watch")) as watch:
            watch.wait_for_ping()

    # Granted ------------------------------------------------------------------------------

    def test_a_token_opens_a_channel_to_its_user_alone(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, eve = (self.client(driver, server, binary, user) for user in ("ann", "eve"))
        channel = "$" + self.channel("news")
        anns = token("ann", channel=channel, data={"topic": "tides"})
        assert ann.subscribe(channel, token=anns)["data"] == {"topic": "tides"}
        eve.call("subscribe", channel=channel)
        assert eve.told("unsubscribed", channel)["code"] == 103
        eve.call("subscribe", channel=self.channel("news"), options={"token": anns})
        assert eve.told("disconnected")["code"] == 3500

    def test_what_tokens_say_of_their_user_is_seen_by_others(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        channel = self.channel("chat")
        watcher = self.client(driver, server, binary, "bob")
        watcher.subscribe(channel)
        ann = self.client(driver, server, binary, credentials=token("ann", info={"name": "Ann"}))
        ann.subscribe(channel, token=token("ann", channel=channel, info={"role": "admin"}))
        ann.call("publish", channel=channel, data=1)
        (publication,) = watcher.publications(channel, 1)
        join = driver.event(
            watcher.name, lambda told: told["event"] == "join" and told["info"]["user"] == "ann"
        )
        present = watcher.call("presence", channel=channel).values()
        (seen,) = (told for told in present if told["user"] == "ann")
        assert (seen["conn_info"], seen["chan_info"]) == ({"name": "Ann"}, {"role": "admin"})
        assert publication["info"] == join["info"] == seen
        ann.call("disconnect")
        assert watcher.told("leave", channel)["info"] == seen

    # Added by the server ------------------------------------------------------------------

    def test_a_tokens_channels_are_followed_without_asking(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        one, two = self.channel("news"), self.channel("live")
        ann = self.client(driver, server, binary, credentials=token("ann", channels=[one, two]))
        told = {channel: ann.told("server_subscribed", channel) for channel in (one, two)}
        assert (told[one]["recoverable"], told[two]["recoverable"]) == (True, False)
        for channel in (one, two):
            server.api("publish", channel=channel, data=channel)
            assert ann.told("server_publication", channel)["data"] == channel

    def test_what_was_missed_of_a_server_side_subscription_comes_back(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        channel = self.channel("news")
        subs = {channel: {"data": {"n": 1}, "info": 7}}
        ann = self.client(driver, server, binary, credentials=token("ann", subs=subs))
        assert ann.told("server_subscribed", channel)["data"] == {"n": 1}
        publish_many(server, channel, [1, 2])
        assert self.heard(ann, channel, 2) == [1, 2]
        ann.call("disconnect")
        publish_many(server, channel, list(range(3, 2_000)))
        ann.call("connect")
        told = ann.told("server_subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        server.api("publish", channel=channel, data="last")
        assert self.heard(ann, channel, 1_998) == [*range(3, 2_000), "last"]

    def test_a_user_has_a_channel_of_its_own_and_one_connection(
        self, driver: Driver, personal: Program, binary: bool
    ) -> None:
        user = f"ann{next(numbers)}"
        channel = f"news:#{user}"
        older = self.client(driver, personal, binary, user)
        older.told("server_subscribed", channel)
        newer = self.client(driver, personal, binary, user)
        assert older.told("disconnected")["code"] == 3504
        newer.told("server_subscribed", channel)
        personal.api("publish", channel=channel, data={"for": user})
        assert self.heard(newer, channel, 1) == [{"for": user}]

    def test_a_server_that_was_killed_comes_back_with_everything_for_a_server_side_subscription(
        self, driver: Driver, own_server: Program, binary: bool
    ) -> None:
        channel = self.channel("news")
        ann = self.client(driver, own_server, binary, credentials=token("ann", channels=[channel]))
        ann.told("server_subscribed", channel)
        publish_many(own_server, channel, list(range(50)))
        own_server.kill()
        own_server.start()
        told = ann.told("server_subscribed", channel)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        own_server.api("publish", channel=channel, data="after")
        assert self.heard(ann, channel, 51) == [*range(50), "after"]

    @staticmethod
    def heard(client: StockClient, channel: str, count: int) -> list[Any]:
        return [client.told("server_publication", channel)["data"] for _ in range(count)]

    # Published with a key -----------------------------------------------------------------

    def test_a_publication_with_a_key_is_stored_once_and_its_position_told(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel("open")
        asked = {"channel": channel, "data": {"n": 1}, "idempotency_key": "k"}
        first = ann.call("rpc", method="gapless.publish", data=asked)
        assert first["offset"] == 1
        assert ann.call("rpc", method="gapless.publish", data=asked) == first
        with pytest.raises(Refused) as refused:
            ann.call("rpc", method="gapless.publish", data={**asked, "data": {"n": 2}})
        assert refused.value.code == 1002
        with pytest.raises(Refused) as refused:
            ann.call("rpc", method="gapless.publish", data={**asked, "channel": self.channel("news")})
        assert refused.value.code == 103
