"""The stock Python SDK (`centrifuge-python`) works unchanged."""

from collections.abc import Iterator

import pytest

from tests.acceptance import driver as drivers
from tests.acceptance.driver import Driver
from tests.acceptance.stock import StockSuite, publish_many
from tests.acceptance.stock_tokens import StockTokens
from tests.program import Program


class Python:
    @pytest.fixture(scope="class")
    @staticmethod
    def driver() -> Iterator[Driver]:
        driver = drivers.python()
        yield driver
        driver.close()


class TestPython(Python, StockSuite):
    @pytest.mark.parametrize("offset", [4, 2**63 - 1])
    def test_a_position_beyond_the_end_is_refused_and_the_state_loaded_anew(
        self, driver: Driver, server: Program, binary: bool, offset: int
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        publish_many(server, channel, [1, 2, 3])
        epoch = server.api("history", channel=channel)["result"]["epoch"]
        beyond, inside = ({"offset": at, "epoch": epoch} for at in (offset, 1))
        told = ann.subscribe(channel, get_state=[beyond, inside])
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        assert [event["data"] for event in ann.publications(channel, 2)] == [2, 3]

    def test_a_foreign_epoch_is_refused_and_the_state_loaded_anew(
        self, driver: Driver, server: Program, binary: bool
    ) -> None:
        ann, channel = self.client(driver, server, binary), self.channel()
        publish_many(server, channel, [1, 2, 3])
        epoch = server.api("history", channel=channel)["result"]["epoch"]
        states = [{"offset": 1, "epoch": "never ours"}, {"offset": 2, "epoch": epoch}]
        told = ann.subscribe(channel, get_state=states)
        assert (told["was_recovering"], told["recovered"]) == (True, True)
        assert [event["data"] for event in ann.publications(channel, 1)] == [3]


class TestPythonTokens(Python, StockTokens):
    """What tokens grant."""
