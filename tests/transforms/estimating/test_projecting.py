import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.costs import Prices
from transforms.estimating.projecting import Job, Rates, project, schedule

PIECES = st.lists(st.integers(1, 1000), min_size=1, max_size=30)


def _rates(worker, **others):
    ones = np.ones(len(worker))
    rates = {"documents": ones, "text_bytes": ones, "tokens": ones, "output_bytes": ones, "gpu": 0 * ones}
    return Rates(**{**rates, "core": ones, "plan": 0 * ones, "worker": np.array(worker), **others})


def _job(**others):
    job = {"pieces": [100] * 10, "workers": 1, "start_seconds": 0.0, "start_core_seconds": 0.0}
    return Job(**{**job, "file_bytes": 0.0, "prices": None, **others})


def test_a_figure_is_what_a_byte_takes_times_the_bytes_there_are():
    figures = project(_rates([1.0, 3.0]), _job())
    assert figures["wall_seconds"]["estimate"] == pytest.approx(2000)
    assert figures["documents"]["estimate"] == pytest.approx(1000)


def test_workers_share_the_work_and_each_of_them_starts():
    one = project(_rates([1.0] * 4), _job(start_seconds=50.0))["wall_seconds"]["estimate"]
    five = project(_rates([1.0] * 4), _job(start_seconds=50.0, workers=5))["wall_seconds"]["estimate"]
    assert (one, five) == (pytest.approx(1050), pytest.approx(250))


def test_a_file_that_cannot_be_cut_keeps_one_worker_busy_while_others_wait():
    job = _job(pieces=[1000], workers=10, prices=Prices(worker=3600))
    figures = project(_rates([1.0] * 4), job)
    assert figures["wall_seconds"]["estimate"] == pytest.approx(1000)
    assert figures["cost"]["estimate"] == pytest.approx(10_000)


def test_every_output_file_holds_more_than_its_rows():
    figures = project(_rates([1.0] * 4), _job(file_bytes=7.0))
    assert figures["output_bytes"]["estimate"] == pytest.approx(1070)


def test_a_gpu_is_held_from_begin_to_end_where_there_is_one():
    assert project(_rates([1.0] * 4), _job())["gpu_seconds"]["estimate"] == 0
    held = project(_rates([1.0] * 4, gpu=np.full(4, 0.9)), _job(workers=2))
    assert held["gpu_seconds"]["estimate"] == pytest.approx(1000)


def test_places_that_agree_leave_no_doubt_and_those_that_differ_do():
    sure = project(_rates([2.0] * 8), _job())["wall_seconds"]
    assert sure["low"] == pytest.approx(sure["estimate"]) == pytest.approx(sure["high"])
    unsure = project(_rates([1.0, 3.0] * 4), _job())["wall_seconds"]
    assert unsure["low"] < unsure["estimate"] < unsure["high"]


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    corpus = rng.lognormal(0, 0.5, 4000)
    truth, hits = corpus.mean() * 1000, 0
    for trial in range(60):
        figure = project(_rates(rng.choice(corpus, 32)), _job(), seed=trial)["wall_seconds"]
        hits += figure["low"] <= truth <= figure["high"]
    assert 52 <= hits <= 60


@pytest.mark.parametrize("n_places", [4, 6, 12])
def test_an_interval_of_few_places_holds_the_truth_as_often_as_one_of_many(n_places):
    rng = np.random.default_rng(n_places)
    hits = 0
    for trial in range(200):
        figure = project(_rates(rng.normal(10, 1, n_places)), _job(), seed=trial)["wall_seconds"]
        hits += figure["low"] <= 10_000 <= figure["high"]
    assert 182 <= hits <= 198


def test_more_places_make_a_narrower_interval():
    def width(n_places):
        rates = _rates(np.random.default_rng(1).lognormal(0, 0.5, n_places))
        figure = project(rates, _job())["wall_seconds"]
        return figure["high"] - figure["low"]

    assert width(256) < 0.6 * width(16)


def test_the_same_measurements_give_the_same_interval():
    rates = _rates(list(np.random.default_rng(2).lognormal(0, 1, 12)))
    assert project(rates, _job(), seed=3) == project(rates, _job(), seed=3)


@settings(deadline=None)
@given(PIECES, st.integers(1, 8))
def test_the_busiest_worker_is_within_a_third_of_the_least_there_can_be(pieces, n_workers):
    busiest = schedule(pieces, n_workers)
    least = max(sum(pieces) / n_workers, max(pieces))
    assert least <= busiest + 1e-9
    assert busiest <= sum(pieces) / n_workers + (1 - 1 / n_workers) * max(pieces) + 1e-9


@settings(deadline=None)
@given(PIECES, st.randoms())
def test_a_schedule_does_not_depend_on_the_order_of_files(pieces, shuffled: random.Random):
    mixed = shuffled.sample(pieces, len(pieces))
    assert schedule(mixed, 3) == schedule(pieces, 3)


def test_all_of_a_rates_fields_are_per_place():
    rates = _rates([1.0] * 5)
    assert {getattr(rates, field.name).shape for field in dataclasses.fields(rates)} == {(5,)}
