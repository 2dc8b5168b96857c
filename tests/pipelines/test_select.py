"""The select job: a run in, documents to label out, the same ones for the same question."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from tests.conftest import write_checkpoint
from tests.pipelines.conftest import WORDS, read_rows, run_folder, snapshot

IN_THIS_PROCESS = ("--no-progress", "--max-restarts", "0")


@pytest.fixture(scope="module")
def finished(tiny_checkpoint, tmp_path_factory):
    """A corpus of JSON lines, with an empty text, a long one and a text that is there twice; and two runs over it."""
    folder = tmp_path_factory.mktemp("finished")
    other = write_checkpoint(folder / "other", seed=1)
    texts = [" ".join(WORDS[(at * 5 + k * (1 + at % 3)) % len(WORDS)] for k in range(1 + at % 17)) for at in range(90)]
    texts += ["", "Anna " * 200, "👍 Anna lives in\r\nBerlin\tnow", "twice Anna", "twice Anna"]
    lines = [json.dumps({"id": f"d{at}", "text": text}) for at, text in enumerate(texts)]
    (folder / "corpus").mkdir()
    for name, part in (("a", lines[:50]), ("b", lines[50:])):
        (folder / f"corpus/{name}.jsonl").write_text("\n".join(part) + "\n")
    for name, model, slice_size in (("run", tiny_checkpoint, 1500), ("other_run", other, 100_000)):
        words = ["--input", folder / "corpus", "--output", folder / name, "--model", model]
        words += ["--slice-size", slice_size, "--keep-below", "--threshold", "0.5"]
        assert main(["annotate", *map(str, words), *IN_THIS_PROCESS]) == 0
    return folder


@pytest.fixture
def select(finished, tmp_path, capsys):
    """Runs the job and returns the documents that were chosen, or what was printed when it fails."""

    def run(*arguments, on="run", output="selection", status=0):
        capsys.readouterr()
        words = ["select", finished / on, "--output", tmp_path / output, "--no-progress", *arguments]
        assert main(list(map(str, words))) == status
        return read_documents(tmp_path / output) if status == 0 else capsys.readouterr().err

    return run


def read_documents(folder):
    return [json.loads(line) for line in (folder / "documents.jsonl").read_text().split("\n") if line]


def read_selection(folder):
    return json.loads((folder / "selection.json").read_text())


def values_of(row):
    return [1 - entity["score"] for entity in (*row["entities"], *row["below"])]


def rank_by_mean(rows, values):
    """Score and id of rows that may be chosen, by the mean of some values with one 0 added, the greatest first."""
    scored = {}
    for row in rows:
        if 0 < row["tokens"] <= 100 and (found := values(row)):
            scored.setdefault(row["digest"], (sum(found) / (len(found) + 1), row["id"]))
    return sorted(scored.values(), reverse=True)


def scores_of(documents):
    return [document["score"] for document in documents]


def test_uncertain_documents_come_first(select, finished, tmp_path):
    chosen = select("--by", "uncertainty", "--n", "12", "--random", "0", "--max-tokens", "100")
    expected = rank_by_mean(read_rows(finished / "run"), values_of)[:12]
    assert scores_of(chosen) == pytest.approx([score for score, _ in expected], abs=1e-6)
    assert {document["id"] for document in chosen} == {id_ for _, id_ in expected}
    assert [document["rank"] for document in chosen] == list(range(1, 13))
    assert {document["chosen_by"] for document in chosen} == {"uncertainty"}
    counts = read_selection(tmp_path / "selection")["counts"]
    assert (counts["documents"], counts["empty"], counts["too_long"], counts["eligible"]) == (95, 1, 1, 93)


def test_margin_looks_at_the_threshold_of_the_run(select, finished):
    def nearness(row):
        entities = (*row["entities"], *row["below"])
        return [1 - abs(entity["score"] - 0.5) / 0.5 for entity in entities]

    chosen = select("--by", "margin", "--n", "12", "--random", "0", "--max-tokens", "100")
    expected = rank_by_mean(read_rows(finished / "run"), nearness)[:12]
    assert scores_of(chosen) == pytest.approx([score for score, _ in expected], abs=1e-6)


def test_disagreement_compares_two_runs_however_they_are_cut(select, finished, tmp_path):
    def spans(row):
        return {(entity["start"], entity["end"], entity["label"]) for entity in row["entities"]}

    chosen = select("--by", "disagreement", "--other", finished / "other_run", "--n", "15", "--random", "0")
    rows, others = ({row["id"]: spans(row) for row in read_rows(finished / name)} for name in ("run", "other_run"))
    for document in chosen:
        ours, theirs = rows[document["id"]], others[document["id"]]
        assert document["score"] == pytest.approx(len(ours ^ theirs) / (len(ours | theirs) + 1), abs=1e-6)
    least = min(document["score"] for document in chosen)
    better = {
        id_ for id_ in rows if len(rows[id_] ^ others[id_]) / (len(rows[id_] | others[id_]) + 1) > least + 1e-6
    } - {"d91"}
    # Of the text that is there twice, one is enough.
    assert better - {"d94"} <= {document["id"] for document in chosen}
    settings = read_selection(tmp_path / "selection")["settings"]
    assert f"run={settings['other']}" == run_folder(finished / "other_run").name


def test_novelty_leaves_known_names_alone(select, finished, tmp_path):
    names = {entity["text"] for row in read_rows(finished / "run") for entity in row["entities"]}
    new = min(names)
    lines = []
    for name in sorted(names - {new}):
        lines += [f"{word}\t{'I' if at else 'B'}-PER" for at, word in enumerate(name.split())] + [""]
    (tmp_path / "known.conll").write_text("\n".join(lines) + "\n")
    chosen = select("--by", "novelty", "--known", tmp_path / "known.conll", "--n", "90", "--random", "0")
    assert chosen
    for document in chosen:
        assert new in {document["text"][each["start"] : each["end"]] for each in document["suggestions"]}
    assert read_selection(tmp_path / "selection")["settings"]["known"][0]["name"].endswith("known.conll")


def test_novelty_without_training_files_likes_what_is_rare_in_the_run(select, finished):
    rows = read_rows(finished / "run")
    counts = Counter(entity["text"].casefold() for row in rows for entity in row["entities"])
    chosen = select("--by", "novelty", "--n", "10", "--random", "0", "--max-tokens", "100")
    expected = rank_by_mean(rows, lambda row: [1 / counts[entity["text"].casefold()] for entity in row["entities"]])
    assert scores_of(chosen) == pytest.approx([score for score, _ in expected[:10]], abs=1e-6)


def test_novelty_without_training_files_says_what_it_looks_for(finished, tmp_path, capsys):
    words = ["select", finished / "run", "--by", "novelty", "--n", "5", "--random", "0", "--output", tmp_path / "novel"]
    assert main(list(map(str, words))) == 0
    assert "without --known, novelty looks for names that are rare in the run" in capsys.readouterr().err


def test_diverse_documents_have_different_words(select):
    chosen = select("--by", "diverse", "--n", "10", "--random", "0")
    assert len({frozenset(document["text"].split()) for document in chosen}) > 5
    assert all(0 < document["score"] <= 1 for document in chosen)
    assert len(select("--by", "diverse:among=uncertainty,pool=2", "--n", "5", output="among")) == 5


def test_mixed_takes_shares_without_doubles(select, finished):
    spec = "mixed:uncertainty=2,disagreement=1,diverse=1"
    chosen = select("--by", spec, "--n", "40", "--random", "0.2", "--other", finished / "other_run")
    ways = [document["chosen_by"] for document in chosen]
    assert {way: ways.count(way) for way in ways} == {"random": 8, "uncertainty": 16, "disagreement": 8, "diverse": 8}
    assert len({document["digest"] for document in chosen}) == 40
    # Every beginning has about the same mix, for those who do not come to the end.
    assert set(ways[:5]) == set(ways)


def test_what_chance_draws_does_not_depend_on_the_other_ways(select):
    drawn = [
        {
            document["id"]
            for document in select("--by", way, "--n", "40", output=way)
            if document["chosen_by"] == "random"
        }
        for way in ("uncertainty", "margin", "mixed")
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(drawn[0]) == 4


def test_all_documents_can_be_drawn_and_a_text_is_chosen_once(select, capsys):
    chosen = select("--random", "1", "--n", "500", "--max-tokens", "0")
    texts = [document["text"] for document in chosen]
    assert len(set(texts)) == len(texts)
    assert {"👍 Anna lives in\r\nBerlin\tnow", "twice Anna", "Anna " * 200} <= set(texts)
    assert "" not in texts
    assert "chose 93 of the 500 documents asked for" in capsys.readouterr().err


def test_chance_draws_its_share_of_what_there_is_where_more_is_asked_for(select):
    chosen = select("--by", "diverse", "--n", "500", "--max-tokens", "0")
    ways = [document["chosen_by"] for document in chosen]
    assert (ways.count("random"), len(ways)) == (10, 93)


def test_suggestions_are_the_kept_entities_in_code_points(select, finished):
    rows = {row["id"]: row for row in read_rows(finished / "run")}
    for document in select("--random", "1", "--n", "500"):
        found = [(each["start"], each["end"], each["label"]) for each in document["suggestions"]]
        entities = rows[document["id"]]["entities"]
        assert found == [(entity["start"], entity["end"], entity["label"]) for entity in entities]
        surfaces = [document["text"][start:end] for start, end, _ in found]
        assert surfaces == [entity["text"] for entity in entities]


def test_another_unit_of_offsets_gives_the_same_suggestions(select, finished, tiny_checkpoint):
    words = ["--input", finished / "corpus", "--output", finished / "utf16", "--model", tiny_checkpoint]
    words += ["--keep-below", "--threshold", "0.5", "--offset-unit", "utf16"]
    assert main(["annotate", *map(str, words), *IN_THIS_PROCESS]) == 0
    asked = ("--random", "1", "--n", "500")
    placed = [
        [(document["id"], [(each["start"], each["end"]) for each in document["suggestions"]]) for document in documents]
        for documents in (select(*asked, on="utf16", output="other"), select(*asked))
    ]
    assert placed[0] == placed[1]
    error = select("--by", "disagreement", "--other", finished / "utf16", output="x", status=2)
    assert "with the --offset-unit of RUN, codepoint, found utf16" in error


def test_the_same_command_twice_changes_nothing_and_another_is_refused(select, tmp_path):
    select("--n", "10")
    before = {name: content for name, (_, content) in snapshot(tmp_path / "selection").items()}
    select("--n", "10")
    assert {name: content for name, (_, content) in snapshot(tmp_path / "selection").items()} == before
    assert "choose another folder" in select("--n", "11", status=2)
    assert {name: content for name, (_, content) in snapshot(tmp_path / "selection").items()} == before


def test_a_seed_draws_others(select):
    a, b = (select("--random", "1", "--n", "20", "--seed", str(seed), output=f"s{seed}") for seed in (0, 1))
    assert {document["id"] for document in a} != {document["id"] for document in b}


def test_formats_that_are_asked_for_are_written(select, tmp_path):
    select("--n", "5")
    names = ["doccano.jsonl", "documents.jsonl", "label-studio.json", "label-studio.xml", "prodigy.jsonl"]
    written = sorted(path.name for path in (tmp_path / "selection").iterdir())
    assert written == [*names, "selection.conll", "selection.json"]
    select("--n", "5", "--formats", "conll", output="one")
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert written == ["documents.jsonl", "selection.conll", "selection.json"]


def test_the_selection_names_run_model_and_labels(select, finished, tmp_path):
    select("--n", "5")
    found = read_selection(tmp_path / "selection")
    (path, *_) = run_folder(finished / "run").glob("data/*.parquet")
    assert found["run"]["fingerprint"] == run_folder(finished / "run").name.removeprefix("run=")
    assert found["run"]["model"] == pq.read_table(path).column("model")[0].as_py()
    assert found["labels"] == ["LOC", "ORG", "PER"]


def test_a_run_of_several_taggers_suggests_the_entities_of_one(tmp_path, finished, tiny_checkpoint, capsys):
    words = ["--input", finished / "corpus", "--output", tmp_path / "panel"]
    # The one that is named first is not the first by alphabet.
    for name, model in (("two", finished / "other"), ("one", tiny_checkpoint)):
        words += ["--tagger", f"{name}=model:model={model}"]
    assert main(["annotate", *map(str, words), *IN_THIS_PROCESS]) == 0
    asked = ["select", tmp_path / "panel", "--by", "disagreement", "--n", "20", "--no-progress"]
    found = {}
    for name in ("one", "two"):
        assert main([*map(str, asked), "--tagger", name, "--output", str(tmp_path / name)]) == 0
        found[name] = read_documents(tmp_path / name)
        assert read_selection(tmp_path / name)["labels"] == ["LOC", "ORG", "PER"]
    rows = {row["id"]: row for row in read_rows(tmp_path / "panel")}
    for name, documents in found.items():
        for document in documents:
            own = [
                (entity["start"], entity["end"], entity["label"]) for entity in rows[document["id"]][f"entities_{name}"]
            ]
            assert [(each["start"], each["end"], each["label"]) for each in document["suggestions"]] == own
    assert main([*map(str, asked), "--output", str(tmp_path / "untold")]) == 0
    assert read_selection(tmp_path / "untold")["tagger"] == "two"
    capsys.readouterr()
    assert main([*map(str, asked), "--tagger", "three", "--output", str(tmp_path / "x")]) == 2
    assert "among the taggers of RUN, found ['two', 'one']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "uncertain"], "did you mean 'uncertainty'"),
        (["--by", "disagreement"], "expected --other RUN or a run of several taggers"),
        (["--by", "diverse:among=length"], "found 'length'"),
        (["--n", "0"], "--n of 1 or more"),
        (["--random", "1.5"], "--random between 0 and 1"),
        (["--max-tokens", "-1"], "--max-tokens of 0 or more"),
        (["--formats", "brat"], "--formats of"),
        (["--tagger", "x"], "found a run of one tagger"),
        (["--known", "none.conll"], "none.conll"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments, words, select, tmp_path):
    error = select(*arguments, status=2)
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "selection" / "selection.json").exists()


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["select", str(tmp_path), "--output", str(tmp_path / "x"), "--no-progress"]) == 2
    assert "expected a run of spanmill annotate as RUN" in capsys.readouterr().err


def test_a_corpus_of_nothing_that_may_be_chosen_is_refused(annotate, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("\nAnna lives in Berlin\n")
    annotate(source=tmp_path / "in.txt")
    words = ["select", str(tmp_path / "out"), "--output", str(tmp_path / "x"), "--no-progress", "--max-tokens", "3"]
    capsys.readouterr()
    assert main(words) == 2
    assert "choose from, found none: 1 empty, 1 too long (--max-tokens)" in capsys.readouterr().err


def test_texts_that_are_gone_are_told(annotate, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"Anna lives in {name}\nBob lives in {name}\n")
    annotate("--input", tmp_path / "b.txt", source=tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("another text\n")
    words = ["select", str(tmp_path / "out"), "--output", str(tmp_path / "x"), "--no-progress", "--random", "1"]
    assert main(words) == 0
    assert {document["source"] for document in read_documents(tmp_path / "x")} == {str(tmp_path / "b.txt")}
    assert "2 chosen but not to be read any more" in capsys.readouterr().out
