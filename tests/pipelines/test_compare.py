"""The compare job: two runs and gold in, the same answer out, whoever computes it."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.compare
import pipelines.runs.opening
from pipelines.__main__ import main
from tests.conftest import write_checkpoint
from tests.pipelines.conftest import WORDS, read_rows, run_folder


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory):
    """A checkpoint with other random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("other") / "model", seed=1)


@pytest.fixture
def compare(tmp_path):
    """Runs the job and returns its exit status."""

    def run(*arguments, a="a", b="b"):
        words = ["compare", str(tmp_path / a), str(tmp_path / b), "--no-progress", "--replicates", "50"]
        return main([*words, *map(str, arguments)])

    return run


@pytest.fixture
def report(tmp_path):
    """Reads a report."""
    return lambda output="comparison": json.loads((tmp_path / output / "comparison.json").read_text())


@pytest.fixture
def gold(tmp_path):
    """Sixty labelled sentences of the words that the tiny models were made for."""
    rng = random.Random(0)
    lines = []
    for at in range(60):
        words = [WORDS[(at * 5 + k) % len(WORDS)] for k in range(1 + at % 12)]
        tags = [rng.choice(("B-PER", "I-PER", "B-LOC")) if word[0].isupper() else "O" for word in words]
        lines += [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)] + [""]
    path = tmp_path / "gold.conll"
    path.write_text("\n".join(lines))
    return path


def _spans(row):
    return [(entity["start"], entity["end"], entity["label"]) for entity in row["entities"]]


def test_compare_tells_what_changed(annotate, compare, report, corpus, tmp_path, capsys):
    annotate(source=corpus, output="a")
    annotate("--threshold=0.5", source=corpus, output="b")
    capsys.readouterr()
    assert compare("--output", tmp_path / "comparison") == 0
    rows = list(zip(read_rows(tmp_path / "a"), read_rows(tmp_path / "b"), strict=True))
    changed = [(a, b) for a, b in rows if _spans(a) != _spans(b)]
    n_a, n_b = (sum(len(row[side]["entities"]) for row in rows) for side in (0, 1))
    found = report()
    assert found["counts"]["documents"] == len(rows) == 120
    assert found["counts"]["changed_documents"] == len(changed) > 0
    # A higher threshold takes entities away and does nothing else.
    totals = {kind: sum(by_label.values()) for kind, by_label in found["changes"].items()}
    assert totals == {"added": 0, "removed": n_a - n_b, "relabelled": 0, "moved": 0, "both": 0, "unchanged": n_b}
    assert found["differences"] == [{"name": "entities.threshold", "a": 0.0, "b": 0.5}]
    assert (found["gold"], found["verdict"]) == (None, None)
    assert all(sample["a"]["score"] < 0.5 for sample in found["samples"])
    printed = capsys.readouterr().out
    assert f"{len(changed)} of 120 documents changed from A to B" in printed
    assert "comparison.html" in printed
    names = sorted(path.name for path in (tmp_path / "comparison").iterdir())
    assert names == ["comparison.html", "comparison.json", "comparison.md"]


def test_compare_without_output_writes_nothing(annotate, compare, corpus, tmp_path, capsys):
    annotate(source=corpus, output="a")
    before = sorted(tmp_path.rglob("*"))
    assert compare(b="a") == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert "Nothing changed: all 120 documents have the same entities in A and in B." in capsys.readouterr().out


def test_compare_scores_both_runs_as_evaluate_scores_each(
    annotate, other_checkpoint, compare, report, gold, tmp_path, capsys
):
    annotate(source=gold, output="a")
    annotate(source=gold, output="b", model=other_checkpoint)
    capsys.readouterr()
    assert compare("--gold", gold, "--output", tmp_path / "comparison") == 0
    found = report()
    assert found["verdict"] in capsys.readouterr().out
    for side in ("a", "b"):
        words = ["--gold", gold, "--predicted", tmp_path / side, "--output", tmp_path / f"evaluation_{side}"]
        assert main(["evaluate", *map(str, words), "--no-progress", "--replicates", "50"]) == 0
        exact = json.loads((tmp_path / f"evaluation_{side}" / "report.json").read_text())["exact"]["default"]
        assert found["gold"]["micro"][side] == exact["micro"]
        for label, row in found["gold"]["labels"].items():
            if label in exact["labels"]:
                assert row[side] == {name: exact["labels"][label][name] for name in row[side]}
    assert found["gold"]["name"] == str(gold)
    assert found["gold"]["counts"]["documents"] == 60
    assert found["gold"]["micro"]["difference"]["f1"]["p_value"] > 0
    assert found["samples"][0]["context"] is not None
    assert found["differences"][0]["name"] == "tagger.model"


def test_numbers_do_not_depend_on_workers_buckets_files_or_slices(
    annotate, other_checkpoint, compare, report, gold, tmp_path, monkeypatch
):
    sentences = [block.split("\n") for block in gold.read_text().strip().split("\n\n")]
    rows = [
        {"id": f"d{at}", "text": "", "tokens": [line.split("\t")[0] for line in lines]}
        for at, lines in enumerate(sentences)
    ]
    for row, lines in zip(rows, sentences, strict=True):
        row["text"] = " ".join(row["tokens"])
        row["gold"] = [line.split("\t")[1] for line in lines]
    for name, part in (("x", rows[:20]), ("y", rows[20:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f"{name}.parquet", row_group_size=5)
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    annotate(source=tmp_path / "?.parquet", output="a")
    annotate(
        "--slice-size=200", "--output-format=jsonl", source=tmp_path / "?.parquet", output="b", model=other_checkpoint
    )
    options = ["--gold", tmp_path / "gold.jsonl", "--tokens-column", "tokens", "--output"]
    assert compare(*options, tmp_path / "one") == 0
    monkeypatch.setattr(pipelines.runs.opening, "_BUCKET_BYTES", 1000)
    workers = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]
    assert compare(*options, tmp_path / "two", *workers) == 0
    reports = [{key: value for key, value in report(name).items() if key != "seconds"} for name in ("one", "two")]
    assert reports[0] == reports[1]
    assert reports[0]["counts"]["changed_documents"] > 0
    assert len(reports[0]["samples"]) == min(50, sum(sum(reports[0]["changes"][kind].values()) for kind in _KINDS))


_KINDS = ("added", "removed", "relabelled", "moved", "both")


def test_what_finds_no_partner_is_told(annotate, compare, report, tmp_path, capsys):
    rows = [{"id": name, "text": f"Anna lives in Berlin {name}", "gold": [[0, 4, "PER"]]} for name in "abcdef"]
    inputs = {"a": [*rows[:3], {"id": "x", "text": "y" * 90}], "b": [*rows[1:4], {**rows[2], "text": "Bob"}]}
    inputs["a"][1] = {**rows[1], "text": "Anna"}
    for side, own in inputs.items():
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
        annotate("--max-document-bytes=80", "--max-failed-fraction=1", source=tmp_path / f"{side}.jsonl", output=side)
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [rows[0], rows[2], rows[5]]))
    capsys.readouterr()
    assert compare("--gold", tmp_path / "gold.jsonl", "--output", tmp_path / "comparison") == 0
    found = report()
    assert found["counts"]["documents"] == 1
    listed = {name: ids for name, ids in found["listed"].items() if ids}
    assert listed == {
        "only_a": ["a", "x"],
        "only_b": ["c", "d"],
        "dead_a": ["x"],
        "other_texts": ["b"],
        "duplicate_ids": ["c"],
    }
    assert found["gold"]["listed"] == {"unmatched_a": ["f"], "unmatched_b": ["a", "f"], "dead_a": [], "dead_b": []}
    assert found["gold"]["micro"]["a"]["support"] == found["gold"]["micro"]["b"]["support"] == 3
    printed = capsys.readouterr().out
    assert "- 1 document read with another text in B; not compared." in printed
    assert "- 2 gold documents that B does not have; missed by B." in printed


def test_offsets_in_two_units_need_gold(annotate, compare, report, tmp_path, capsys):
    row = {"id": "a", "text": "🙂 Anna lives in Berlin", "gold": []}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    annotate(source=tmp_path / "in.jsonl", output="a")
    annotate("--offset-unit=utf8", source=tmp_path / "in.jsonl", output="b")
    capsys.readouterr()
    assert compare() == 2
    assert "expected runs with the same --offset-unit, found codepoint and utf8" in capsys.readouterr().err
    assert compare("--gold", tmp_path / "in.jsonl", "--output", tmp_path / "comparison") == 0
    assert report()["counts"]["documents"] == 1
    assert report()["counts"]["changed_documents"] == 0
    assert report()["counts"]["entities"]["a"] > 0


def test_gold_that_differs_in_white_space_is_joined_on_demand(annotate, compare, report, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": "Anna  lives in Berlin"}) + "\n")
    row = {"id": "a", "text": "Anna lives in\nBerlin", "gold": [[14, 20, "LOC"]]}
    (tmp_path / "gold.jsonl").write_text(json.dumps(row) + "\n")
    annotate(source=tmp_path / "in.jsonl", output="a")
    assert compare("--gold", tmp_path / "gold.jsonl", b="a") == 2
    assert "--reread-inputs" in capsys.readouterr().err
    options = ["--reread-inputs", "--output", tmp_path / "comparison"]
    assert compare("--gold", tmp_path / "gold.jsonl", *options, b="a") == 0
    assert report()["gold"]["micro"]["a"]["support"] == 1


def test_labels_are_renamed_without_gold_too(annotate, compare, report, corpus, tmp_path):
    annotate(source=corpus, output="a")
    options = ["--map", "PER=person", "LOC=place", "--ignore-labels", "ORG", "--output", tmp_path / "comparison"]
    assert compare(*options, b="a") == 0
    assert set(report()["changes"]["unchanged"]) <= {"person", "place"}
    assert report()["settings"]["label map"] == {"PER": "person", "LOC": "place", "ORG": "O"}


def test_workers_that_leave_no_results_are_told_of(annotate, compare, corpus, tmp_path, capsys, monkeypatch):
    annotate(source=corpus / "a.txt", output="a")
    monkeypatch.setattr(pipelines.compare, "run_pipeline", lambda construct, beam_flags: None)
    assert compare("--output", tmp_path / "comparison", b="a") == 2
    assert "name an --output that all of them reach" in capsys.readouterr().err
    assert list((tmp_path / "comparison").iterdir()) == []


def test_a_run_is_named_by_its_folder_or_the_one_above(annotate, compare, corpus, tmp_path, capsys):
    annotate(source=corpus, output="a")
    assert compare(a=run_folder(tmp_path / "a").relative_to(tmp_path), b="a") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tmp}/out", "{tmp}/none"], "expected a run of spanmill annotate as RUN_B, found none at"),
        (["{tmp}/flat", "{tmp}/out"], "expected a run with --layout document as RUN_A, found flat"),
        (["{tmp}/out", "{tmp}/half"], "expected a complete run as RUN_B, found one without _SUCCESS"),
        (["{tmp}/out"], "expected RUN_B, found none"),
        (["{tmp}/out", "{tmp}/out", "{tmp}/out"], "expected a flag"),
        (["nosuch://x", "{tmp}/out"], "RUN_A"),
        (["{tmp}/out", "{tmp}/out", "--gold", "{tmp}/none.conll"], "expected input files at"),
        (
            ["{tmp}/out", "{tmp}/out", "--gold", "{tmp}/out/x.conll", "--scheme", "XY"],
            "expected --scheme auto or one of",
        ),
        (["{tmp}/out", "{tmp}/out", "--map", "PER"], "expected --map KEY=VALUE"),
        (["{tmp}/out", "{tmp}/out", "--replicates", "-1"], "expected --replicates of 0 or more"),
        (["{tmp}/out", "{tmp}/out", "--output", "nosuch://x"], "cannot write to --output 'nosuch://x'"),
        (["{tmp}/out", "{tmp}/out", "--output", "{tmp}/corpus/a.txt"], "cannot write to --output"),
    ],
)
def test_compare_answers_wrong_input_with_one_line(annotate, corpus, tmp_path, capsys, words, message):
    annotate(source=corpus / "a.txt")
    if "flat" in words[0]:
        annotate("--layout=flat", source=corpus / "a.txt", output="flat")
    if "half" in words[-1]:
        annotate(source=corpus / "a.txt", output="half")
        (run_folder(tmp_path / "half") / "_SUCCESS").unlink()
    (tmp_path / "out" / "x.conll").write_text("Anna\tB-PER\n")
    capsys.readouterr()
    assert main(["compare", *(word.format(tmp=tmp_path) for word in words), "--no-progress"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
