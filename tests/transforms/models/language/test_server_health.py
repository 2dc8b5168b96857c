"""When a server counts as gone or broken."""

import pytest

from schemas.errors import ModelError, RecordError
from tests.transforms.models.language.clock import Clock
from transforms.models.language.server_health import Health

FAILED = RecordError("endpoint_failed", "expected an answer in 4 attempts, found status 500 (4)")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health("http://host/v1", patience_s=60, max_failed_in_row=3, clock=clock)


def test_a_server_out_of_reach_is_gone_once_patience_has_passed(health, clock):
    health.note_unreached("refused")
    clock.now += 59
    health.note_unreached("refused")
    clock.now += 1

    with pytest.raises(ModelError, match="expected a server at http://host/v1, found none for 60 s: refused; start it"):
        health.note_unreached("refused")


def test_each_time_that_a_server_is_out_of_reach_has_the_whole_patience(health, clock):
    health.note_unreached("refused")
    clock.now += 59
    health.note_reached()
    clock.now += 10_000
    health.note_unreached("refused")
    clock.now += 59
    health.note_unreached("refused")


def test_a_server_is_up_from_an_answer_until_it_is_out_of_reach(health):
    found = [health.is_up]
    health.note_reached()
    found.append(health.is_up)
    health.note_answer()
    found.append(health.is_up)
    health.note_unreached("refused")
    found.append(health.is_up)

    assert found == [False, False, True, False]


def test_being_out_of_reach_is_told_once(health, caplog):
    # Jobs quiet the root logger, also in this process.
    caplog.set_level("WARNING")
    health.note_unreached("refused")
    health.note_unreached("refused")

    assert [record.message for record in caplog.records] == ["cannot reach http://host/v1: refused; trying on"]


def test_failures_in_a_row_break_a_server_and_an_answer_ends_the_row(health):
    for _ in range(2):
        health.note_failure(FAILED)
    health.note_answer()
    for _ in range(2):
        health.note_failure(FAILED)

    with pytest.raises(ModelError, match="found 3 prompts that failed in a row, the last so: expected an answer in 4"):
        health.note_failure(FAILED)


@pytest.mark.parametrize("code", ["too_long", "content_filter"])
def test_what_is_wrong_with_a_prompt_alone_breaks_nothing(health, code):
    for _ in range(10):
        health.note_failure(RecordError(code, "expected another prompt"))
