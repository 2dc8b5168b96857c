"""The import job: what was labelled in, files to train on and who said what out."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import run_folder
from training.examples import read_files

IN_THIS_PROCESS = ("--no-progress", "--max-restarts", "0")
TEXTS = (
    "👍 Anna lives in\r\nBerlin\twhile Bob knows",
    "nobody in Berlin knows Zoe\u0308",
    "Anna in Berlin lives",
    "while nobody lives",
    "Bob Berlin Anna Berlin",
    "Anna's dog lives",
)


@pytest.fixture(scope="module")
def selected(tiny_checkpoint, tmp_path_factory):
    """A selection of six documents, two of them drawn by chance, and the run that it is from."""
    folder = tmp_path_factory.mktemp("selected")
    lines = (json.dumps({"id": f"d{at}", "text": text}) for at, text in enumerate(TEXTS))
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    words = ["--input", folder / "in.jsonl", "--output", folder / "run", "--model", tiny_checkpoint, "--keep-below"]
    assert main(["annotate", *map(str, words), *IN_THIS_PROCESS]) == 0
    words = ["--output", folder / "selection", "--by", "mixed:diverse=1", "--random", "0.34", "--n", "6"]
    assert main(["select", str(folder / "run"), *map(str, words), "--no-progress"]) == 0
    return folder


@pytest.fixture
def documents(selected):
    """The documents of the selection by id."""
    lines = (selected / "selection/documents.jsonl").read_text().split("\n")
    return {document["id"]: document for document in map(json.loads, filter(None, lines))}


@pytest.fixture
def import_labels(selected, tmp_path, capsys):
    """Runs the job and returns its report, and what it printed."""

    def run(*arguments, status=0):
        capsys.readouterr()
        words = ["import", *arguments, "--selection", selected / "selection", "--output", tmp_path / "labels"]
        assert main(list(map(str, words))) == status
        printed = capsys.readouterr()
        path = tmp_path / "labels/import.json"
        return json.loads(path.read_text()) if path.exists() else None, printed

    return run


@pytest.fixture
def answer(documents, tmp_path):
    """Writes a Prodigy file with the entities of some documents by id, and returns its path."""

    def write(annotator, *answers, stamp=0, answered="accept"):
        lines = []
        for at, (id_, spans) in enumerate(answers):
            spans = [{"start": start, "end": end, "label": label} for start, end, label in spans]
            lines.append(
                {
                    "text": documents[id_]["text"],
                    "spans": spans,
                    "meta": {"digest": documents[id_]["digest"]},
                    "answer": answered,
                    "_annotator_id": annotator,
                    "_timestamp": stamp + at,
                }
            )
        path = tmp_path / f"{annotator}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def read_labelled(tmp_path):
    return {row["id"]: row for row in pq.read_table(tmp_path / "labels/labelled.parquet").to_pylist()}


def read_rejects(tmp_path):
    return [json.loads(line) for line in (tmp_path / "labels/rejects.jsonl").read_text().split("\n") if line]


def spans_of(row):
    return [(span["start"], span["end"], span["label"]) for span in row["gold"]]


@pytest.mark.parametrize("name", ["doccano.jsonl", "selection.conll"])
def test_suggestions_that_nobody_changed_come_back(name, selected, documents, import_labels, tmp_path):
    report, printed = import_labels(selected / "selection" / name)
    assert (report["counts"]["labelled"], report["counts"]["unchanged"], report["counts"]["unlabelled"]) == (6, 6, 0)
    assert "labelled     6 of 6 documents" in printed.out
    labelled = read_labelled(tmp_path)
    for id_, document in documents.items():
        expected = [(each["start"], each["end"], each["label"]) for each in document["suggestions"]]
        assert spans_of(labelled[id_]) == expected
        assert labelled[id_]["text"] == document["text"]


def test_what_went_out_and_was_not_labelled_is_no_answer(selected, import_labels, tmp_path):
    paths = [selected / "selection/label-studio.json", selected / "selection/prodigy.jsonl"]
    report, printed = import_labels(*paths, status=2)
    assert (report["counts"]["labelled"], report["counts"]["unlabelled"]) == (0, 6)
    assert "expected labelled documents of the selection, found none" in printed.err
    assert not list((tmp_path / "labels").glob("*.conll"))


def test_files_to_train_on_hold_words_and_entities(documents, answer, import_labels, tmp_path):
    spans = {"d0": [(2, 6, "PER"), (17, 23, "LOC")], "d1": [(10, 16, "LOC"), (23, 27, "PER")], "d3": []}
    report, _ = import_labels(answer("eva", *spans.items()))
    paths = sorted(tmp_path.glob("labels/*.conll"))
    files = read_files([str(path) for path in paths], flag="--train")
    found = {}
    for file, path in zip(files, paths, strict=True):
        for sentence in file.sentences:
            entities = [(" ".join(sentence.words[a:b]), label) for a, b, label in sentence.spans]
            found.setdefault(path.name, Counter()).update(entities)
    entities = Counter(
        (documents[id_]["text"][start:end], label) for id_, own in spans.items() for start, end, label in own
    )
    assert sum(found.values(), Counter()) == entities
    chance = {id_ for id_ in spans if documents[id_]["chosen_by"] == "random"}
    expected = {"random.conll": len(chance), "train.conll": 3 - len(chance)}
    n_documents = {path.name: path.read_text().count("# newdoc id = ") for path in paths}
    assert n_documents == {name: number for name, number in expected.items() if number}
    assert report["labels"] == {"LOC": 2, "PER": 2}


def test_who_when_which_and_how_are_kept(selected, documents, answer, import_labels, tmp_path):
    path = answer("eva", ("d0", [(2, 6, "PER")]), stamp=1_700_000_000)
    report, _ = import_labels(path)
    (row,) = read_labelled(tmp_path).values()
    assert (row["annotators"], row["labelled_at"], row["tools"]) == (["eva"], "2023-11-14T22:13:20+00:00", ["prodigy"])
    assert f"run={row['run']}" == run_folder(selected / "run").name
    assert (row["chosen_by"], row["rank"]) == (documents["d0"]["chosen_by"], documents["d0"]["rank"])
    assert (row["rule"], row["source"], row["row"]) == ("single", str(selected / "in.jsonl"), 0)
    assert (row["selection"], row["model"]) == (report["selection"]["digest"], report["selection"]["model"])
    (answered,) = pq.read_table(tmp_path / "labels/answers.parquet").to_pylist()
    assert (answered["annotator"], answered["file"], spans_of(answered)) == ("eva", str(path), [(2, 6, "PER")])
    (file,) = report["files"]
    assert (file["source"], file["format"], file["answers"]) == (str(path), "prodigy", 1)


@pytest.mark.parametrize(
    ("rule", "spans", "rules"),
    [
        ("first", [(0, 3, "PER"), (4, 10, "LOC"), (11, 15, "PER")], {"agreed": 1, "first": 1}),
        ("majority", [(0, 3, "PER"), (11, 15, "PER")], {"agreed": 1, "majority": 1}),
        ("drop", None, {"agreed": 1}),
    ],
)
def test_annotators_who_differ_are_measured_and_a_rule_decides(rule, spans, rules, answer, import_labels, tmp_path):
    paths = [
        answer("anna", ("d4", [(0, 3, "PER"), (4, 10, "LOC"), (11, 15, "PER")]), ("d3", []), stamp=200),
        answer("ben", ("d4", [(0, 3, "PER")]), ("d3", []), stamp=100),
        answer("carl", ("d4", [(0, 3, "PER"), (11, 15, "PER")]), ("d3", []), stamp=300),
    ]
    report, printed = import_labels(*paths, "--on-conflict", rule)
    labelled = read_labelled(tmp_path)
    assert (spans_of(labelled["d4"]) if "d4" in labelled else None) == spans
    assert report["rules"] == rules
    f1 = {tuple(each["annotators"]): (each["documents"], each["f1"]) for each in report["agreement"]}
    assert f1 == {("anna", "ben"): (2, 0.5), ("anna", "carl"): (2, 0.8), ("ben", "carl"): (2, pytest.approx(2 / 3))}
    assert "agreement    anna and ben: F1 0.500" in printed.out
    assert len(pq.read_table(tmp_path / "labels/answers.parquet")) == 6
    rejects = read_rejects(tmp_path)
    assert [reject["reason"] for reject in rejects] == (["conflict"] if rule == "drop" else [])


def test_the_first_answer_is_that_of_the_file_that_is_named_first(answer, import_labels, tmp_path):
    anna, zoe = answer("anna", ("d4", [(0, 3, "PER")])), answer("zoe", ("d4", [(4, 10, "LOC")]))
    import_labels(zoe, anna, "--on-conflict", "first")
    assert spans_of(read_labelled(tmp_path)["d4"]) == [(4, 10, "LOC")]
    import_labels(tmp_path / "anna*", zoe, "--on-conflict", "first")
    assert spans_of(read_labelled(tmp_path)["d4"]) == [(0, 3, "PER")]


def test_what_is_refused_is_told_with_the_reason_and_not_the_text(answer, documents, import_labels, tmp_path):
    path = answer("eva", ("d2", [(0, 4, "PERSON")]), ("d4", [(0, 5, "PER"), (4, 10, "LOC")]), ("d3", []))
    stranger = tmp_path / "ben.jsonl"
    stranger.write_text(json.dumps({"text": "Secret Anna", "label": [[0, 6, "PER"]]}) + "\n")
    report, printed = import_labels(path, stranger)
    assert report["refused"] == {"overlap": 1, "unknown_document": 1, "unknown_label": 1}
    assert "refused      1 overlap, 1 unknown_document, 1 unknown_label" in printed.out
    assert f"{path}, record 2: expected entities that do not overlap, found 1 that do" in printed.out
    rejects = read_rejects(tmp_path)
    assert [(reject["reason"], reject["place"]) for reject in rejects] == [
        ("unknown_label", "record 1"),
        ("overlap", "record 2"),
        ("unknown_document", "record 1"),
    ]
    assert rejects[0]["digest"] == documents["d2"]["digest"]
    assert "Secret" not in (tmp_path / "labels/rejects.jsonl").read_text() + printed.out + printed.err
    assert report["counts"]["unlabelled"] == 5


def test_labels_beyond_those_of_the_model_can_be_let_in(answer, import_labels):
    path = answer("eva", ("d2", [(0, 4, "PERSON")]))
    report, _ = import_labels(path, "--labels", "PERSON", "LOC")
    assert report["labels"] == {"PERSON": 1}


def test_a_file_that_is_read_as_another_format_is_told(selected, import_labels):
    path = selected / "selection/doccano.jsonl"
    _, printed = import_labels(path, "--format", "prodigy", status=2)
    assert printed.err.endswith(f"{str(path)!r} looks like doccano, not prodigy: leave --format out\n")


def test_skipped_documents_are_counted(answer, import_labels, tmp_path):
    first, other = answer("eva", ("d2", [])), answer("ben", ("d3", []), answered="ignore")
    report, printed = import_labels(first, other)
    assert (report["counts"]["labelled"], report["counts"]["skipped"], report["counts"]["unlabelled"]) == (1, 1, 5)
    assert "1 skipped" in printed.out


def test_offsets_that_look_shifted_are_remarked(documents, import_labels, tmp_path):
    record = {"text": documents["d0"]["text"], "label": [[3, 7, "PER"], [18, 24, "LOC"]]}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    report, printed = import_labels(tmp_path / "a.jsonl", "--offset-unit", "codepoint")
    assert report["counts"]["inside_words"] == 2
    assert "set --offset-unit" in printed.err
    report, printed = import_labels(tmp_path / "a.jsonl")
    assert report["counts"]["inside_words"] == 0
    assert printed.err == ""


def test_importing_again_leaves_nothing_of_before(documents, answer, import_labels, tmp_path):
    chance = next(id_ for id_, document in documents.items() if document["chosen_by"] == "random")
    chosen = next(id_ for id_, document in documents.items() if document["chosen_by"] != "random")
    import_labels(answer("eva", (chance, []), (chosen, [])))
    assert {path.name for path in tmp_path.glob("labels/*.conll")} == {"random.conll", "train.conll"}
    import_labels(answer("eva", (chosen, [])))
    assert {path.name for path in tmp_path.glob("labels/*.conll")} == {"train.conll"}


def test_an_import_without_labels_leaves_those_of_before(selected, documents, answer, import_labels, tmp_path):
    def read():
        return {path.name: path.read_bytes() for path in tmp_path.glob("labels/*") if path.name != "rejects.jsonl"}

    import_labels(answer("eva", (next(iter(documents)), [])))
    before = read()
    _, printed = import_labels(selected / "selection/prodigy.jsonl", status=2)
    assert "to train on" not in printed.out
    assert "nobody has answered yet, or all were skipped" in printed.err
    assert "train.conll" in before or "random.conll" in before
    assert read() == before


def test_labelled_documents_are_gold_for_evaluate(selected, answer, import_labels, tmp_path):
    import_labels(answer("eva", ("d2", [(0, 4, "PER")]), ("d3", [])))
    words = ["--gold", tmp_path / "labels/labelled.parquet", "--predicted", selected / "run"]
    words += ["--output", tmp_path / "scores", "--replicates", "10", "--no-progress"]
    assert main(["evaluate", *map(str, words)]) == 0
    counts = json.loads((tmp_path / "scores/report.json").read_text())["counts"]
    assert counts["documents"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.jsonl"], "check FILE"),
        ([], "expected FILE, found none"),
        (["{empty}"], "expected a file of"),
    ],
)
def test_wrong_input_is_refused_in_one_line(arguments, words, import_labels, tmp_path):
    (tmp_path / "empty.json").write_text("[]")
    arguments = [argument.format(empty=tmp_path / "empty.json") for argument in arguments]
    _, printed = import_labels(*arguments, status=2)
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_a_folder_without_a_selection_is_refused(tmp_path, capsys):
    words = ["import", "a.jsonl", "--selection", tmp_path, "--output", tmp_path / "x"]
    assert main(list(map(str, words))) == 2
    assert "expected the output of spanmill select as --selection, found none" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 9}'])
def test_a_damaged_selection_is_refused(content, tmp_path, capsys):
    (tmp_path / "selection.json").write_text(content)
    (tmp_path / "documents.jsonl").write_text("")
    words = ["import", "a.jsonl", "--selection", tmp_path, "--output", tmp_path / "x"]
    assert main(list(map(str, words))) == 2
    printed = capsys.readouterr().err
    assert "expected a selection" in printed
    assert printed.count("\n") == 1
