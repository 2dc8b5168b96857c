"""Turns, pauses and waits, by a clock that tests move."""

import datetime
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.models.language.clock import Clock
from transforms.models.language.pacing import Backoff, Pace, parse_retry_after


@given(per_minute=st.integers(1, 600), idle_s=st.lists(st.floats(0, 90), min_size=1, max_size=200))
def test_no_minute_holds_more_than_were_allowed(per_minute, idle_s):
    clock = Clock()
    pace = Pace(per_minute, clock=clock)
    starts = []
    for seconds in idle_s:
        clock.now += seconds
        while wait_s := pace.take():
            clock.now += wait_s
        starts.append(clock.now)

    for at, start in enumerate(starts):
        # A microsecond less, as seconds added up are not exact.
        assert sum(start <= other < start + 60 - 1e-6 for other in starts[at:]) <= per_minute


def test_turns_are_taken_at_once_without_a_rate():
    pace = Pace(0, clock=Clock())

    assert [pace.take() for _ in range(100)] == [0.0] * 100


def test_a_turn_that_is_not_taken_is_not_lost():
    clock = Clock()
    pace = Pace(60, clock=clock)

    assert (pace.take(), pace.take(), pace.take()) == (0.0, 1.0, 1.0)
    clock.now += 1
    assert (pace.take(), pace.take()) == (0.0, 1.0)


def test_nobody_has_a_turn_in_a_pause_and_a_shorter_one_does_not_end_it():
    clock = Clock()
    pace = Pace(0, clock=clock)
    pace.pause(10)
    pace.pause(2)

    assert pace.take() == 10
    clock.now += 10
    assert pace.take() == 0


@given(n_failed=st.integers(1, 2000))
def test_waits_double_up_to_the_longest_and_are_never_cut_below_half(n_failed):
    longest = min(2.0 ** min(n_failed - 1, 64), 30.0)

    assert longest / 2 <= Backoff(first_s=1, longest_s=30).wait_s(n_failed) <= longest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("nan", 0.0), ("inf", 0.0), ("", 0.0), (None, 0.0), ("later", 0.0)],
)
def test_retry_after_is_read_in_seconds_or_ignored(value, seconds):
    assert parse_retry_after(value) == seconds


def test_retry_after_is_read_as_a_date():
    date = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=40)

    assert 35 < parse_retry_after(email.utils.format_datetime(date, usegmt=True)) <= 40
