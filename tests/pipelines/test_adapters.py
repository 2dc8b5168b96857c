"""`spanmill annotate --adapter`: several adapters of one base in one run, and its columns in the other jobs."""

import json

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_rows, run_folder
from tests.training.recipes import make_encoder, make_labelled_file

TEXTS = [f"{person} went to {place} ." for person in ("anna", "otto", "mia") for place in ("rome", "oslo", "lima")]


def _train(base, train, dev, output, spec, *more):
    words = ["--train", train, "--dev", dev, "--base", base, "--output", output, "--method", spec, *more]
    words += ["--epochs", "6", "--batch-size", "8", "--max-tokens", "24", "--learning-rate", "2e-2"]
    assert main(["train", *map(str, words)]) == 0
    return output


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two adapters of one base with labels of their own, and one of another base."""
    folder = tmp_path_factory.mktemp("adapters")
    train = make_labelled_file(folder / "train.conll", n_sentences=54)
    dev = make_labelled_file(folder / "dev.conll", n_sentences=9, shift=1)
    base, other = make_encoder(folder / "base"), make_encoder(folder / "other", seed=1)
    (folder / "texts.jsonl").write_text("".join(json.dumps({"id": t, "text": t}) + "\n" for t in TEXTS))
    _train(base, train, dev, folder / "people", "lora:rank=4", "--map", "person=PER", "location=O")
    _train(base, train, dev, folder / "places", "adapter:size=8", "--map", "person=O", "location=LOC")
    _train(other, train, dev, folder / "strange", "bitfit")
    return folder


def _annotate(adapters, output, *more, status=0):
    words = ["--input", adapters / "texts.jsonl", "--output", output, "--no-progress", "--max-restarts", "0", *more]
    assert main(["annotate", *map(str, words)]) == status
    return output


def _found(rows, column):
    return [[(e["start"], e["end"], e["label"], round(e["score"], 4)) for e in row[column]] for row in rows]


def test_each_adapter_has_a_column_with_what_it_finds_alone(adapters, tmp_path):
    both = _annotate(adapters, tmp_path / "both", "--adapter", adapters / "people", f"where={adapters / 'places'}")
    rows = read_rows(both)
    assert len(rows) == len(TEXTS)
    for column, name in (("entities_people", "people"), ("entities_where", "places")):
        alone = read_rows(_annotate(adapters, tmp_path / name, "--model", adapters / name))
        assert _found(rows, column) == _found(alone, "entities")
        assert any(_found(rows, column))
    report = json.loads((run_folder(both) / "report" / "report.json").read_text())
    assert {label.partition("/")[0] for label in report["entities_by_label"]} == {"people", "where"}


def test_a_single_adapter_keeps_its_name(adapters, tmp_path):
    alone = read_rows(_annotate(adapters, tmp_path / "one", "--adapter", adapters / "people"))
    unnamed = read_rows(_annotate(adapters, tmp_path / "unnamed", "--model", adapters / "people"))
    assert _found(alone, "entities_people") == _found(unnamed, "entities")


def test_the_flat_layout_names_the_adapter_of_each_entity(adapters, tmp_path):
    adapter = ("--adapter", adapters / "people", adapters / "places")
    rows = read_rows(_annotate(adapters, tmp_path / "flat", *adapter, "--layout", "flat"))
    assert {(row["tagger"], row["label"]) for row in rows} == {("people", "PER"), ("places", "LOC")}


@pytest.mark.parametrize("layout", [("--output-format", "parquet"), ("--output-format", "jsonl")])
def test_runs_of_several_are_evaluated_verified_and_inspected_like_others(adapters, tmp_path, layout, capsys):
    adapter = ("--adapter", adapters / "people", adapters / "places")
    output = _annotate(adapters, tmp_path / "both", *adapter, *layout)
    gold = tmp_path / "gold.jsonl"
    with gold.open("w") as lines:
        for text in TEXTS:
            spans = [{"start": 0, "end": text.index(" "), "label": "people/PER"}]
            lines.write(json.dumps({"id": text, "text": text, "gold": spans}) + "\n")
    words = ["--gold", gold, "--gold-column", "gold", "--predicted", output, "--output", tmp_path / "scores"]
    assert main(["evaluate", *map(str, words), "--no-progress"]) == 0
    report = json.loads((tmp_path / "scores" / "report.json").read_text())
    labels = report["exact"]["default"]["labels"]
    assert {row["label"] for row in labels} >= {"people/PER"} if isinstance(labels, list) else "people/PER" in labels
    assert main(["verify", str(run_folder(output))]) == 0
    capsys.readouterr()
    assert main(["inspect", str(run_folder(output)), "--limit", "2"]) == 0
    assert "people/PER" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("people", "strange"), "expected --adapter with adapters of one base, found bases"),
        (("people", "people"), "expected --adapter with different names, found ['people'] twice"),
        (("people", "a/b=places"), "expected a name of letters, digits, _, . or -"),
    ],
)
def test_adapters_that_do_not_go_together_are_refused(adapters, tmp_path, words, message, capsys):
    named = [word.replace("=", f"={adapters}/") if "=" in word else adapters / word for word in words]
    _annotate(adapters, tmp_path / "out", "--adapter", *named, status=2)
    assert message in capsys.readouterr().err


def test_a_model_and_adapters_are_not_both_taken(adapters, tmp_path, capsys):
    _annotate(adapters, tmp_path / "out", "--model", adapters / "base", "--adapter", adapters / "people", status=2)
    assert "expected --model or --adapter, found both" in capsys.readouterr().err
