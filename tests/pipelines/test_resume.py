"""Killed at any moment and started again, a run ends as one that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.pipelines.conftest import WORDS, read_rows, run_folder


@pytest.fixture
def long_corpus(tmp_path):
    """Enough small slices that a kill finds some done and some not."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rng = random.Random(0)
    for name in range(6):
        lines = [" ".join(rng.choices(WORDS, k=rng.randrange(60))) for _ in range(400)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _start(corpus, output, model, slice_size=2000):
    command = [sys.executable, "-m", "pipelines", "annotate", "--no-progress", "--threads=1"]
    return subprocess.Popen(
        [
            *command,
            f"--slice-size={slice_size}",
            "--input",
            str(corpus),
            "--output",
            str(output),
            "--model",
            str(model),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _commits(output):
    return sum(len(list(run.glob("_commits/*"))) for run in output.glob("run=*"))


def _kill_at_random(process, output, rng):
    """Waits for the run to get going, lets it go on for a random while, then kills the whole process group."""
    before, deadline = _commits(output), time.monotonic() + 60
    goal = before + rng.randrange(8)
    while process.poll() is None and _commits(output) <= goal and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(rng.random() * 0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    process.stderr.close()


def _resume_after_kills(n_kills, corpus, tmp_path, model, slice_size=2000):
    undisturbed = _start(corpus, tmp_path / "undisturbed", model, slice_size)
    _, error = undisturbed.communicate(timeout=100)
    assert undisturbed.returncode == 0, error
    rng = random.Random(1)
    for _ in range(n_kills):
        _kill_at_random(_start(corpus, tmp_path / "out", model, slice_size), tmp_path / "out", rng)
    last = _start(corpus, tmp_path / "out", model, slice_size)
    _, error = last.communicate(timeout=100)
    assert last.returncode == 0, error
    rows, expected = read_rows(tmp_path / "out"), read_rows(tmp_path / "undisturbed")
    assert len({(row["source"], row["row"]) for row in rows}) == len(rows) == len(expected) == 2400
    assert rows == expected
    assert _data(tmp_path / "out") == _data(tmp_path / "undisturbed")
    assert not list((run_folder(tmp_path / "out") / "_attempts").iterdir())


def _data(output):
    """Every file of the run's data, by name, to the last byte."""
    return {path.name: path.read_bytes() for path in (run_folder(output) / "data").iterdir()}


def test_a_run_killed_three_times_ends_as_an_undisturbed_one(long_corpus, tmp_path, tiny_checkpoint):
    _resume_after_kills(3, long_corpus, tmp_path, tiny_checkpoint)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_fifty_times_ends_as_an_undisturbed_one(long_corpus, tmp_path, tiny_checkpoint):
    # So many slices that some are left when the last kill comes.
    _resume_after_kills(50, long_corpus, tmp_path, tiny_checkpoint, slice_size=400)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_the_next_start_goes_on(
    number, status, long_corpus, tmp_path, tiny_checkpoint, monkeypatch
):
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    process = _start(long_corpus, tmp_path / "out", tiny_checkpoint)
    deadline = time.monotonic() + 60
    while _commits(tmp_path / "out") < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == status
    assert "goes on" in error
    assert not list(scratch.glob("beam*"))
    n_done = _commits(tmp_path / "out")
    assert n_done >= 2
    again = _start(long_corpus, tmp_path / "out", tiny_checkpoint)
    _, error = again.communicate(timeout=100)
    assert again.returncode == 0, error
    assert len(read_rows(tmp_path / "out")) == 2400


def test_two_runs_at_once_write_every_row_once(long_corpus, tmp_path, tiny_checkpoint):
    both = [_start(long_corpus, tmp_path / "out", tiny_checkpoint) for _ in range(2)]
    results = [(process.communicate(timeout=100)[1], process.returncode) for process in both]
    assert [status for _, status in results] == [0, 0], results
    rows = read_rows(tmp_path / "out")
    assert len({(row["source"], row["row"]) for row in rows}) == len(rows) == 2400
