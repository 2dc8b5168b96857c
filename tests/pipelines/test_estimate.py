"""`spanmill estimate`: what a run will take, told before it is begun."""

import json

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import WORDS, read_report
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import list_files
from transforms.corpora.formats import cut_files
from transforms.storage.runs import choose_slice_bytes


@pytest.fixture
def large(tmp_path):
    """Two files with a thousand documents each, of which a sample is a small part."""
    folder = tmp_path / "large"
    folder.mkdir()
    for name in "ab":
        lines = [" ".join(WORDS[(at * 5 + k) % len(WORDS)] for k in range(at % 30)) for at in range(1000)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def estimate(tiny_checkpoint, tmp_path):
    """Runs the job with the tiny model, in this very process, and returns its status and what it wrote."""

    def run(*arguments, source):
        words = ["estimate", "--input", str(source), "--model", str(tiny_checkpoint), "--no-progress"]
        words += ["--max-restarts", "0", "--output", str(tmp_path / "estimate"), "--sample-seconds", "1"]
        status = main([*words, "--sample-places", "6", *arguments])
        path = tmp_path / "estimate/estimate.json"
        return status, json.loads(path.read_text()) if path.exists() else None

    return run


def test_an_estimate_of_what_can_be_counted_is_near_what_a_run_counts(estimate, annotate, large, tmp_path, capsys):
    status, told = estimate("--price-per-hour", "3600", "core=7200", "--slice-size", "5000", source=large)
    assert status == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("wall time", "cost", "core time", "95 % interval"))
    assert annotate("--slice-size", "5000", source=large) == 0
    report, figures = read_report(tmp_path / "out"), told["figures"]
    assert figures["documents"]["estimate"] == pytest.approx(report["documents"], rel=0.1)
    assert figures["tokens"]["estimate"] == pytest.approx(report["tokens"], rel=0.1)
    written = sum(path.stat().st_size for path in tmp_path.glob("out/run=*/data/*"))
    assert figures["output_bytes"]["estimate"] == pytest.approx(written, rel=0.3)
    cost = figures["worker_seconds"]["estimate"] + 2 * figures["core_seconds"]["estimate"]
    assert figures["cost"]["estimate"] == pytest.approx(cost)
    assert all(0 <= each["low"] <= each["estimate"] <= each["high"] for each in figures.values())
    assert told["peak_worker_bytes"] > 50 << 20


def test_workers_beyond_the_cores_here_are_measured_by_those_here(estimate, large, monkeypatch):
    monkeypatch.setattr("pipelines.estimate.n_cores", lambda: 1)
    _, one = estimate("--workers", "1", source=large)
    _, many = estimate("--workers", "4", "--seed", "0", source=large)
    assert (many["workers"], many["sample"]["workers"]) == (4, 1)
    assert one["figures"]["tokens"] == pytest.approx(many["figures"]["tokens"], rel=0.2)


@pytest.mark.parametrize("n_workers", [1, 16])
def test_a_run_is_projected_with_the_slices_that_are_cut_for_its_workers(estimate, tmp_path, monkeypatch, n_workers):
    monkeypatch.setattr("transforms.storage.runs.LEAST_SLICE_BYTES", 256)
    monkeypatch.setattr("pipelines.estimate.n_cores", lambda: 1)
    rows = [{"text": "Anna lives in Berlin", "other": f"{at:0200d}"} for at in range(2000)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, told = estimate("--workers", str(n_workers), source=source)
    files = list_files([str(source)])
    slices = cut_files(files, CorpusConfig(), choose_slice_bytes(files, n_workers=n_workers))
    assert (status, told["input"]["slices"]) == (0, len(slices))
    assert (len(slices) > 256) == (n_workers > 1)


def test_the_options_of_a_run_on_a_cluster_are_taken_as_they_are(estimate, corpus):
    assert estimate("--min-ram", "16GB", "--accelerator", "type:nvidia-l4;count:1", source=corpus)[0] == 0


def test_any_time_is_taken_and_no_more_than_there_is_at_the_places(estimate, corpus):
    status, told = estimate("--sample-seconds", "inf", source=corpus)
    assert (status, told["sample"]["places"]) == (0, 6)


def test_no_more_of_a_small_corpus_is_annotated_than_it_holds(estimate, tmp_path):
    source = tmp_path / "small.txt"
    source.write_text("Anna lives in Berlin.\n" * 400)
    status, told = estimate(source=source)
    n_bytes = source.stat().st_size - 400
    assert status == 0
    assert n_bytes <= told["sample"]["text_bytes"] <= 1.1 * n_bytes


def test_a_file_that_cannot_be_read_is_estimated_as_the_run_would_take_it(estimate, corpus, capsys):
    (corpus / "bad.txt.gz").write_bytes(b"no archive, and as long as the others are" * 20)
    assert estimate(source=corpus) == (2, None)
    assert "bad.txt.gz" in capsys.readouterr().err
    status, told = estimate("--bad-files", "dead-letter", source=corpus)
    assert (status, told["input"]["files"]) == (0, 4)


def test_earlier_runs_and_an_estimate_within_the_input_folder_are_no_part_of_it(estimate, annotate, corpus):
    assert annotate(source=corpus, output="corpus") == 0
    for output in (str(corpus), f"file://{corpus}/sub/.."):
        assert estimate("--output", output, source=corpus)[0] == 0
        assert json.loads((corpus / "estimate.json").read_text())["input"]["files"] == 3
    assert annotate(source=corpus, output="sub/../corpus") == 0


def test_an_estimate_leaves_nothing_of_the_sample_and_no_run(estimate, corpus, tmp_path):
    estimate(source=corpus)
    assert [path.name for path in (tmp_path / "estimate").iterdir()] == ["estimate.json"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sample-seconds", "0"], "expected --sample-seconds of 1 or more"),
        (["--sample-places", "3"], "expected --sample-places of 4 or more"),
        (["--workers", "0"], "expected --workers of 1 or more"),
        (["--slice-size", "-1"], "expected --slice-size of 0 or more"),
        (["--price-per-hour", "much"], "found 'much'"),
        (["--model", "none-such-folder/"], "none-such-folder"),
    ],
)
def test_what_cannot_be_measured_is_refused(estimate, corpus, capsys, arguments, words):
    assert estimate(*arguments, source=corpus) == (2, None)
    assert words in capsys.readouterr().err


def test_a_corpus_without_text_is_refused(estimate, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("\n\n\n")
    assert estimate(source=tmp_path / "empty.txt")[0] == 2
    assert "expected text in the input" in capsys.readouterr().err
