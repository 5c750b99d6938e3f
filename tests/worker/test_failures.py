"""What a message that fails leads to: the attempts it has, what counts as one, and its dead letter."""

import pytest

from gapless import Gapless
from gapless.broker.jobs import job_of
from gapless.core.job_rules import check_job
from gapless.core.jobs import Deed
from gapless.core.limits import JOB_HEADERS_BYTES_MAX, JOB_KEY_BYTES_MAX, MESSAGE_BYTES_MAX
from gapless.core.retry import Retry
from gapless.library.outcomes import Outcome
from gapless.protocol.messages import payload
from gapless.protocol.reading import StreamMessage
from gapless.worker.failures import Failures, dead_letter
from gapless.worker.runners import End, How

RAISED = End(How.DONE, Outcome(deed=Deed.RETRY, reason="no"))
RELEASED = End(How.DONE, Outcome(deed=Deed.RELEASE, delay_ms=7))
REJECTED = End(How.DONE, Outcome(deed=Deed.BURY, reason="never"))
TIMED_OUT, STUCK, CRASHED, LAPSED, GIVEN_UP = (
    End(how) for how in (How.TIMED_OUT, How.STUCK, How.CRASHED, How.LAPSED, How.GIVEN_UP)
)


def is_given_up(failures: Failures, end: End, *, alone: bool = True) -> bool:
    return failures.delay_ms(end, alone=alone, chance=0.5) is None


def until_given_up(failures: Failures, end: End, *, times: int = 100) -> int:
    """Return at which attempt a message is given up; 0 if never."""
    for attempt in range(1, times + 1):
        if is_given_up(failures, end):
            failures.next()
            return attempt
    return 0


def test_what_ends_its_process_is_given_up_by_default_and_what_it_tells_is_not() -> None:
    assert until_given_up(Failures(None), CRASHED) == 5
    assert until_given_up(Failures(None), STUCK) == 5
    for told in (RAISED, TIMED_OUT, RELEASED):
        assert until_given_up(Failures(None), told) == 0
    assert until_given_up(Failures(None), REJECTED) == 1


def test_by_a_declared_policy_every_failure_counts_and_what_is_no_fault_does_not() -> None:
    policy = Retry(attempts_max=3)
    for end in (RAISED, TIMED_OUT, STUCK, CRASHED):
        assert until_given_up(Failures(policy), end) == 3
    for end in (RELEASED, LAPSED, GIVEN_UP):
        assert until_given_up(Failures(policy), end) == 0


def test_an_end_that_may_be_anothers_doing_does_not_count() -> None:
    failures = Failures(None)
    assert not any(is_given_up(failures, CRASHED, alone=False) for _ in range(20))
    assert failures.attempts == 0
    assert [is_given_up(failures, CRASHED) for _ in range(5)] == [False] * 4 + [True]
    assert failures.attempts == 5


def test_only_the_first_of_messages_that_end_their_process_one_after_the_other_is_given_up() -> None:
    failures = Failures(None)
    assert until_given_up(failures, CRASHED) == 5
    assert until_given_up(failures, CRASHED) == 0
    failures.handled()
    assert until_given_up(failures, CRASHED) == 5
    declared = Failures(Retry(attempts_max=2))
    assert [until_given_up(declared, CRASHED) for _ in range(3)] == [2, 2, 2]


def test_a_rejected_message_says_nothing_about_the_next() -> None:
    failures = Failures(None)
    assert until_given_up(failures, REJECTED) == 1
    assert until_given_up(failures, CRASHED) == 5


def test_each_attempt_waits_longer_unless_the_handler_says_how_long() -> None:
    failures = Failures(Retry(attempts_max=9, base_ms=100, factor=2, cap_ms=300, jitter=False))
    assert [failures.delay_ms(RAISED, alone=True, chance=0.5) for _ in range(3)] == [100, 200, 300]
    assert failures.delay_ms(RELEASED, alone=True, chance=0.5) == 7


gl = Gapless("memory:")


@gl.stream("orders", group="billing", dead="unbilled")
async def bill(n: int) -> None: ...


@gl.stream("orders", group="search")
async def index(n: int) -> None: ...


MESSAGE = StreamMessage(
    partition=3, offset=17, time_ms=1, key="ada", data=payload(b"1"), headers={"trace": "t"}
)


def test_a_dead_letter_has_what_the_message_had_and_tells_where_it_was() -> None:
    [emit] = dead_letter(bill, MESSAGE, "e", "its process ended", 5)
    job = emit.enqueue
    assert job is not None
    assert (job.queue, bytes(job.data), job.b64data, job.key) == ("unbilled", b"1", None, "ada")
    assert job.headers == {
        "trace": "t",
        "dead-source": "orders",
        "dead-group": "billing",
        "dead-partition": "3",
        "dead-offset": "17",
        "dead-epoch": "e",
        "dead-attempts": "5",
        "dead-reason": "its process ended",
    }
    assert dead_letter(index, MESSAGE, "e", "its process ended", 5) == []


def test_headers_that_are_too_much_for_a_job_stay_behind() -> None:
    large = StreamMessage(
        partition=0, offset=1, time_ms=1, b64data=b"\xff", headers={"much": "h" * (JOB_HEADERS_BYTES_MAX - 4)}
    )
    [emit] = dead_letter(bill, large, "e", "x" * 5_000, 1)
    job = emit.enqueue
    assert job is not None
    assert (job.b64data, job.key) == (b"\xff", None)
    assert "much" not in job.headers
    job.stored()


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"much": '"' * 9_000}, ""),
        ({"trace": "t", "much": '"' * 9_000, "kind": "k"}, ""),
        ({f"header-{number}": "v" for number in range(1_900)}, ""),
        ({"gapless-dropped": "3", "trace": "t"}, ""),
        ({"trace": "t"}, "k" * (JOB_KEY_BYTES_MAX + 1)),
        ({}, "ä" * JOB_KEY_BYTES_MAX),
    ],
)
@pytest.mark.parametrize("reason", ["no", "\x01" * 2_000])
def test_a_dead_letter_is_a_job_whatever_its_message_had(
    headers: dict[str, str], key: str, reason: str
) -> None:
    message = StreamMessage(
        partition=1_023, offset=2**63 - 1, time_ms=1, key=key, b64data=b"\xff", headers=headers
    )
    [emit] = dead_letter(bill, message, "e" * 16, reason, 1_000)
    job = emit.enqueue
    assert job is not None
    check_job(job_of(job), MESSAGE_BYTES_MAX)
    left_behind = int(job.headers["dead-left-behind"])
    assert left_behind > 0
    along = {name: value for name, value in job.headers.items() if not name.startswith("dead-")}
    assert along.items() <= headers.items()
    assert len(along) == len(headers) + bool(key) - left_behind
    assert along.get("trace") == headers.get("trace")
