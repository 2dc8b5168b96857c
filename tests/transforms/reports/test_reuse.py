import dataclasses

import pytest

from schemas.costs import Prices
from tests.transforms.reports.conftest import RUN, TALLY
from transforms.reports.annotation import build_report, render_html
from transforms.reports.reuse import describe_reuse, report_reuse

COPIED = {"documents": 600, "tokens": 60_000, "windows": 700}
REUSING = dataclasses.replace(TALLY, reused={"monday": COPIED}, computed_tokens=50_000)
EARLIER = dataclasses.replace(TALLY, seconds={"forward": 50.0}, used={"worker": 100.0, "core": 200.0})


def test_a_report_says_what_was_copied_from_which_run():
    reused = report_reuse(REUSING, {"monday": None, "sunday": None}, None)
    assert reused["runs"] == {"monday": COPIED, "sunday": {"documents": 0, "tokens": 0, "windows": 0}}
    assert (reused["documents"], reused["tokens"]) == (600, 60_000)
    assert (reused["documents_fraction"], reused["tokens_fraction"]) == (pytest.approx(2 / 3), 0.6)


def test_a_run_that_looked_nowhere_has_nothing_to_say():
    assert report_reuse(TALLY, {}, None) is None
    assert "What was reused" not in render_html(build_report(TALLY, run=RUN), [])


def test_what_was_saved_is_at_the_pace_of_the_earlier_run():
    saved = report_reuse(REUSING, {"monday": EARLIER}, Prices(worker=3600.0))["saved"]
    # 60,000 tokens at 50 s for 100,000, in which half of the workers' time went by.
    assert (saved["model_seconds"], saved["worker_seconds"], saved["core_seconds"]) == (30.0, 30.0, 60.0)
    assert saved["cost"] == pytest.approx(30.0)


def test_what_was_saved_is_at_its_own_pace_where_the_earlier_run_was_not_finished():
    # 75 s in the model for the 40,000 tokens that were read.
    assert report_reuse(REUSING, {"monday": None}, None)["saved"]["model_seconds"] == pytest.approx(112.5)


def test_what_was_saved_is_not_guessed_where_nothing_was_measured():
    idle = dataclasses.replace(REUSING, reused={"monday": {**COPIED, "tokens": 100_000}}, seconds={})
    reused = report_reuse(idle, {"monday": None}, None)
    assert reused["saved"] is None
    assert "model time saved" not in dict(describe_reuse(reused))


def test_padding_and_overlap_are_of_the_documents_that_met_the_model():
    assert build_report(REUSING, run=RUN)["overhead_fraction"] == pytest.approx(0.25)


def test_figures_name_a_gpu_only_where_there_was_one_and_a_cost_only_with_prices():
    figures = dict(describe_reuse(report_reuse(REUSING, {"monday": EARLIER}, None)))
    assert figures["copied from"] == "monday (600 documents)"
    assert figures["tokens that met no model"] == "60,000 (60.0 %)"
    assert not {"GPU time saved", "cost saved"} & set(figures)
    held = dataclasses.replace(EARLIER, used={**EARLIER.used, "gpu": 40.0})
    figures = dict(describe_reuse(report_reuse(REUSING, {"monday": held}, Prices(worker=3600.0))))
    assert (figures["GPU time saved"], figures["cost saved"]) == ("12.0 s", "30.00")


def test_the_page_shows_what_was_reused():
    page = render_html(build_report(REUSING, run=RUN | {"reused": {"monday": EARLIER}}), [])
    assert "What was reused" in page
    assert "monday (600 documents)" in page
