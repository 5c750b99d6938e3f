"""What the tests in a browser share: Chromium, who visits, and servers to visit."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.seeding import Shop
from tests.browser.servers import SERVED, Dev, open_console, session_of
from tests.browser.visitors import ARGUMENTS, NARROW, Visitors
from tests.program import Program


@pytest.fixture(scope="module")  # while it runs, this thread has a loop: other tests need theirs
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium: `make test` installs it as root on Debian")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visitors(browser: Browser) -> Iterator[Visitors]:
    """Those who come in this test; what goes wrong in their pages fails it."""
    visitors = Visitors(browser)
    yield visitors
    visitors.leave()


@pytest.fixture
def page(visitors: Visitors) -> Page:
    """A page as wide as on a desk."""
    return visitors.page()


@pytest.fixture
def narrow_page(visitors: Visitors) -> Page:
    """A page as wide as a phone."""
    return visitors.page(NARROW)


@pytest.fixture(scope="module")
def entered(server: Program) -> str:
    """What a page keeps of an operator of the module's server: making sure of a password takes its time."""
    return session_of(server, "ann")


@pytest.fixture
def ann(request: pytest.FixtureRequest, page: Page, server: Program, entered: str) -> Page:
    """The page of that operator, where the module's `PLACE` is."""
    page.context.add_init_script(entered)
    open_console(page, server, getattr(request.module, "PLACE", "#/overview"))
    return page


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """`gapless dev`: everybody may do everything."""
    with Dev(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """`gapless serve` with a console where ann acts and bob looks (`PASSWORDS`)."""
    with Program(tmp_path_factory.mktemp("served"), SERVED) as served:
        yield served


@pytest.fixture(scope="module")
def shop(dev: Dev) -> Iterator[Shop]:
    """A shop on the server for development."""
    shop = Shop(dev)
    shop.open()
    yield shop
    shop.close()
