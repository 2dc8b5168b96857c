"""A run that copies from an earlier one what both have read, and ends as one that read everything itself."""

import dataclasses
import gzip
import json
import random
import shutil
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import StorageError
from tests.conftest import KEYS, TAGS
from tests.faults.children import fork
from tests.pipelines.conftest import WORDS, read_dead, read_report, read_rows, run_folder, snapshot
from tests.pipelines.test_calibrated import CALIBRATOR
from transforms.storage.commits import DATA

ALONE = "--batch-tokens=1"
"""A window to a pass, so that what the model answers does not hang on which windows it meets together."""


_COUNTED = ("documents", "tokens", "windows", "entities_by_label", "entities_below_threshold_by_label")


def _write(path, texts):
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        path.write_text("".join(f"{text}\n" for text in texts))
    return path


@pytest.fixture
def texts():
    """Different documents, of which some are longer than a window."""
    rng = random.Random(7)
    return [f"Anna {at} {' '.join(rng.choices(WORDS, k=at % 90))}" for at in range(200)]


@pytest.fixture
def earlier(annotate, texts, tmp_path):
    """A run over two files, in slices of some documents."""
    _write(tmp_path / "old/a.txt", texts[:120])
    _write(tmp_path / "old/b.txt", texts[120:])

    def run(*arguments):
        assert annotate("--slice-size=4000", ALONE, *arguments, source=tmp_path / "old", output="earlier") == 0
        return run_folder(tmp_path / "earlier")

    return run


@pytest.fixture
def compare(annotate, tmp_path):
    """Annotates a corpus with an earlier run and without, to equal bytes; returns the report of each."""

    def run(*arguments, reuse):
        for output, more in (("anew", ()), ("reusing", ("--reuse", reuse))):
            assert annotate(ALONE, *arguments, *more, source=tmp_path / "new", output=output) == 0
        assert _data(tmp_path / "reusing") == _data(tmp_path / "anew") != {}
        report, anew = (read_report(tmp_path / output) for output in ("reusing", "anew"))
        assert all(report[name] == anew[name] for name in _COUNTED)
        assert report["documents"] > 0 < sum(report["entities_by_label"].values())
        return report, anew

    return run


def _data(output):
    return {path.name: path.read_bytes() for path in (run_folder(output) / DATA).iterdir()}


def test_one_edited_document_in_a_hundred_costs_three_hundredths_of_the_inference(compare, earlier, texts, tmp_path):
    texts[30], texts[150] = f"{texts[30]} Bob", f"Bob {texts[150]}"
    _write(tmp_path / "new/a.txt", texts[:120])
    _write(tmp_path / "new/b.txt", texts[120:])
    report, anew = compare("--slice-size=4000", reuse=earlier())
    assert (report["documents"], report["reused"]["documents"]) == (200, 198)
    assert 0 < report["computed_tokens"] <= 0.03 * anew["computed_tokens"]
    assert report["reused"]["tokens_fraction"] > 0.97


@pytest.mark.parametrize("name", ["c.parquet", "c.txt"])
@pytest.mark.parametrize("slice_size", [900, 1 << 20])
def test_documents_are_found_wherever_they_went(compare, earlier, texts, tmp_path, name, slice_size):
    shuffled = [*texts[20:], *texts[50:60]]
    random.Random(3).shuffle(shuffled)
    _write(tmp_path / "new" / name, [*shuffled[:100], "Anna was not here before", *shuffled[100:]])
    report, _ = compare(f"--slice-size={slice_size}", reuse=earlier())
    assert report["documents"] - report["reused"]["documents"] == 1


def test_a_run_is_named_by_its_settings_whether_it_reuses_or_not(compare, earlier, texts, tmp_path):
    _write(tmp_path / "new/a.txt", texts[:10])
    run = earlier()
    compare(reuse=run)
    assert run_folder(tmp_path / "reusing").name == run_folder(tmp_path / "anew").name == run.name


def test_nothing_new_loads_no_model(annotate, earlier, texts, tmp_path, monkeypatch):
    from transforms.models.catalog import CheckpointTaggerConfig

    _write(tmp_path / "new/moved.parquet", [*texts, ""])
    run = earlier()
    monkeypatch.setattr(CheckpointTaggerConfig, "load", None)
    _write(tmp_path / "new/moved.parquet", texts[::-1])
    assert annotate("--reuse", run, source=tmp_path / "new", output="reusing") == 0
    report = read_report(tmp_path / "reusing")
    assert (report["computed_tokens"], report["reused"]["documents_fraction"]) == (0, 1.0)


@pytest.mark.parametrize("kept", [("--threshold=0.3",), ("--threshold=0.9", "--keep-below")])
@pytest.mark.parametrize(
    "wanted", [("--threshold=0.6",), ("--label-threshold", "PER=0.55", "LOC=0.4", "--threshold=0.35")]
)
def test_other_thresholds_are_met_without_inference(compare, earlier, texts, tmp_path, kept, wanted):
    _write(tmp_path / "new/a.txt", texts)
    report, anew = compare(*wanted, reuse=earlier(*kept))
    assert report["computed_tokens"] == 0 < anew["computed_tokens"]
    assert report["entities_by_label"] == anew["entities_by_label"]
    assert sum(report["entities_by_label"].values()) > 0


def test_entities_under_a_threshold_and_offsets_in_bytes_are_decided_anew(compare, earlier, texts, tmp_path):
    texts[3] = "Zoë Anna — Berlin 😀 Bob"
    _write(tmp_path / "new/a.txt", texts)
    run = earlier("--offset-unit=utf16", "--output-format=jsonl")
    _write(tmp_path / "new/b.txt", texts[:5])
    report, _ = compare("--threshold=0.5", "--keep-below", "--offset-unit=utf8", reuse=run)
    assert sum(report["entities_below_threshold_by_label"].values()) > 0
    assert report["reused"]["documents"] == 203


@pytest.mark.parametrize("new", [("--layout=flat",), ("--output-format=jsonl",), ("--layout=flat", "--keep-below")])
def test_output_has_the_layout_and_the_format_that_are_wanted_now(compare, earlier, texts, tmp_path, new):
    texts[7] = "Anna met Bob"
    _write(tmp_path / "new/a.txt", texts)
    report, _ = compare("--threshold=0.5", *new, reuse=earlier())
    assert report["reused"]["documents"] == 199


def test_several_taggers_are_copied_together(compare, earlier, texts, tmp_path):
    names = tmp_path / "names.csv"
    names.write_text("Berlin,LOC\nAnna,PER\n")
    taggers = ("--tagger", "a=model", f"b=gazetteer:file={names}")
    run = earlier(*taggers)
    texts[0] += " Berlin"
    _write(tmp_path / "new/a.txt", texts)
    report, _ = compare(*taggers, reuse=run)
    assert report["reused"]["documents"] == 199


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ((), ("--decoder=argmax",), "same tagger, found tagger.decoding.decoder 'viterbi' there and 'argmax' here"),
        (("--threshold=0.5",), ("--threshold=0.4",), "kept from score 0.5 on there, and wanted from 0.4 on here"),
        (("--threshold=0.5",), ("--threshold=0.5", "--keep-below"), "wanted from 0 on here"),
        (("--layout=flat",), (), "--layout document, found flat"),
        ((), ("--keep-probabilities",), "a run with --keep-probabilities too, found one without"),
        (
            ("--keep-probabilities",),
            ("--decoder=argmax", "--window-tokens=32", "--overlap-tokens=8"),
            "same tagger, found tagger.windows.max_tokens 64 there and 32 here (2 in all)",
        ),
    ],
)
def test_what_does_not_hold_is_refused_in_a_line(annotate, earlier, texts, tmp_path, capsys, old, new, message):
    run = earlier(*old)
    capsys.readouterr()
    assert annotate(*new, "--reuse", run, source=tmp_path / "old", output="new") == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.fixture
def odd_texts(texts):
    """The texts, with some that are empty or hold characters of several bytes among them."""
    return [*texts[:50], "", "Zoë Anna — Berlin 😀 Bob", " ", *texts[50:], ""]


@pytest.mark.parametrize(
    "decoding",
    [
        ("--decoder=argmax",),
        ("--decoder=argmax", "--repair=discard"),
        ("--aggregation=average",),
        ("--aggregation=max",),
        ("--aggregation=simple", "--decoder=argmax"),
    ],
)
def test_kept_probabilities_are_decoded_otherwise_without_inference(compare, earlier, odd_texts, tmp_path, decoding):
    _write(tmp_path / "old/c.parquet", odd_texts)
    run = earlier("--keep-probabilities", "--threshold=0.5", "--offset-unit=utf16")
    _write(tmp_path / "new/a.parquet", odd_texts[::-1])
    report, anew = compare(*decoding, "--threshold=0.1", "--offset-unit=utf8", reuse=run)
    assert report["reused"]["documents"] == report["documents"] == len(odd_texts)
    assert report["computed_tokens"] == 0 < anew["computed_tokens"]
    assert report["windows"] > report["documents"], "some are stitched of several windows"


def test_decoders_differ_on_these_texts(earlier, tmp_path):
    decoded = []
    for decoding in ((), ("--decoder=argmax",), ("--decoder=argmax", "--repair=discard"), ("--aggregation=average",)):
        shutil.rmtree(tmp_path / "earlier", ignore_errors=True)
        earlier(*decoding)
        decoded.append(read_report(tmp_path / "earlier")["entities_by_label"])
    assert all(one != other for at, one in enumerate(decoded) for other in decoded[:at])


def test_kept_probabilities_are_decided_by_another_calibrator(compare, earlier, texts, tmp_path):
    (tmp_path / "old.json").write_text(CALIBRATOR.to_json())
    (tmp_path / "new.json").write_text(dataclasses.replace(CALIBRATOR, labels={}).to_json())
    run = earlier("--keep-probabilities", "--threshold=0.3", "--calibrator", tmp_path / "old.json")
    _write(tmp_path / "new/a.txt", texts)
    report, _ = compare("--calibrator", tmp_path / "new.json", reuse=run)
    assert report["computed_tokens"] == 0


@pytest.mark.parametrize("output_format", ["parquet", "jsonl"])
def test_probabilities_are_copied_along_and_kept_of_new_texts(compare, earlier, texts, tmp_path, output_format):
    run = earlier("--keep-probabilities", f"--output-format={output_format}")
    texts[30] += " Bob"
    _write(tmp_path / "new/a.txt", texts)
    report, _ = compare("--keep-probabilities", "--aggregation=max", reuse=run)
    assert report["reused"]["documents"] == 199
    for row in read_rows(tmp_path / "reusing"):
        of_tokens = np.reshape(row["probabilities"], (row["tokens"], len(TAGS)))
        np.testing.assert_allclose(of_tokens.sum(axis=1), 1, rtol=1e-5)


def test_keeping_probabilities_changes_nothing_else_and_makes_another_run(annotate, earlier, texts, tmp_path):
    run = earlier()
    options = (ALONE, "--slice-size=4000", "--keep-probabilities")
    assert annotate(*options, source=tmp_path / "old", output="keeping") == 0
    rows = read_rows(tmp_path / "keeping")
    assert all(len(row.pop("probabilities")) == row["tokens"] * len(TAGS) for row in rows)
    assert rows == read_rows(tmp_path / "earlier")
    assert run_folder(tmp_path / "keeping").name != run.name
    assert annotate("--reuse", tmp_path / "keeping", source=tmp_path / "old", output="again") == 0
    assert run_folder(tmp_path / "again").name == run.name, "and can be reused by one that keeps none"


def test_nothing_new_loads_no_model_to_decode_otherwise(annotate, earlier, tmp_path, monkeypatch, capsys):
    from pipelines.__main__ import main
    from transforms.models.catalog import CheckpointTaggerConfig

    run = earlier("--keep-probabilities")
    monkeypatch.setattr(CheckpointTaggerConfig, "load", None)
    assert annotate("--reuse", run, "--decoder=argmax", source=tmp_path / "old", output="reusing") == 0
    report = read_report(tmp_path / "reusing")
    assert (report["computed_tokens"], report["reused"]["documents_fraction"]) == (0, 1.0)
    assert main(["verify", str(tmp_path / "reusing"), "--no-progress"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layout=flat",), "--layout document with --keep-probabilities, found flat"),
        (("--tagger", "a=model"), "a single model with --keep-probabilities, found other taggers"),
        (
            ("--tagger", "a=model", "b=gazetteer:file=names.csv"),
            "a single model with --keep-probabilities, found other taggers",
        ),
        (("--keep-columns", "probabilities"), "'probabilities', which --keep-probabilities writes"),
    ],
)
def test_probabilities_that_cannot_be_kept_are_refused_in_a_line(
    annotate, corpus, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.csv").write_text("Berlin,LOC\n")
    assert annotate("--keep-probabilities", *options, source=corpus, output="new") == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_other_jobs_read_runs_that_keep_probabilities(annotate, tmp_path, capsys):
    from pipelines.__main__ import main

    source = tmp_path / "gold.conll"
    sentence = "Anna\tB-PER\nlives\tO\nin\tO\nBerlin\tB-LOC\n\n"
    source.write_text(sentence * 20)
    scores = []
    for output, more in (("plain", ()), ("keeping", ("--keep-probabilities",))):
        assert annotate("--threshold=0.2", "--keep-below", *more, source=source, output=output) == 0
        run = run_folder(tmp_path / output)
        evaluation = tmp_path / f"{output}-evaluation"
        words = ["evaluate", "--gold", str(source), "--predicted", str(run), "--output", str(evaluation)]
        assert main([*words, "--no-progress"]) == 0
        scores.append(json.loads((evaluation / "report.json").read_text())["exact"])
    assert scores[0] == scores[1]
    before = snapshot(run / DATA)
    next((run / DATA).iterdir()).unlink()
    assert main(["verify", str(run), "--no-progress"]) == 1
    assert main(["verify", str(run), "--repair", "--no-progress"]) == 0
    assert {name: content for name, (_, content) in snapshot(run / DATA).items()} == {
        name: content for name, (_, content) in before.items()
    }


def test_retry_keeps_probabilities_of_what_it_reads_anew(annotate, corpus, tmp_path):
    from pipelines.__main__ import main

    (corpus / "cut.txt.gz").write_bytes(gzip.compress(b"Anna lives\n" * 10)[:-20])
    options = ("--keep-probabilities", "--bad-files", "dead-letter", "--max-failed-fraction", 1)
    assert annotate(*options, source=corpus) == 0
    (corpus / "cut.txt.gz").write_bytes(gzip.compress(b"Anna lives\n" * 10))
    assert main(["retry", str(tmp_path / "out")]) == 0
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 130
    assert all(len(row["probabilities"]) == row["tokens"] * len(TAGS) for row in rows)


def test_no_run_to_reuse_is_refused_in_a_line(annotate, corpus, tmp_path, capsys):
    assert annotate("--reuse", tmp_path / "nowhere", source=corpus) == 2
    assert "as --reuse, found none at" in capsys.readouterr().err


def test_nothing_is_copied_from_damaged_files(compare, earlier, texts, tmp_path):
    run = earlier()
    first, second, *others = sorted((run / DATA).iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    content = bytearray(second.read_bytes())
    # A byte of a page, so that the footer and the size are as they were.
    content[len(content) // 3] ^= 1
    second.write_bytes(content)
    lost = [json.loads(path.read_text())["rows"] for path in (run / "_commits").iterdir() if path.name in first.stem]
    lost += [json.loads(path.read_text())["rows"] for path in (run / "_commits").iterdir() if path.name in second.stem]
    _write(tmp_path / "new/a.txt", texts)
    report, _ = compare(reuse=run)
    assert others
    assert report["documents"] - report["reused"]["documents"] == sum(lost)


def _flip_in_column(path, name):
    """Damages the last page of a column, so that sizes, footer and the pages of other columns are as they were."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    (column,) = (
        found for found in map(group.column, range(group.num_columns)) if found.path_in_schema.partition(".")[0] == name
    )
    begin = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[begin + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("supervision", [(), ("--max-restarts", "1", "--workers", "2")])
def test_damage_of_the_earlier_run_is_told(annotate, earlier, texts, tmp_path, capfd, supervision):
    run = earlier()
    first, second, *_ = sorted((run / DATA).iterdir())
    _flip_in_column(first, "digest")
    _flip_in_column(second, "tokens")
    n_lost = pq.read_metadata(second).num_rows
    _write(tmp_path / "new/a.txt", texts)
    assert annotate("--reuse", run, *supervision, source=tmp_path / "new", output="reusing") == 0
    told = capfd.readouterr().err
    assert f"nothing is reused of 1 of {len(list((run / DATA).iterdir()))} slices of {run}, whose annotations" in told
    assert f"{n_lost} documents were not reused, as the earlier run's files are not as committed" in told
    assert read_report(tmp_path / "reusing")["counts"] == {"reuse/damaged": n_lost}


def test_dead_letters_are_tried_anew(annotate, tmp_path):
    source = tmp_path / "long.txt"
    source.write_text("Anna\n" + "Berlin " * 100 + "\n")
    assert annotate("--max-document-bytes=50", "--max-failed-fraction=1", source=source, output="earlier") == 0
    assert len(read_dead(tmp_path / "earlier")) == 1
    assert annotate("--reuse", tmp_path / "earlier", source=source, output="new") == 0
    assert (len(read_rows(tmp_path / "new")), read_dead(tmp_path / "new")) == (2, [])
    assert read_report(tmp_path / "new")["reused"]["documents"] == 1


def test_a_run_reuses_itself_for_files_that_come_later(annotate, earlier, texts, tmp_path):
    run = earlier()
    before = snapshot(run / DATA)
    _write(tmp_path / "old/c.txt", texts[::2])
    assert annotate(ALONE, "--reuse", tmp_path / "earlier", source=tmp_path / "old", output="earlier") == 0
    report = read_report(tmp_path / "earlier")
    (counts,) = report["reused"]["runs"].values()
    assert (report["documents"], counts["documents"]) == (300, 100)
    assert snapshot(run / DATA).items() >= before.items()


def test_a_run_that_fails_goes_on_and_sweeps_its_index(annotate, compare, earlier, texts, tmp_path, monkeypatch):
    from transforms.storage.commits import SliceWriter

    run, commit, committed = earlier(), SliceWriter.commit, []

    def commit_twice(writer):
        if len(committed) == 2:
            raise StorageError("no room")
        committed.append(writer)
        return commit(writer)

    texts[199] = "Bob"
    _write(tmp_path / "new/a.txt", texts)
    with monkeypatch.context() as patched:
        patched.setattr(SliceWriter, "commit", commit_twice)
        options = (ALONE, "--slice-size=3000", "--reuse", run)
        assert annotate(*options, source=tmp_path / "new", output="reusing") == 1
    work = run_folder(tmp_path / "reusing") / "_work"
    assert any("reuse" in path.name for path in work.iterdir())
    report, _ = compare("--slice-size=3000", reuse=run)
    assert report["reused"]["documents"] == 199
    assert not any(work.iterdir())


def test_a_run_that_is_killed_goes_on_as_if_nobody_had_disturbed_it(compare, earlier, texts, tmp_path, tiny_checkpoint):
    from pipelines.__main__ import main

    run = earlier()
    texts[199] = "Bob"
    _write(tmp_path / "new/a.txt", texts)
    command = ["annotate", "--input", tmp_path / "new", "--output", tmp_path / "reusing", "--model", tiny_checkpoint]
    command += [ALONE, "--slice-size=500", "--reuse", run, "--no-progress"]
    for n_commits in (1, 8):
        child = fork(main, [list(map(str, command))], tmp_path / f"killed-at-{n_commits}")
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("reusing/run=*/_commits/*"))) < n_commits and time.monotonic() < deadline:
            time.sleep(0.002)
        child.kill()
        assert child.wait().status == -signal.SIGKILL
    report, _ = compare("--slice-size=500", reuse=run)
    assert report["reused"]["documents"] == 199
    assert not any((run_folder(tmp_path / "reusing") / "_work").iterdir())


def test_repairing_a_run_does_without_an_earlier_one(annotate, earlier, texts, tmp_path):
    from pipelines.__main__ import main

    _write(tmp_path / "new/a.txt", texts)
    run = earlier()
    assert annotate(ALONE, "--reuse", run, source=tmp_path / "new", output="reusing") == 0
    before = read_rows(tmp_path / "reusing")
    shutil.rmtree(run)
    next((run_folder(tmp_path / "reusing") / DATA).iterdir()).unlink()
    assert main(["verify", str(run_folder(tmp_path / "reusing")), "--repair", "--no-progress"]) == 0
    assert read_rows(tmp_path / "reusing") == before


def test_the_report_says_what_was_reused_and_what_that_saved(annotate, earlier, texts, tmp_path, capsys):
    run = earlier()
    _write(tmp_path / "new/a.txt", [*texts, "Bob"])
    assert annotate("--reuse", run, "--price-per-hour=3600", source=tmp_path / "new", output="reusing") == 0
    assert "reused, and what that saved about" in capsys.readouterr().out
    reused = read_report(tmp_path / "reusing")["reused"]
    saved, used = reused["saved"], read_report(tmp_path / "earlier")
    assert saved["model_seconds"] == pytest.approx(used["stages"]["forward"]["seconds"])
    assert saved["cost"] == pytest.approx(saved["worker_seconds"])
    page = (run_folder(tmp_path / "reusing") / "report/report.html").read_text()
    assert "What was reused" in page
    receipts = [json.loads(path.read_text()) for path in (run_folder(tmp_path / "reusing") / "_commits").iterdir()]
    assert sum(receipt["tally"]["reused"][str(run)]["documents"] for receipt in receipts) == 200


def test_runs_are_reused_from_a_bucket_in_a_bucket(tiny_checkpoint, texts, tmp_path, s3_endpoint, monkeypatch):
    import uuid

    from pipelines.__main__ import main

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret"])
    _write(tmp_path / "new/a.txt", texts[:20])
    place = f"s3://bucket/{uuid.uuid4().hex}"
    command = ["annotate", "--input", str(tmp_path / "new"), "--model", str(tiny_checkpoint), "--no-progress"]
    command += ["--max-restarts=0"]
    assert main([*command, "--output", f"{place}/a"]) == 0
    assert main([*command, "--output", f"{place}/b", "--reuse", f"{place}/a"]) == 0
    assert main([*command, "--output", str(tmp_path / "c"), "--reuse", f"{place}/b"]) == 0
    report = read_report(tmp_path / "c")
    assert (report["reused"]["documents"], report["computed_tokens"]) == (20, 0)
