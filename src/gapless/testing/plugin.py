"""The pytest plugin: `gapless(gl)` runs a Gapless and its handlers in a test, `gapless_server` a real node.

It is loaded with every run of pytest; what it needs is imported when a fixture is used.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gapless.testing.running import TestGapless
    from gapless.testing.serving import Server

__all__ = ["gapless", "gapless_server", "gapless_server_config"]


@pytest.fixture
def gapless() -> "type[TestGapless]":
    """Run a Gapless and its handlers, in memory, on a virtual clock: `with gapless(gl) as t`."""
    from gapless.testing.running import TestGapless

    return TestGapless


@pytest.fixture
def gapless_server_config() -> Mapping[str, Any]:
    """The configuration of `gapless_server`: override this fixture to have another (or another `store`)."""
    return {}


@pytest.fixture
def gapless_server(gapless_server_config: Mapping[str, Any]) -> "Iterator[Server]":
    """A real node on a free port of this machine, with its `url` and `api_key`; a store in memory."""
    from gapless.testing.serving import serving

    with serving(gapless_server_config) as server:
        yield server
