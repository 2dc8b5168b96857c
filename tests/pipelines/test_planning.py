"""Planning as `spanmill annotate` does it: what it says on the way, and what it leaves in the run."""

import json

import pytest

from pipelines.console import progress
from pipelines.console.progress import watch_count
from pipelines.workers.local import count_workers
from tests.pipelines.conftest import read_rows, run_folder
from transforms.storage.plans import read_plans
from transforms.storage.store import open_store


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        ([], 1),
        (["--runner=DataflowRunner", "--num_workers=5", "--max_num_workers", "40"], 40),
        (["--runner=FlinkRunner", "--parallelism=8"], 8),
        (["--parallelism=-1"], 1),
    ],
)
def test_count_workers_takes_the_most_that_flags_tell_of(flags, workers):
    assert count_workers(flags) == workers


def test_watch_count_says_how_far_it_is_and_how_long_it_takes(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_S", 0.01)
    with watch_count("planned", "files", is_shown=True) as count:
        count.tell(1500, total=4000)
        _wait_for(capsys, "planned 1,500 of 4,000 files, ", " s left")


def test_watch_count_of_an_unknown_total_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_S", 0.01)
    with watch_count("listed", "files", is_shown=True) as count:
        count.tell(1500)
        _wait_for(capsys, "listed 1,500 files, ", "/s\n")


def test_watch_count_that_is_not_shown_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_S", 0.01)
    with watch_count("listed", "files", is_shown=False) as count:
        count.tell(1500)
    assert capsys.readouterr().err == ""


def _wait_for(capsys, begin, end):
    """Waits until a line is told; pytest's own limit of time ends what never comes."""
    told = ""
    while begin not in told or end not in told:
        told += capsys.readouterr().err


def test_a_run_keeps_its_plan_and_no_list_of_work(annotate, corpus, tmp_path):
    assert annotate(source=corpus) == 0
    run = run_folder(tmp_path / "out")
    (plan,) = read_plans(open_store(str(run)))
    head = json.loads((run / "_plan.json").read_text())
    assert (head["n_files"], head["n_slices"], head["n_documents"]) == (3, len(plan.slices), 120)
    assert list((run / "_work").glob("*")) == []


def test_what_a_start_that_was_killed_left_of_its_planning_is_swept_by_the_next(annotate, corpus, tmp_path):
    annotate(source=corpus)
    run = run_folder(tmp_path / "out")
    (run / "_SUCCESS").unlink()
    for name in ("_work/0001-killed.parquet", "_plans/0001-slices-killed.parquet"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"")
    assert annotate(source=corpus) == 0
    assert not list(run.rglob("*killed*"))
    assert len(read_rows(tmp_path / "out")) == 120
