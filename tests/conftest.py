"""What all tests share: what is absent is a skip on a laptop, and a failure under `REQUIRE_ALL_TESTS`."""

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
NODE_PACKAGES = ROOT / "tests/acceptance/node/node_modules"
WEB_PACKAGES = ROOT / "tools/web/node_modules"
WSTEST = ROOT / ".cache/autobahn/wstest"

# How long an example takes is the machine's affair, and no test's.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
pytest.register_assert_rewrite("gapless.testing.conformance")

# A shell's background jobs ignore Ctrl-C, and what they start inherits that; our tests interrupt programs.
signal.signal(signal.SIGINT, signal.default_int_handler)

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(scope="session")
def node() -> str:
    """The path of a Node that finds the public JavaScript SDK from scripts in `tests/acceptance/node`."""
    path = shutil.which("node")
    if path is None or not (NODE_PACKAGES / "centrifuge").is_dir():
        pytest.skip("no Node with the JavaScript SDK: `make test` installs it")
    return path


@pytest.fixture(scope="session")
def wstest() -> Path:
    """The path of the Autobahn test suite's program, which runs under Python 2.7."""
    if not WSTEST.is_file():
        pytest.skip("no Autobahn test suite: `make test` installs it where there is a Python 2.7")
    return WSTEST


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))


def _refuse_skip(report: Report) -> Report:
    if report.outcome == "skipped" and os.environ.get("REQUIRE_ALL_TESTS"):
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # with it a failure is reported and not counted
        report.longrepr = f"nothing may be skipped here: {report.longrepr}"
    return report
