"""The verbs of recurring jobs, as `protocol.queues` has those of queues."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from gapless.protocol.payloads import Answer, Body, DelayMs, DurationMs, Key, Name, Priority, Request, TimeMs

__all__ = [
    "Missed",
    "RecurringJob",
    "ScheduleAnswer",
    "ScheduleRequest",
    "ScheduleStatus",
    "SchedulesAnswer",
    "SchedulesRequest",
    "UnscheduleAnswer",
    "UnscheduleRequest",
]


class Missed(StrEnum):
    """What happens to ticks that could not be fired in time: no node was there, or the queue had no room.

    What is passed over is told in the audit stream, as `pass_over`.
    """

    ONE = "one"  # one job for all of them
    ALL = "all"  # a job for each, 1,000 at most
    NONE = "none"  # they are passed over once they are 10 s late


class RecurringJob(Body):
    """What recurs: by `cron` in `time_zone`, or `every_ms`.

    A cron expression has five fields, or six of which the first is the second; `L` and names are understood.
    An interval counts from the Unix epoch: 300,000 fires at each full five minutes. The job of a tick has the
    schedule's name and the tick (milliseconds) as headers `gapless-schedule` and `gapless-tick`.
    """

    name: Annotated[str, Meta(pattern=r"^[-a-zA-Z0-9_.:/]+$", max_length=128)]
    queue: Name
    cron: Annotated[str, Meta(max_length=256)] = ""
    every_ms: DurationMs = 0
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    missed: Missed = Missed.ONE
    key: Key | None = None
    priority: Priority = 0
    expires_ms: DelayMs = 0


class ScheduleRequest(RecurringJob):
    """Keep a recurring job, or change the one of that name.

    It fires once per tick, however many nodes there are. One that recurs as before goes on from its last
    tick; another expression, interval or time zone counts from now. Errors: 107 an expression that is
    malformed or never fires, or no such time zone; 106 there are 10,000.
    """


class ScheduleAnswer(Answer):
    """When it fires next."""

    next_ms: TimeMs


class UnscheduleRequest(Request):
    """Forget a recurring job. Jobs that it enqueued stay."""

    name: str


class UnscheduleAnswer(Answer, omit_defaults=False):
    """Whether there was one."""

    found: bool = False


class SchedulesRequest(Request):
    """Ask for all recurring jobs."""


class ScheduleStatus(RecurringJob):
    """A recurring job: the last tick that was decided, and the next."""

    last_ms: TimeMs = 0
    next_ms: TimeMs = 0


class SchedulesAnswer(Answer):
    """The recurring jobs, in the order of their names."""

    schedules: list[ScheduleStatus]
