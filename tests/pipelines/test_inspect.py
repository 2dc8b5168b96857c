import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import WORDS, read_rows, run_folder

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"\[([^\[\]]*)\]\(([A-Z]+) (\d\.\d\d)(?:, ([^)]*))?\)")


@pytest.fixture(scope="module")
def finished(tiny_checkpoint, tmp_path_factory):
    """A folder with a corpus and a finished run of some slices; only to be read."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "corpus").mkdir()
    for name in "abc":
        lines = [" ".join(WORDS[(at * 5 + k) % len(WORDS)] for k in range(at % 30)) for at in range(40)]
        (folder / f"corpus/{name}.txt").write_text("\n".join(lines) + "\n")
    words = ["--input", folder / "corpus", "--output", folder / "out", "--model", tiny_checkpoint, "--slice-size=1200"]
    assert main(["annotate", *map(str, words), "--no-progress"]) == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run, under `out`, to be harmed."""
    shutil.copytree(finished / "out", tmp_path / "out")
    return run_folder(tmp_path / "out")


@pytest.fixture
def inspect(tmp_path, capsys):
    """Runs the job, on the run under `out` unless another is given, and returns what it printed."""

    def run(*arguments, on=None, status=0):
        capsys.readouterr()
        assert main(["inspect", str(on or tmp_path / "out"), *map(str, arguments)]) == status
        return capsys.readouterr()

    return run


def read_shown(printed) -> dict[str, str]:
    """Id to body of every document that was printed where there is no colour."""
    blocks = re.split(r"^# ", printed.out, flags=re.MULTILINE)[1:]
    return {block.partition("\n")[0]: block.split("\n", 2)[2] for block in blocks}


def read_marks(printed) -> list[tuple[str, str, str, str]]:
    """Id, text, label and score of every entity that was printed."""
    shown = read_shown(printed)
    return [(id_, text, label, score) for id_, body in shown.items() for text, label, score, _ in MARK.findall(body)]


def expected_marks(output: Path) -> list[tuple[str, str, str, str]]:
    return [
        (row["id"], entity["text"], entity["label"], f"{entity['score']:.2f}")
        for row in read_rows(output)
        for name in ("entities", "below")
        for entity in row.get(name, ())
    ]


def find_bound(entities) -> float:
    """A score that a third of the entities are under, none of them near it."""
    scores = sorted(entity["score"] for entity in entities)
    at = len(scores) // 3
    return round((scores[at] + next(score for score in scores if score > scores[at])) / 2, 6)


def write_lines(path: Path, texts, **columns) -> Path:
    rows = [
        {"id": f"doc-{at:03}", "text": text, **{name: values[at] for name, values in columns.items()}}
        for at, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_inspect_shows_every_document_in_the_order_of_the_run_with_its_text_and_entities(finished, inspect):
    printed = inspect("--limit=0", on=finished / "out")
    corpus, rows = finished / "corpus", read_rows(finished / "out")
    texts = {f"{path}#{at}": line for path in corpus.iterdir() for at, line in enumerate(path.read_text().splitlines())}

    assert list(read_shown(printed)) == [row["id"] for row in rows]
    assert read_marks(printed) == expected_marks(finished / "out") != []
    assert {id_: MARK.sub(r"\1", body).rstrip("\n") for id_, body in read_shown(printed).items()} == texts
    assert f"{corpus / 'b.txt'}, row 39\n" in printed.out
    assert printed.err == ""


def test_inspect_shows_twenty_documents_unless_told_otherwise(finished, inspect):
    assert len(read_shown(inspect(on=finished / "out"))) == 20
    printed = inspect("--limit=3", on=finished / "out")
    assert len(read_shown(printed)) == 3
    assert printed.err == "spanmill: stopped after 3 documents; --limit 0 shows all\n"


def test_inspect_takes_the_folder_of_a_run_as_well(finished, inspect):
    folder = run_folder(finished / "out")
    assert inspect(on=folder).out == inspect(on=f"{folder}/").out == inspect(on=finished / "out").out


def test_inspect_names_the_runs_of_a_folder_that_holds_several(copied, inspect):
    shutil.copytree(copied, copied.with_name("run=other"))
    error = inspect(status=2).err
    assert f"found 2: {copied.name!r}, 'run=other'; name one\n" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing"], "expected a run of spanmill annotate"),
        (["{run}/corpus/a.txt"], "expected a run of spanmill annotate"),
        (["https://example.invalid/run=1"], "expected a run of spanmill annotate"),
        (["nosuch://bucket/run=1"], "nosuch"),
        ([], "expected RUN, found none"),
        ([""], "expected RUN, found none; name one, or labelled files with --labels"),
        (["{run}/out", "{run}/out"], "expected a flag"),
        (["{run}/out", "--below=1.5"], "--below between 0 and 1"),
        (["{run}/out", "--limit=-1"], "--limit of 0 or more"),
        (["{run}/out", "--label=DOG"], "expected --label of ['LOC', 'ORG', 'PER'], found 'DOG'"),
        (
            ["{run}/out", "--source=c.text"],
            "expected --source to be an input file of this run, found 'c.text'; did you mean 'c.txt'?",
        ),
        (["{run}/out", "--html={tmp}/no/page.html"], "cannot write --html"),
        (["{run}/out", "--lable=PER"], "did you mean '--label'?"),
    ],
)
def test_inspect_answers_wrong_options_with_one_line(finished, tmp_path, capsys, arguments, message):
    assert main(["inspect", *(word.format(tmp=tmp_path, run=finished) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_inspect_takes_its_run_from_a_file_of_options(finished, inspect, tmp_path, capsys):
    expected = inspect("--limit=2", on=finished / "out").out
    (tmp_path / "job.toml").write_text(f"run = {json.dumps(str(finished / 'out'))}\nlimit = 2\n")
    assert main(["inspect", "--config", str(tmp_path / "job.toml")]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("labels", [["PER"], ["LOC"], ["PER", "LOC"]])
def test_inspect_chooses_documents_with_an_entity_of_any_of_the_labels(finished, inspect, labels):
    rows = read_rows(finished / "out")
    wanted = [row["id"] for row in rows if {entity["label"] for entity in row["entities"]} & {*labels}]
    assert list(read_shown(inspect("--limit=0", "--label", *labels, on=finished / "out"))) == wanted
    assert 0 < len(wanted) < len(rows)


def test_inspect_chooses_documents_with_low_scores_and_lets_those_stand_out(finished, inspect):
    rows = read_rows(finished / "out")
    bound = find_bound([entity for row in rows for entity in row["entities"]])
    wanted = [row["id"] for row in rows if any(entity["score"] < bound for entity in row["entities"])]
    printed = inspect("--limit=0", f"--below={bound}", on=finished / "out")
    low = [entity["score"] < bound for row in rows if row["id"] in wanted for entity in row["entities"]]
    notes = [note for body in read_shown(printed).values() for *_, note in MARK.findall(body)]
    assert list(read_shown(printed)) == wanted
    assert notes == [f"under {bound:g}" if is_low else "" for is_low in low]
    assert 0 < sum(low) < len(low)


def test_inspect_wants_label_and_score_of_the_same_entity(finished, inspect):
    rows = read_rows(finished / "out")
    n_apart = 0
    for label in ("LOC", "ORG", "PER"):
        bound = find_bound([entity for row in rows for entity in row["entities"]])
        labelled = {row["id"] for row in rows if any(e["label"] == label for e in row["entities"])}
        low = {row["id"] for row in rows if any(e["score"] < bound for e in row["entities"])}
        both = [row["id"] for row in rows if any(e["label"] == label and e["score"] < bound for e in row["entities"])]
        printed = inspect("--limit=0", "--label", label, f"--below={bound}", on=finished / "out")
        assert list(read_shown(printed)) == both
        n_apart += len((labelled & low) - set(both))
    assert n_apart > 0


def test_inspect_says_when_no_document_is_like_that(finished, inspect):
    printed = inspect("--below=0.001", on=finished / "out")
    assert (printed.out, printed.err) == ("", "spanmill: no documents with such entities\n")


def test_inspect_shows_all_documents_with_the_ids_it_is_given(finished, inspect):
    ids = [row["id"] for row in read_rows(finished / "out")][::3]
    assert len(ids) > 20
    assert list(read_shown(inspect("--id", *ids, on=finished / "out"))) == ids
    assert list(read_shown(inspect("--id", ids[5], "--id", ids[2], on=finished / "out"))) == [ids[2], ids[5]]


def test_inspect_names_an_id_that_is_not_there_and_the_nearest_after_what_it_found(finished, inspect):
    ids = [row["id"] for row in read_rows(finished / "out")]
    printed = inspect("--id", ids[7], ids[7] + "x", "?", on=finished / "out", status=2)
    assert list(read_shown(printed)) == [ids[7]]
    assert printed.err == (
        "spanmill: expected --id of the 120 documents of this run, "
        f"found none called {ids[7] + 'x'!r} (the nearest is {ids[7]!r}), '?'\n"
    )


def test_inspect_reads_no_further_than_it_must(copied, inspect):
    first, *rest = sorted(copied.glob("data/*"))
    ids = [row["id"] for row in pq.read_table(first).to_pylist()]
    for path in rest:
        path.unlink()
    assert list(read_shown(inspect(f"--limit={len(ids)}"))) == ids
    assert list(read_shown(inspect("--id", ids[-1], ids[0]))) == [ids[0], ids[-1]]
    assert "lost 'data/" in inspect("--limit=0", status=1).err


def test_inspect_refuses_a_file_that_another_slice_has_written(copied, inspect):
    one, *others = sorted(copied.glob("data/*"))
    other = next(path for path in others if path.stat().st_size != one.stat().st_size)
    one.write_bytes(other.read_bytes())
    told = inspect("--limit=0", status=1).err
    assert f"cannot read 'data/{one.name}', which a run wrote: expected " in told
    assert "spanmill verify --repair" in told


def test_inspect_chooses_documents_of_input_files(copied, finished, inspect):
    corpus = finished / "corpus"
    next(copied.glob("data/part-00000*")).unlink()
    assert list(read_shown(inspect("--limit=2", "--source=b.txt"))) == [f"{corpus}/b.txt#0", f"{corpus}/b.txt#1"]
    assert len(read_shown(inspect("--limit=0", "--source", corpus / "b.txt", "corpus/c.txt"))) == 80


def test_inspect_reads_a_run_in_progress_and_says_how_far_it_is(copied, inspect):
    slices = sorted(copied.glob("data/*"))
    left = pq.read_metadata(slices[1]).num_rows
    for path in (copied / "_SUCCESS", copied / "_MANIFEST.json", slices[1]):
        path.unlink()
    (receipt,) = [path for path in copied.glob("_commits/*") if slices[1].name in path.read_text()]
    receipt.unlink()
    printed = inspect("--limit=0")
    assert len(read_shown(printed)) == 120 - left
    said = f"spanmill: {len(slices) - 1} of {len(slices)} slices are annotated so far; only those are read\n"
    assert printed.err == said
    assert f"of the {120 - left} documents" in inspect("--id=x", status=2).err


def test_inspect_reads_what_is_committed_but_not_published_and_changes_nothing(copied, finished, inspect):
    for path in copied.glob("_commits/*"):
        (file,) = json.loads(path.read_text())["files"]
        shutil.move(copied / file["final"], copied / file["attempt"])
    before = sorted(copied.rglob("*"))
    assert inspect("--limit=0").out == inspect("--limit=0", on=finished / "out").out
    assert sorted(copied.rglob("*")) == before


@pytest.mark.parametrize(
    ("output_format", "layout", "unit"),
    [
        ("parquet", "document", "utf8"),
        ("parquet", "flat", "utf16"),
        ("jsonl", "document", "utf16"),
        ("jsonl", "flat", "utf8"),
    ],
)
def test_inspect_shows_the_same_for_every_format_layout_and_unit(
    annotate, inspect, tmp_path, output_format, layout, unit
):
    texts = ["Zoë 😀 Anna lives in Berlin", "", "é Bob knows 😀 Anna"] * 12
    source = write_lines(tmp_path / "in.jsonl", texts)
    common = ["--keep-below", "--threshold=0.45", "--slice-size=400"]
    annotate(*common, source=source, output="out")
    annotate(
        *common,
        f"--output-format={output_format}",
        f"--layout={layout}",
        f"--offset-unit={unit}",
        source=source,
        output="other",
    )
    expected, found = (read_shown(inspect("--limit=0", on=tmp_path / name)) for name in ("out", "other"))
    assert any("under its threshold" in body for body in expected.values())
    if layout == "flat":
        expected = {id_: body for id_, body in expected.items() if MARK.search(body)}
    assert found == expected != {}


def test_inspect_says_which_documents_the_flat_layout_lacks(annotate, inspect, corpus):
    annotate("--layout=flat", source=corpus)
    assert "documents without entities are not among them" in inspect("--limit=0").err
    assert "not among them" not in inspect("--limit=0", "--label=PER").err
    assert "documents without entities: in the flat layout they have no row" in inspect("--id=x", status=2).err


def test_inspect_says_that_documents_could_not_be_annotated_when_an_id_is_not_there(annotate, inspect, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"Anna\n\xff\nBerlin\n")
    annotate("--max-failed-fraction=1", source=tmp_path / "in.txt")
    error = inspect("--id", f"{tmp_path}/in.txt#1", status=2).err
    assert "of the 2 documents" in error
    assert "1 more could not be annotated" in error


def test_inspect_looks_among_entities_under_their_threshold_too(annotate, inspect, corpus, tmp_path):
    annotate("--keep-below", "--threshold=1", source=corpus)
    assert read_marks(inspect("--limit=0", "--below=1")) == expected_marks(tmp_path / "out") != []


def test_inspect_compares_with_gold(annotate, inspect, tmp_path):
    gold = [[{"start": 0, "end": 4, "label": "PER"}, {"start": 14, "end": 20, "label": "DATE"}], [], None]
    source = write_lines(tmp_path / "in.jsonl", ["Anna lives in Berlin"] * 3, gold=gold)
    annotate("--gold-column=gold", source=source)
    labelled, empty, unlabelled = read_shown(inspect()).values()
    assert "{Berlin}(DATE missed)" in labelled
    entities = read_rows(tmp_path / "out")[0]["entities"]
    assert empty.count("not in gold") == len(entities) > 0
    assert "not in gold" not in unlabelled
    assert "missed" not in unlabelled


def test_inspect_shows_entities_without_their_text_when_the_input_is_gone_or_changed(
    annotate, inspect, corpus, tmp_path
):
    annotate(source=corpus)
    (corpus / "a.txt").unlink()
    (corpus / "b.txt").write_text("other\n")
    printed = inspect("--limit=0")
    shown = read_shown(printed)
    assert read_marks(printed) == expected_marks(tmp_path / "out")
    for id_, body in shown.items():
        assert ("the text is not available" in body) == ("c.txt" not in id_)
    assert "cannot find" in shown[f"{corpus}/a.txt#7"]
    assert "found 6 bytes" in shown[f"{corpus}/b.txt#7"]
    entity = next(entity for row in read_rows(tmp_path / "out") for entity in row["entities"])
    assert f" {entity['start']}–{entity['end']}" in printed.out


def test_inspect_makes_hostile_text_harmless(annotate, inspect, tmp_path, monkeypatch):
    text = "\x1b]0;owned\x07 [red]Anna[/red] lives \x9b31m in\u202e Berlin [/]\r\nnext\ttab \\[b]"
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": text, "id": "\x1b[2J[bold]id\nline"}) + "\n")
    annotate("--threshold=1", source=tmp_path / "in.jsonl")
    printed = inspect()
    assert "# \ufffd[2J[bold]id\ufffdline\n" in printed.out
    lines = "\ufffd]0;owned\ufffd [red]Anna[/red] lives \ufffd31m in\ufffd Berlin [/]\nnext    tab \\[b]\n\n"
    assert printed.out.endswith(f"row 0\n{lines}")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", re.sub(r"\x1b\[[\d;]*m", "", inspect().out))


def test_inspect_is_in_colour_on_a_terminal_only(finished, inspect, monkeypatch):
    assert "\x1b" not in inspect(on=finished / "out").out
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}.items():
        monkeypatch.setenv(name, value)
    coloured = inspect(on=finished / "out").out
    assert "\x1b[" in coloured
    assert "](" not in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert MARK.search(re.sub(r"\x1b\[[\d;]*m", "", inspect(on=finished / "out").out))


def test_inspect_keeps_the_lines_of_a_text_when_nobody_looks(annotate, inspect, tmp_path):
    annotate(source=write_lines(tmp_path / "in.jsonl", ["nobody knows " * 40 + "\nsecond line"]))
    (body,) = read_shown(inspect()).values()
    assert len(MARK.sub(r"\1", body).splitlines()[0]) > 500


def test_inspect_shortens_a_long_document_around_what_is_looked_for(annotate, inspect, tmp_path):
    text = "nobody knows while " * 200 + "Anna" + " nobody knows while" * 200
    table = pa.table({"id": ["long"], "text": [text]})
    pq.write_table(table, tmp_path / "in.parquet")
    annotate(source=tmp_path / "in.parquet")
    (row,) = read_rows(tmp_path / "out")
    target = max(row["entities"], key=lambda entity: entity["start"])
    bound = target["score"] + 1e-6
    printed = inspect("--label", target["label"], f"--below={bound}", "--id=long")
    assert "[…]" in printed.out
    assert len(printed.out) < len(text)
    assert any(note for *_, note in MARK.findall(printed.out))


def test_inspect_writes_a_page_that_stands_alone(annotate, inspect, tmp_path):
    texts = ["Anna lives in Berlin <script>alert(1)</script>", "Bob & Anna"]
    annotate(source=write_lines(tmp_path / "in.jsonl", texts))
    printed = inspect("--html", tmp_path / "page.html", "--limit=1")
    page = (tmp_path / "page.html").read_text()
    assert printed.out == f"1 document in {tmp_path / 'page.html'}\n"
    assert "doc-000" in page
    assert "doc-001" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_inspect_ends_quietly_when_its_reader_goes_away(finished):
    command = [sys.executable, "-m", "pipelines", "inspect", str(finished / "out"), "--limit=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_inspect_loads_neither_a_model_nor_a_runner(finished, tmp_path):
    program = (
        "import sys; from pipelines.__main__ import main; main(sys.argv[1:]);"
        "print('loaded:', *sorted(sys.modules.keys() & {'apache_beam', 'matplotlib', 'torch', 'transformers'}))"
    )
    for more in ([], ["--html", str(tmp_path / "page.html")]):
        done = subprocess.run(
            [sys.executable, "-c", program, "inspect", str(finished / "out"), *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.stdout.splitlines()[-1] == "loaded:"
