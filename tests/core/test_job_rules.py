"""What every engine decides alike about jobs."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.errors import BadRequest
from gapless.core.job_rules import (
    check_job,
    cut_details,
    cut_reason,
    expires_at_ms,
    first_due_ms,
    id_of,
    number_of,
)
from gapless.core.jobs import STATES, Deed, Job, State
from gapless.core.limits import JOB_DELAY_MAX_MS, JOB_DETAILS_BYTES_MAX, JOB_REASON_BYTES_MAX


def test_a_job_falls_due_after_its_delay_or_at_its_time_and_never_before_now() -> None:
    assert first_due_ms(Job("q", b""), 1_000) == 1_000
    assert first_due_ms(Job("q", b"", delay_ms=5), 1_000) == 1_005
    assert first_due_ms(Job("q", b"", at_ms=1_007), 1_000) == 1_007
    assert first_due_ms(Job("q", b"", at_ms=7), 1_000) == 1_000


def test_a_job_is_due_only_so_far_ahead() -> None:
    assert first_due_ms(Job("q", b"", at_ms=9 + JOB_DELAY_MAX_MS), 9) == 9 + JOB_DELAY_MAX_MS
    with pytest.raises(BadRequest):
        first_due_ms(Job("q", b"", at_ms=10 + JOB_DELAY_MAX_MS), 9)


def test_a_job_that_has_not_started_expires_in_its_time_and_never_before_now() -> None:
    assert expires_at_ms(1_000, 0, 5_000) is None
    assert expires_at_ms(1_000, 7, 900) == expires_at_ms(1_000, 7, 1_007) == 1_007
    assert expires_at_ms(1_000, 7, 5_000) == 5_000


@given(st.integers(1, 2**62), st.text("0123456789abcdef", min_size=1, max_size=16))
def test_the_number_of_an_id_is_found_again(number: int, epoch: str) -> None:
    assert number_of(id_of(number, epoch)) == number


@given(st.text())
def test_what_is_no_id_has_a_number_that_no_job_has_or_one_that_is_a_number(id: str) -> None:
    assert 0 <= number_of(id) < 10**19


@pytest.mark.parametrize("id", ["", "-", "none", "x1-a", "²-a", "-1-a", "1.5-a", "9" * 20 + "-a"])
def test_what_is_no_id_has_the_number_0(id: str) -> None:
    assert number_of(id) == 0


@given(st.text(max_size=3_000))
def test_what_is_cut_is_a_beginning_that_fits(text: str) -> None:
    for cut, bytes_max in ((cut_reason, JOB_REASON_BYTES_MAX), (cut_details, JOB_DETAILS_BYTES_MAX)):
        kept = cut(text)
        assert len(kept.encode()) <= bytes_max
        assert text.encode(errors="replace").decode().startswith(kept)


def test_what_is_refused_is_told_with_what_would_do() -> None:
    with pytest.raises(BadRequest, match="priority is 10; use 0 to 9"):
        check_job(Job("q", b"", priority=10), 100)
    with pytest.raises(BadRequest, match="the payload has 101 bytes"):
        check_job(Job("q", bytes(101)), 100)


def test_every_deed_leads_somewhere_and_nothing_leads_out_of_gone() -> None:
    assert {deed for _, deed in STATES} == set(Deed)
    assert not [deed for state, deed in product([State.GONE], Deed) if (state, deed) in STATES]
    assert all(to for to in STATES.values())
