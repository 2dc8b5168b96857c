"""What a run used and cost, as annotate counts it."""

import json
import time
from multiprocessing import Pipe

import pytest

from pipelines.__main__ import main
from pipelines.workers.supervision import serve
from tests.pipelines.conftest import read_report, run_folder
from transforms.storage.commits import Member
from transforms.workers.usage import Meter


def test_a_run_tells_what_it_used_and_cost(annotate, corpus, tmp_path, capsys):
    assert annotate("--price-per-hour", "worker=3600", "core=7200", source=corpus) == 0
    costs = read_report(tmp_path / "out")["costs"]
    assert 0 < costs["model_seconds"] < costs["worker_seconds"]
    assert costs["core_seconds"] > 0
    assert costs["cost"] == pytest.approx(costs["worker_seconds"] + 2 * costs["core_seconds"])
    assert "estimated cost" in capsys.readouterr().out
    assert "estimated cost" in (run_folder(tmp_path / "out") / "report/report.html").read_text()


def test_a_model_that_is_loaded_once_is_paid_once(annotate, corpus, tmp_path):
    annotate("--slice-size=300", source=corpus)
    receipts = [json.loads(path.read_text()) for path in run_folder(tmp_path / "out").glob("_commits/*")]
    assert len(receipts) > 3
    assert [receipt["tally"]["used"].get("load", 0) > 0 for receipt in receipts].count(True) == 1


def test_what_is_done_already_costs_nothing_more(annotate, corpus, tmp_path):
    annotate(source=corpus)
    before = read_report(tmp_path / "out")["costs"]
    (corpus / "d.txt").write_text("Anna lives in Berlin\n")
    annotate(source=corpus)
    after = read_report(tmp_path / "out")["costs"]
    assert 0 < after["worker_seconds"] - before["worker_seconds"] < 60


class _SlowStart:
    """Work that takes half a second before its first slice, and notes what a meter has counted at that."""

    def __init__(self, meter):
        self._meter = meter

    def run_listed(self, listed, member):
        time.sleep(0.5)
        self._meter.open()
        self.used = self._meter.read()


def test_workers_that_are_processes_are_counted_from_their_beginning(monkeypatch):
    meter = Meter()
    monkeypatch.setattr("pipelines.workers.supervision.METER", meter)
    monkeypatch.setattr("pipelines.workers.supervision.connect", lambda _: None)
    work = _SlowStart(meter)
    with Pipe()[1] as connection:
        serve(connection, work, None, Member(), frozenset())
    assert work.used["worker"] >= 0.5


def test_what_the_job_does_itself_is_counted_from_its_first_slice():
    work = _SlowStart(Meter())
    work.run_listed(None, Member())
    assert work.used["worker"] < 0.5


def test_workers_that_are_processes_tell_what_they_used(annotate, corpus, tmp_path):
    assert annotate("--workers=2", "--max-restarts=1", "--threads=1", source=corpus) == 0
    costs = read_report(tmp_path / "out")["costs"]
    assert costs["worker_seconds"] > costs["load_seconds"] > 0


def test_a_price_that_is_none_is_refused_before_anything_is_planned(corpus, tmp_path, capsys):
    words = ["annotate", "--input", str(corpus), "--output", str(tmp_path / "out"), "--price-per-hour", "much"]
    assert main(words) == 2
    assert "found 'much'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
