"""Jobs as a test looks at them."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from gapless.core.jobs import State
from gapless.library.gapless import Gapless
from gapless.library.times import moment
from gapless.protocol.meta import is_json
from gapless.protocol.queues import JobView

__all__ = ["JobSeen", "jobs_of"]


class JobSeen(Struct, kw_only=True):
    """A job as it stands. `payload` is what JSON says, or bytes. `due` is when a waiting one may be begun.

    `reason` and `details` (a traceback) are of its last failure.
    """

    id: str
    state: State
    payload: Any
    key: str | None
    priority: int
    attempt: int
    headers: dict[str, str]
    enqueued: datetime
    due: datetime | None
    reason: str
    details: str


async def jobs_of(gl: Gapless, queue: str, states: list[State]) -> list[JobSeen]:
    """Return the jobs of a queue that are in these states, by age."""
    found: list[JobView] = []
    for state in states:
        after = ""
        while True:
            page = await gl.jobs.browse(queue, state, after=after)
            found += page.jobs
            after = page.next
            if not after:
                break
    return [_seen(view) for view in sorted(found, key=lambda view: view.enqueued_ms)]


def _seen(view: JobView) -> JobSeen:
    body = view.body()
    return JobSeen(
        id=view.id,
        state=view.state,
        payload=msgspec.json.decode(body) if is_json(body) else body,
        key=view.key,
        priority=view.priority,
        attempt=view.attempt,
        headers=view.headers,
        enqueued=moment(view.enqueued_ms),
        due=moment(view.due_ms) if view.due_ms else None,
        reason=view.reason,
        details=view.details,
    )
