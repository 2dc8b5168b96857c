import dataclasses

import pytest

from schemas.costs import Prices
from tests.transforms.reports.conftest import RUN, TALLY
from transforms.reports.annotation import build_report, render_html
from transforms.reports.costs import describe_costs

USED = dataclasses.replace(TALLY, used={"worker": 100.0, "core": 180.0, "load": 5.0})
PRICED = RUN | {"prices": Prices(worker=3.6)}


def test_a_report_sets_the_model_against_everything_else():
    costs = build_report(USED, run=RUN)["costs"]
    assert (costs["model_seconds"], costs["other_seconds"], costs["load_seconds"]) == (75.0, 25.0, 5.0)
    assert (costs["core_seconds"], costs["gpu_seconds"]) == (180.0, 0.0)
    assert costs["tokens_per_core_s"] == pytest.approx(100_000 / 180)
    assert costs["cost"] is None
    assert costs["prices_per_hour"] == {}


def test_a_report_estimates_the_cost_from_prices():
    costs = build_report(USED, run=PRICED)["costs"]
    assert costs["cost"] == pytest.approx(0.1)
    assert costs["cost_per_million_tokens"] == pytest.approx(1.0)
    assert costs["cost_per_million_documents"] == pytest.approx(111.1, abs=0.1)


def test_model_time_of_many_threads_leaves_no_less_than_nothing_for_the_rest():
    used = dataclasses.replace(USED, used={"worker": 10.0, "core": 80.0})
    assert build_report(used, run=RUN)["costs"]["other_seconds"] == 0


def test_a_run_whose_receipts_do_not_tell_has_no_costs():
    report = build_report(TALLY, run=PRICED)
    assert report["costs"] is None
    assert "What it used" not in render_html(report, [])


def test_figures_name_a_gpu_only_where_there_was_one_and_a_cost_only_with_prices():
    names = [name for name, _ in describe_costs(build_report(USED, run=RUN)["costs"])]
    assert "GPU time" not in names
    assert "estimated cost" not in names
    held = dataclasses.replace(USED, used={**USED.used, "gpu": 60.0})
    figures = dict(describe_costs(build_report(held, run=PRICED)["costs"]))
    assert figures["GPU time"] == "1 min 00 s"
    assert figures["estimated cost"] == "0.10"


def test_the_page_shows_what_the_run_cost():
    page = render_html(build_report(USED, run=PRICED), [])
    assert "What it used and cost" in page
    assert "estimated cost" in page
