"""Drives the public SDKs, each in a process, through lines of JSON: orders go in, answers and events out."""

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Driver", "Refused", "StockClient", "javascript", "python"]

HERE = Path(__file__).parent
PATIENCE_SECONDS = 15

Event = dict[str, Any]


class Refused(Exception):
    """A call of a client failed, with the code that its SDK reports."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Driver:
    """A process that holds stock clients."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._told = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: dict[str, deque[Event]] = {}
        self._orders = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._told:
                if "event" in message:
                    self._events.setdefault(message.pop("client"), deque()).append(message)
                else:
                    self._answers[message["id"]] = message
                self._told.notify_all()

    def call(self, order: str, **fields: Any) -> Any:
        """Give an order and return its result; raises `Refused`."""
        assert self._process.stdin is not None
        self._orders += 1
        id = self._orders
        self._process.stdin.write(json.dumps({"id": id, "order": order, **fields}) + "\n")
        with self._told:
            if not self._told.wait_for(lambda: id in self._answers, PATIENCE_SECONDS):
                raise AssertionError(f"no answer to {order} {fields}")
            answer = self._answers.pop(id)
        if "error" in answer:
            raise Refused(**answer["error"])
        return answer["result"]

    def event(self, client: str, matches: Callable[[Event], bool]) -> Event:
        """Take the client's next event that `matches`; others wait for whoever asks for them."""
        events = self._events.setdefault(client, deque())

        def found() -> Event | None:
            return next(filter(matches, events), None)

        with self._told:
            event = self._told.wait_for(found, PATIENCE_SECONDS)
            if event is None:
                raise AssertionError(f"client {client} was told only {list(events)[:20]}")
            events.remove(event)
        return event

    def waiting(self, client: str) -> list[str]:
        """Return the names of the client's events that nobody has taken."""
        with self._told:
            return [event["event"] for event in self._events.get(client, ())]

    def close(self) -> None:
        """End the process, and with it its clients."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


class StockClient:
    """One client of a driver."""

    def __init__(
        self, driver: Driver, name: str, url: str, *, binary: bool, token: str = "", **options: Any
    ) -> None:
        self._driver = driver
        self.name = name
        driver.call("open", client=name, url=url, binary=binary, token=token, options=options)

    def call(self, order: str, **fields: Any) -> Any:
        """Have the client do something; raises `Refused`."""
        return self._driver.call(order, client=self.name, **fields)

    def told(self, event: str, channel: str | None = None) -> Event:
        """Take the client's next event of this name, about this channel."""
        return self._driver.event(
            self.name, lambda told: told["event"] == event and channel in (None, told.get("channel"))
        )

    def subscribe(self, channel: str, **options: Any) -> Event:
        """Subscribe, and return what the client is told of it."""
        self.call("subscribe", channel=channel, options=options)
        return self.told("subscribed", channel)

    def publications(self, channel: str, count: int) -> list[Event]:
        """Take the next `count` publications."""
        return [self.told("publication", channel) for _ in range(count)]


def python() -> Driver:
    """Start a driver of `centrifuge-python`."""
    return Driver([sys.executable, "python_driver.py"], HERE)


def javascript(node: str) -> Driver:
    """Start a driver of the `centrifuge` npm package."""
    return Driver([node, "driver.mjs"], HERE / "node")
