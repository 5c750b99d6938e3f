"""A shop on a server: channels with people, queues with workers and dead letters, streams with groups."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from tests.acceptance.stock import publish_many
from tests.browser.servers import SECRET, Dev
from tests.program import GAPLESS, POLL_SECONDS, Program

__all__ = ["CAME_BACK", "Shop", "until"]

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30
HOUR_MS = 3_600_000

NAMES = (
    "ada", "bob", "cleo", "dmitri", "eva", "farid", "greta", "hugo",
    "ines", "jonas", "kim", "lena", "mira", "noor", "olga", "pavel",
)  # fmt: skip
CITIES = ("Amsterdam", "Bergen", "Córdoba", "Düsseldorf", "Évora", "Faro", "Genève", "Huế")
ORDERS = 600
MISSED = 17
CAME_BACK = "noor"


def until(condition: Callable[[], Any], told: Callable[[], str] = str) -> Any:
    """Ask again and again until there is an answer, and return it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, told()
        signal.sigtimedwait([], POLL_SECONDS)
    return found


class Shop:
    """Fills a server, and keeps workers and people there until it is closed.

    Of its people each follows `news`, `support` and a channel of their own; on a server for development
    one was cut off, missed 17 messages of `news` and recovered them.
    """

    def __init__(self, server: Program) -> None:
        self._server = server
        self._output = server.folder / "shop.log"
        self._started: list[subprocess.Popen[str]] = []

    def open(self) -> None:
        """Fill the server, and wait until all is as it should be."""
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def _fill(self) -> None:
        self._declare()
        self._begin([GAPLESS, "worker", "tests.browser.shop:gl"])
        self._fill_streams()
        self._fill_queues()
        publish_many(self._server, "news", [news(number) for number in range(40)])
        publish_many(
            self._server, "prices", [{"sku": f"A-{n % 12:03}", "price": 990 + 7 * n} for n in range(60)]
        )
        come = [sys.executable, "-m", "tests.browser.crowd", self._server.url, json.dumps(people())]
        crowd = self._begin(come, heard=True)
        self._hears(crowd, "here")
        if isinstance(self._server, Dev):
            self.call("lab/cut", user=CAME_BACK)
            publish_many(self._server, "news", [news(number) for number in range(40, 40 + MISSED)])
            self._hears(crowd, "recovered")
        until(self._settled, self._told)

    def close(self) -> None:
        """Let everybody leave."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            with process:
                process.kill()

    def call(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Call the server API, and return its result."""
        answer = self._server.api(method, **request)
        assert "result" in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    @property
    def origin(self) -> str:
        """Where browsers find the server."""
        return self._server.origin

    def client_of(self, user: str) -> str:
        """Return the id of somebody's connection."""
        present = self.call("presence", channel="news")["presence"]
        return next(str(client) for client, told in present.items() if told["user"] == user)

    def dead(self) -> str:
        """Return the id of a dead letter."""
        return str(self.call("queue/browse", queue="mail", state="dead", limit=1)["jobs"][0]["id"])

    def bury(self, count: int) -> None:
        """Add so many dead letters to the queue `mail`."""
        died = self._stats("mail")["dead"]
        self._enqueue(
            "mail", [{"to": f"nobody-{n}", "template": "welcome", "name": "n"} for n in range(count)]
        )
        until(lambda: self._stats("mail")["dead"] == died + count, self._told)

    def _declare(self) -> None:
        for queue in ("invoices", "exports", "reports"):
            self.call("queue/declare", queue=queue)
        self.call("queue/pause", queue="exports")
        night = {"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "queue": "reports"}
        self.call("queue/schedule", name="nightly-report", **night)
        self.call("queue/schedule", name="refresh-prices", every_ms=HOUR_MS, queue="reports")
        self.call("stream/declare", stream="clicks", options={"partitions": 2, "retention_messages": 1_000})

    def _fill_streams(self) -> None:
        until(lambda: "result" in self._server.api("stream/groups", source="orders"), self._told)
        for start in range(0, ORDERS, 200):
            self.call("stream/append", stream="orders", messages=[order(start + n) for n in range(200)])
        clicks = [{"key": NAMES[n % 16], "data": {"path": f"/shoes/{n % 9}", "ms": n}} for n in range(300)]
        self.call("stream/append", stream="clicks", messages=clicks)

    def _fill_queues(self) -> None:
        until(lambda: {"mail", "thumbnails"} <= {each["queue"] for each in self._queues()}, self._told)
        self._enqueue(
            "mail", [{"to": f"{name}@example.com", "template": "welcome", "name": name} for name in NAMES]
        )
        self._enqueue(
            "mail",
            [{"to": f"{name}@mail.example.org", "template": "receipt", "order": 7} for name in NAMES[:4]],
        )
        self._enqueue(
            "mail",
            [
                {"to": "greta", "template": "welcome", "name": "Greta"},
                {"to": "hugo@example.com", "template": "spring-sale"},
            ],
        )
        self._enqueue("thumbnails", [{"image": f"shoe-{n}.jpg", "width": 320} for n in range(12)])
        self._enqueue("invoices", [{"order": 1000 + n} for n in range(3)])
        self._enqueue("invoices", [{"order": 1100 + n} for n in range(6)], delay_ms=6 * HOUR_MS)
        self._enqueue("exports", [{"month": f"2026-{n:02}"} for n in range(1, 6)])

    def _enqueue(self, queue: str, payloads: list[Any], **more: Any) -> None:
        for start in range(0, len(payloads), 1_000):
            jobs = [{"queue": queue, "data": each, **more} for each in payloads[start : start + 1_000]]
            self.call("queue/enqueue", jobs=jobs)

    def _queues(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("queue/list")["queues"]
        return found

    def _stats(self, queue: str) -> dict[str, Any]:
        (found,) = self.call("queue/stats", queue=queue)["queues"]
        return dict(found)

    def _settled(self) -> bool:
        mail, thumbnails = self._stats("mail"), self._stats("thumbnails")
        groups = {group["group"] for group in self.call("stream/groups", source="orders")["groups"]}
        if not {"billing", "shipping"} <= groups:
            return False
        lags = {group: self._lag(group) for group in ("billing", "shipping")}
        work = (mail["dead"], mail["ready"] + mail["leased"], thumbnails["leased"])
        return work == (6, 0, 4) and lags["billing"] == 0 and lags["shipping"] > 0

    def _lag(self, group: str) -> int:
        partitions = self.call("stream/lag", source="orders", group=group)["partitions"]
        return sum(each.get("lag", 0) for each in partitions)

    def _begin(self, command: list[str], *, heard: bool = False) -> "subprocess.Popen[str]":
        with self._output.open("a") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if heard else output,
                stderr=output,
                text=True,
                cwd=ROOT,
                env={**os.environ, "SHOP_URL": self._server.origin},
            )
        self._started.append(process)
        return process

    def _hears(self, process: "subprocess.Popen[str]", line: str) -> None:
        assert process.stdout is not None
        for said in process.stdout:
            if said.strip() == line:
                return
        raise AssertionError(f"it ended before it said {line}: {self._told()}")

    def _told(self) -> str:
        return self._output.read_text()


def people() -> list[dict[str, Any]]:
    """Return who comes: with a token, and what they follow."""
    return [
        {
            "token": jwt.encode({"sub": name}, SECRET, "HS256"),
            "channels": ["news", "support", f"orders-of-{name}", *(["prices"] if number % 3 == 0 else [])],
        }
        for number, name in enumerate(NAMES)
    ]


def news(number: int) -> dict[str, Any]:
    """Return what was new."""
    return {"headline": f"Order {1000 + number} was packed", "city": CITIES[number % len(CITIES)]}


def order(number: int) -> dict[str, Any]:
    """Return an order for the stream."""
    customer = NAMES[number % len(NAMES)]
    data = {
        "order": 1000 + number,
        "customer": customer,
        "city": CITIES[number % len(CITIES)],
        "total": 1990 + 35 * number,
    }
    return {"key": customer, "data": data}
