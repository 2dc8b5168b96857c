"""Simulated fleets, held against what can be reckoned by hand."""

import argparse

import numpy as np
import pytest

from benchmarks.scale import Fleet, Measured, make_slices, simulate, simulate_shares, tabulate

IDEAL = Fleet(start_s=0, slow_share=0, preempted_per_h=0)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_equal_slices_that_divide_evenly_waste_nothing(rng):
    outcome = simulate(np.full(40, 5.0), 8, IDEAL, rng)
    assert (outcome.wall_s, outcome.efficiency) == (25, 1)


def test_a_start_is_paid_for_by_every_worker(rng):
    outcome = simulate(np.full(40, 5.0), 8, Fleet(start_s=25, slow_share=0, preempted_per_h=0), rng)
    assert outcome.efficiency == pytest.approx(0.5)


def test_a_large_slice_at_the_end_is_waited_for_and_at_the_beginning_is_not(rng):
    seconds = np.array([1.0] * 30 + [10.0])
    assert simulate(seconds, 4, IDEAL, rng).wall_s == pytest.approx(17, abs=1)
    assert simulate(seconds[::-1], 4, IDEAL, rng).wall_s == 10


def test_largest_first_is_within_four_thirds_of_the_ideal(rng):
    for n_workers in (2, 3, 7):
        seconds = np.sort(rng.pareto(2, 200))[::-1]
        outcome = simulate(seconds, n_workers, IDEAL, rng)
        least = max(seconds.max(), seconds.sum() / n_workers)
        assert least <= outcome.wall_s * (1 + 1e-9)
        assert outcome.wall_s <= 4 / 3 * least


def test_workers_that_share_wait_less_for_a_slow_one_than_those_with_fixed_shares(rng):
    seconds = np.full(1000, 10.0)
    fleet = Fleet(start_s=0, slow_share=0.1, slow_factor=3, preempted_per_h=0)
    shared = simulate(seconds, 20, fleet, np.random.default_rng(1))
    fixed = simulate_shares(seconds, seconds, 20, fleet, np.random.default_rng(1))
    assert fixed.wall_s == pytest.approx(1500)
    assert shared.wall_s < 0.45 * fixed.wall_s


def test_preempted_work_is_lost_and_done_again(rng):
    fleet = Fleet(start_s=0, slow_share=0, preempted_per_h=6, replaced_s=10)
    outcome = simulate(np.full(500, 60.0), 10, fleet, rng)
    assert outcome.n_preempted > 20
    assert 0 < outcome.lost_s < 60 * outcome.n_preempted
    assert outcome.wall_s * 10 > outcome.work_s + outcome.lost_s


def test_slices_hold_the_whole_corpus_and_some_are_larger(rng):
    measured = Measured(np.array([0.001]), 500.0)
    seconds, characters = make_slices(measured, 10**7, 100, skew=(0.05, 4.0), rng=rng)
    assert characters.sum() == pytest.approx(5e9)
    assert seconds.sum() == pytest.approx(5e6)
    assert np.unique(np.round(characters / characters.min(), 6)).tolist() == [1, 4]
    assert len(seconds) >= 0.8 * 32 * 100


def test_the_table_has_a_row_for_each_number_of_workers():
    options = argparse.Namespace(workers=[1, 20], documents=10**6, skew=(0.01, 4.0), seed=0)
    table = tabulate(Measured(np.array([0.0001, 0.0002]), 500.0), options, Fleet())
    assert [row[0] for row in table.rows] == ["1", "20"]
    assert all(0 < float(cell.removesuffix(" %")) <= 100 for row in table.rows for cell in row[4:7])
