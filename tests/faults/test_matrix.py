"""The rows of the fault matrix that take seconds; `make faults` runs all of them, `make mutants` tries them."""

import pytest

from tests.faults.injection.mutants import MUTANTS
from tests.faults.matrix import IDS, ROWS


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_fast], ids=lambda row: f"{row.id} {row.injected}")
def test_nothing_is_lost_and_nothing_doubled(row, workshop):
    with workshop.bench() as bench:
        assert row.check(bench)


def test_the_matrix_holds_every_id_once():
    assert [row.id for row in ROWS] == list(IDS)


def test_every_row_can_fail_and_every_mutant_is_met():
    assert all(row.mutants for row in ROWS)
    assert {name for row in ROWS for name in row.mutants} == set(MUTANTS)
