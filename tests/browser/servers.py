"""The program for people with a browser: as a developer starts it, and as it is run for others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from playwright.sync_api import Page

from tests.program import GAPLESS, Program

__all__ = ["DEV", "PASSWORDS", "SECRET", "SERVED", "Dev", "open_console", "session_of"]

SECRET = "a secret of thirty-two characters"  # of tokens
PASSWORDS = {"ann": "an operator's password", "bob": "a reader's password"}
SERVED: dict[str, Any] = {
    "console": {
        "enabled": True,
        "users": [
            {"name": "ann", "role": "operator", "password": PASSWORDS["ann"]},
            {"name": "bob", "role": "read_only", "password": PASSWORDS["bob"]},
        ],
    },
    "channel": {
        "without_namespace": {
            "history_size": 10_000,
            "history_ttl": "24h",
            "force_recovery": True,
            "presence": True,
            "allow_subscribe_for_client": True,
            "allow_publish_for_client": True,
        }
    },
    "client": {"token": {"hmac_secret_key": SECRET}},
}


DEV = {"client.token.hmac_secret_key": SECRET}


class Dev(Program):
    """`gapless dev`, with a store of its own, and `settings` by their dotted names."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = DEV) -> None:
        super().__init__(folder)
        self.settings = settings

    def command(self) -> list[str]:
        settings = [f"--set={key}={value}" for key, value in self.settings.items()]
        store = f"sqlite:{self.folder / 'gapless.db'}"
        return [GAPLESS, "dev", "--port", str(self.port), "--store", store, *settings]


def open_console(page: Page, server: Program, route: str = "#/overview", *, as_name: str = "") -> None:
    """Open a screen of the console, and log in `as_name` where somebody has to."""
    page.goto(f"{server.origin}/console/{route}")
    if as_name:
        page.get_by_label("Name", exact=True).fill(as_name)
        page.get_by_label("Password").fill(PASSWORDS[as_name])
        page.get_by_role("button", name="Log in").click()
    page.locator("#main h1").wait_for()


def session_of(server: Program, name: str) -> str:
    """Log somebody in once, and return a script with which pages begin as theirs.

    A password takes its time, which a test of something else need not take. A page that is still empty has no
    place for it.
    """
    said = json.dumps({"name": name, "password": PASSWORDS[name]}).encode()
    with urlopen(f"{server.origin}/console/login", said) as answer:
        entered = json.dumps(answer.read().decode())
    return f"if (origin !== 'null') sessionStorage.setItem('gapless.session', {entered})"
