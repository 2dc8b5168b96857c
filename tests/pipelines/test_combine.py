"""The combine job: runs over the same files in, one run of what their taggers agree on out."""

import json

import pyarrow.parquet as pq
import pytest

import transforms.combine
from pipelines.__main__ import main
from tests.pipelines.conftest import read_dead, read_report, read_rows, run_folder, snapshot
from tests.pipelines.handmade import span, write_run, write_texts

TEXTS = {
    "a": "Anna went to Rome",
    "b": "Bob stayed",
    "c": "nobody knows Anna",
    "d": "",
    "e": "Rome and Oslo",
}
ANNA, ROME, BOB = span(0, 4, "PER", 0.75), span(13, 17, "LOC", 0.5), span(0, 3, "PER", 1.0)


@pytest.fixture
def texts(tmp_path):
    """The input of the runs."""
    return write_texts(tmp_path / "in.jsonl", TEXTS)


@pytest.fixture
def combine(tmp_path):
    """Runs the job and returns its exit status."""

    def run(*runs, by="vote", output="combined", more=()):
        words = ["combine", *(str(tmp_path / name) if "=" not in name else name for name in runs), "--by", by]
        return main([*words, "--output", str(tmp_path / output), "--no-progress", *map(str, more)])

    return run


def found(output, column="entities"):
    """What each document has, by id."""
    return {row["id"]: [(e["start"], e["end"], e["label"]) for e in row[column]] for row in read_rows(output)}


def test_three_runs_become_one_with_agreement_scores(texts, combine, tmp_path, capsys):
    write_run(tmp_path / "x", texts, {"a": [ANNA, ROME], "b": [BOB]})
    write_run(tmp_path / "y", texts, {"a": [ANNA]})
    write_run(tmp_path / "z", texts, {"a": [{**ANNA, "score": 0.25}, {**ROME, "label": "ORG"}], "b": [BOB]})
    assert combine("x", "y", "z") == 0
    rows = {row["id"]: row for row in read_rows(tmp_path / "combined")}
    assert list(rows) == list(TEXTS)
    (anna,) = rows["a"]["entities"]
    assert anna == {"start": 0, "end": 4, "label": "PER", "score": pytest.approx(1.75 / 3), "text": "Anna"}
    assert rows["a"]["agreement"] == [1.0]
    (bob,) = rows["b"]["entities"]
    assert (bob["text"], bob["score"]) == ("Bob", pytest.approx(2 / 3))
    assert rows["b"]["agreement"] == pytest.approx([2 / 3])
    assert {row["voters"] for row in rows.values()} == {3}
    source = {row["id"]: row for row in read_rows(tmp_path / "x")}
    for id_, row in rows.items():
        same = ("id", "source", "row", "digest", "windows", "tokens")
        assert {name: row[name] for name in same} == {name: source[id_][name] for name in same}
    report = read_report(tmp_path / "combined")
    assert report["model"]["digest"] == rows["a"]["model"] not in {row["model"] for row in source.values()}
    assert report["counts"] == {
        "spans given/x": 3,
        "spans given/y": 1,
        "spans given/z": 3,
        "spans kept/2 of 3": 1,
        "spans kept/3 of 3": 1,
        "spans outvoted/1 of 3": 2,
    }
    assert report["entities_by_label"] == {"PER": 2}
    assert "spans kept/3 of 3" in capsys.readouterr().out


def test_the_taggers_of_one_run_vote_in_the_order_of_their_columns(texts, combine, tmp_path):
    panel = {"z": {"a": [ANNA]}, "b": {"a": [{**ANNA, "label": "ORG"}, ROME]}}
    write_run(tmp_path / "both", texts, panel)
    assert combine("both", by="first") == 0
    assert found(tmp_path / "combined")["a"] == [(0, 4, "PER"), (13, 17, "LOC")]
    assert combine("both", by="weighted", output="heavy", more=["--weight", "both/b=3"]) == 0
    assert found(tmp_path / "heavy")["a"] == [(0, 4, "ORG"), (13, 17, "LOC")]
    labels = json.loads((run_folder(tmp_path / "heavy") / "_plan.json").read_text())["settings"]["tagger"]["labels"]
    assert labels == ["PER", "LOC", "ORG"]


def test_spans_that_do_not_count_are_kept_beside_on_demand(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA, ROME]})
    write_run(tmp_path / "y", texts, {"a": [ANNA]})
    assert combine("x", "y", more=["--keep-below"]) == 0
    assert found(tmp_path / "combined", "below")["a"] == [(13, 17, "LOC")]
    assert read_report(tmp_path / "combined")["entities_below_threshold_by_label"] == {"LOC": 1}


def test_labels_are_renamed_before_the_vote(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA, ROME]})
    write_run(tmp_path / "y", texts, {"a": [{**ANNA, "label": "ORG"}, ROME]})
    assert combine("x", "y", more=["--map", "ORG=PER", "LOC=O"]) == 0
    assert found(tmp_path / "combined")["a"] == [(0, 4, "PER")]


def test_a_weight_may_be_the_f1_of_an_evaluation(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA]})
    write_run(tmp_path / "y", texts, {"a": [ROME]})
    scores = tmp_path / "report.json"
    scores.write_text(json.dumps({"exact": {"default": {"micro": {"f1": 0.25}}}}))
    assert combine("x", "y", by="weighted", more=["--weight", f"y={scores}"]) == 0
    (row,) = [row for row in read_rows(tmp_path / "combined") if row["id"] == "a"]
    assert [(e["text"], e["score"]) for e in row["entities"]] == [("Anna", pytest.approx(0.75 / 1.25))]


def test_slices_of_the_runs_do_not_matter(tmp_path, combine):
    texts = write_texts(tmp_path / "in.jsonl", {str(at): f"Anna {at} went to Rome " * 9 for at in range(5000)})
    entities = {str(at): [ANNA] for at in range(0, 5000, 3)}
    for name, size in (("x", 0), ("small", 40_000), ("other", 70_001)):
        write_run(tmp_path / name, texts, entities, slice_bytes=size)
    counts = [len(list(run_folder(tmp_path / name).glob("data/*"))) for name in ("x", "small", "other")]
    assert counts[1] > counts[2] > counts[0] > 1
    for output, runs in (("one", ("x", "small", "other")), ("two", ("small", "other", "x"))):
        assert combine(*runs, output=output) == 0
    wanted = [{key: value for key, value in row.items() if key != "model"} for row in read_rows(tmp_path / "one")]
    assert wanted == [{k: v for k, v in row.items() if k != "model"} for row in read_rows(tmp_path / "two")]
    assert len(wanted) == 5000
    assert found(tmp_path / "one") == found(tmp_path / "x")


def test_documents_are_voted_on_by_those_that_have_them(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA]}, dead=["a", "b", "e"])
    write_run(tmp_path / "y", texts, {"a": [ANNA]}, dead=["b"])
    assert combine("x", "y", more=["--max-failed-fraction", "0.2"]) == 0
    rows = {row["id"]: row for row in read_rows(tmp_path / "combined")}
    assert list(rows) == ["a", "c", "d", "e"]
    assert (rows["a"]["voters"], rows["a"]["agreement"], rows["c"]["voters"]) == (1, [1.0], 2)
    (letter,) = read_dead(tmp_path / "combined")
    assert (letter["id"], letter["error"], letter["stage"]) == ("b", "too_large", "annotate")
    assert read_report(tmp_path / "combined")["counts"]["documents missing/x"] == 2


def test_documents_read_with_different_texts_are_never_mixed(tmp_path, combine, capsys):
    lines = [{"id": at, "text": f"Anna {at}", "title": "Anna 1"} for at in range(4)]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({**line, "id": str(line["id"])}) + "\n" for line in lines))
    write_run(tmp_path / "x", source, {str(at): [ANNA] for at in range(4)})
    write_run(tmp_path / "y", source, {str(at): [ANNA] for at in range(4)}, text_column="title")
    assert combine("x", "y") == 3
    assert "failed 75 % of the documents" in capsys.readouterr().err
    assert found(tmp_path / "combined") == {"1": [(0, 4, "PER")]}
    letters = read_dead(tmp_path / "combined")
    assert [letter["id"] for letter in letters] == ["0", "2", "3"]
    assert {letter["error"] for letter in letters} == {"other_text"}
    assert "expected the text that 'x' annotated, found another in 'y'" in letters[0]["message"]
    assert "Anna" not in json.dumps(letters)


def test_files_that_one_run_did_not_read_are_left_to_the_others(tmp_path, combine):
    (tmp_path / "in").mkdir()
    for name in "pq":
        write_texts(tmp_path / "in" / f"{name}.jsonl", {f"{name}{id_}": text for id_, text in TEXTS.items()})
    write_run(tmp_path / "x", tmp_path / "in" / "p.jsonl", {"pa": [ANNA]})
    write_run(tmp_path / "y", tmp_path / "in" / "*.jsonl", {"pa": [ANNA], "qa": [ANNA, ROME]})
    assert combine("x", "y") == 0
    rows = {row["id"]: row for row in read_rows(tmp_path / "combined")}
    assert len(rows) == 10
    assert (rows["pa"]["voters"], rows["qa"]["voters"]) == (2, 1)
    assert found(tmp_path / "combined")["qa"] == [(0, 4, "PER"), (13, 17, "LOC")]


def test_a_file_that_no_run_could_read_is_one_dead_letter(annotate, tmp_path, combine):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.parquet").write_bytes(b"PAR1 no more")
    write_texts(tmp_path / "in" / "good.jsonl", {"a": "Anna"})
    for name in "xy":
        annotate("--bad-files=dead-letter", source=tmp_path / "in", output=name)
    assert combine("x", "y") == 3
    assert combine("x", "y", more=["--max-failed-fraction", "1"]) == 0
    (letter,) = read_dead(tmp_path / "combined")
    assert (letter["source"][-11:], letter["row"], letter["error"]) == ("bad.parquet", None, "file_unreadable")
    assert list(found(tmp_path / "combined")) == ["a"]
    assert main(["verify", str(tmp_path / "combined"), "--no-progress"]) == 0


def test_the_same_command_again_does_nothing_and_elsewhere_writes_the_same_bytes(texts, combine, tmp_path, monkeypatch):
    write_run(tmp_path / "x", texts, {"a": [ANNA]})
    write_run(tmp_path / "y", texts, {"a": [ANNA, ROME]})
    assert combine("x", "y") == 0
    before = snapshot(tmp_path / "combined")
    assert combine("x", "y", output="other") == 0
    monkeypatch.setattr(transforms.combine, "combine_slice", None)
    assert combine("x", "y") == 0
    assert snapshot(tmp_path / "combined") == before
    one, two = (
        {path.name: path.read_bytes() for path in run_folder(tmp_path / output).glob("data/*")}
        for output in ("combined", "other")
    )
    assert one == two != {}


def test_a_run_that_was_stopped_goes_on_from_what_is_committed(tmp_path, combine, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "pqr":
        write_texts(tmp_path / "in" / f"{name}.jsonl", {f"{name}{id_}": text for id_, text in TEXTS.items()})
    for name in "xy":
        write_run(tmp_path / name, tmp_path / "in" / "*.jsonl", {f"{at}a": [ANNA] for at in "pqr"})
    whole = transforms.combine.combine_slice
    seen = []

    def break_at_the_last(shared, stores, config):
        seen.append(shared.slice_.file.source[-7:])
        if len(seen) == 3:
            raise OSError("the disk is gone")
        return whole(shared, stores, config)

    monkeypatch.setattr(transforms.combine, "combine_slice", break_at_the_last)
    assert combine("x", "y") == 1
    assert not (run_folder(tmp_path / "combined") / "_SUCCESS").exists()
    assert combine("x", "y") == 0
    assert len(seen) == 4
    assert seen[3] == seen[2]
    assert len(read_rows(tmp_path / "combined")) == 15


def test_a_run_that_wrote_something_else_votes_anew(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA]}, dead=["b"])
    write_run(tmp_path / "y", texts, {"a": [ANNA]})
    assert combine("x", "y") == 0
    (run_folder(tmp_path / "x")).rename(tmp_path / "gone")
    write_run(tmp_path / "x", texts, {"a": [ANNA], "b": [BOB]})
    assert combine("x", "y") == 0
    assert len(list((tmp_path / "combined").glob("run=*"))) == 2


def test_workers_and_runners_give_the_same(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA]})
    write_run(tmp_path / "y", texts, {"a": [ANNA, ROME]})
    assert combine("x", "y") == 0
    workers = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]
    assert combine("x", "y", output="two", more=workers) == 0
    assert read_rows(tmp_path / "combined") == read_rows(tmp_path / "two")


def test_a_combined_run_is_evaluated_compared_inspected_verified_and_combined_like_any(
    texts, combine, tmp_path, capsys
):
    write_run(tmp_path / "x", texts, {"a": [ANNA, ROME], "b": [BOB]})
    write_run(tmp_path / "y", texts, {"a": [ANNA]})
    assert combine("x", "y", more=["--keep-below"]) == 0
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"id": "a", "text": TEXTS["a"], "gold": [[0, 4, "PER"], [13, 17, "LOC"]]}) + "\n")
    words = ["--gold", gold, "--predicted", tmp_path / "combined", "--output", tmp_path / "scores", "--no-progress"]
    assert main(["evaluate", *map(str, words)]) == 0
    exact = json.loads((tmp_path / "scores" / "report.json").read_text())["exact"]["default"]["micro"]
    assert (exact["precision"], exact["recall"]) == (1.0, 0.5)
    assert main(["verify", str(tmp_path / "combined"), "--no-progress"]) == 0
    assert "compared with the input: 3 entities" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "x"), str(tmp_path / "combined"), "--no-progress"]) == 0
    assert "2 of 5 documents changed from A to B" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "combined"), "--label", "PER"]) == 0
    assert "Anna" in capsys.readouterr().out
    assert combine("combined", output="again") == 0
    assert found(tmp_path / "again") == found(tmp_path / "combined")


def test_real_runs_are_combined_too(annotate, corpus, combine, tmp_path):
    annotate(source=corpus, output="a")
    annotate("--output-format=jsonl", "--slice-size=300", source=corpus, output="b")
    annotate("--threshold=0.5", source=corpus, output="c")
    assert combine("a", "b", "c") == 0
    assert found(tmp_path / "combined") == found(tmp_path / "a")
    schema = pq.read_schema(next(run_folder(tmp_path / "combined").glob("data/*.parquet")))
    ours = pq.read_schema(next(run_folder(tmp_path / "a").glob("data/*.parquet")))
    assert schema.names == [*ours.names, "agreement", "voters"]
    assert all(schema.field(name) == ours.field(name) for name in ours.names)


@pytest.mark.parametrize(
    ("runs", "more", "message"),
    [
        (["x", "none"], [], "expected a run of spanmill annotate as RUN, found none at"),
        (["x", "x"], [], "expected RUN with different names, found ['x'] twice"),
        (["x", "bytes"], [], "expected runs with the same --offset-unit, found codepoint in 'x' and utf8 in 'bytes'"),
        (["x", "strange"], [], "expected runs over the same input files, found none of 'x'"),
        (["x", "longer"], [], "expected runs that read the same documents of"),
        (["x", "y"], ["--by", "veto"], "expected --by to name one of"),
        (["x", "y"], ["--by", "vote:least=3"], "expected least of 2 at most, as there are no more voters, found 3"),
        (["x", "y"], ["--weight", "y=2"], "expected --weight with --by weighted, found it with 'vote'"),
        (["x", "y"], ["--by", "weighted", "--weight", "z=2"], "expected --weight for one of ['x', 'y'], found 'z'"),
        (["x", "y"], ["--by", "weighted", "--weight", "y=0"], "expected a weight above 0 in --weight y=, found 0.0"),
        (["x", "y"], ["--by", "weighted", "--weight", "y=no.json"], "expected a number or a report.json"),
        (["x", "y"], ["--map", "PER"], "expected --map KEY=VALUE"),
        (["x", "y"], ["--map", "PRE=ORG"], "['LOC', 'ORG', 'PER'], found 'PRE'; did you mean 'PER'?"),
        (["x", "y"], ["--max-failed-fraction", "2"], "expected --max-failed-fraction between 0 and 1"),
        (["x", "y"], ["--report-documents", "-1"], "expected --report-documents of 0 or more"),
        (["x", "y"], ["--output", "nosuch://x"], "cannot write to --output 'nosuch://x'"),
        ([], [], "expected [NAME=]RUN, found none"),
    ],
)
def test_combine_answers_wrong_input_with_one_line(texts, tmp_path, capsys, runs, more, message):
    write_run(tmp_path / "x", texts, {})
    write_run(tmp_path / "y", texts, {})
    if "bytes" in runs:
        write_run(tmp_path / "bytes", texts, {}, unit="utf8")
    if "strange" in runs:
        write_run(tmp_path / "strange", write_texts(tmp_path / "strange.jsonl", TEXTS), {})
    if "longer" in runs:
        write_run(tmp_path / "longer", write_texts(texts, {**TEXTS, "f": "more"}), {})
    words = [*(str(tmp_path / name) for name in runs), "--output", str(tmp_path / "out"), "--no-progress", *more]
    assert main(["combine", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_runs_may_be_named(texts, combine, tmp_path):
    write_run(tmp_path / "x", texts, {"a": [ANNA]})
    write_run(tmp_path / "y", texts, {"a": [ROME]})
    folder = run_folder(tmp_path / "y")
    assert combine(f"big={tmp_path / 'x'}", f"small={folder}", by="weighted", more=["--weight", "small=2"]) == 0
    assert found(tmp_path / "combined")["a"] == [(13, 17, "LOC")]
