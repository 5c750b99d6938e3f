"""The stock JavaScript SDK (`centrifuge` on npm), in Node, works unchanged."""

from collections.abc import Iterator

import pytest

from tests.acceptance import driver as drivers
from tests.acceptance.driver import Driver
from tests.acceptance.stock import StockSuite, publish_many
from tests.acceptance.stock_tokens import StockTokens
from tests.program import Program


class JavaScript:
    @pytest.fixture(scope="class")
    @staticmethod
    def driver(node: str) -> Iterator[Driver]:
        driver = drivers.javascript(node)
        yield driver
        driver.close()


class TestJavaScript(JavaScript, StockSuite):
    @pytest.mark.parametrize(
        ("offset", "epoch"),
        [(4, None), (2**53 - 1, None), (1, "never ours"), (1, "")],
        ids=["beyond the end", "huge", "foreign epoch", "no epoch"],
    )
    def test_a_position_that_does_not_hold_is_told_so_and_never_believed(
        self, driver: Driver, server: Program, binary: bool, offset: int, epoch: str | None
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        publish_many(server, channel, [1, 2, 3])
        ours = server.api("history", channel=channel)["result"]["epoch"]
        told = ann.subscribe(channel, since={"offset": offset, "epoch": ours if epoch is None else epoch})
        assert (told["was_recovering"], told["recovered"]) == (True, False)
        assert told["position"] == {"offset": 3, "epoch": ours}
        server.api("publish", channel=channel, data=4)
        assert [event["data"] for event in ann.publications(channel, 1)] == [4]

    def test_a_position_from_elsewhere_is_where_the_reading_begins(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        publish_many(server, channel, [1, 2, 3])
        epoch = server.api("history", channel=channel)["result"]["epoch"]
        told = ann.subscribe(channel, since={"offset": 1, "epoch": epoch})
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        assert [event["data"] for event in ann.publications(channel, 2)] == [2, 3]


class TestJavaScriptTokens(JavaScript, StockTokens):
    """What tokens grant."""
