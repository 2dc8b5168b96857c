import json
import sys

import pytest
from transformers import AutoModelForTokenClassification, Trainer

from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from tests.training.recipes import make_encoder, make_labelled_file
from training.scores import micro_f1

MAP = ("--map", "person=PER", "location=LOC")
FAST = ("--epochs", "8", "--learning-rate", "5e-3", "--batch-size", "8", "--max-tokens", "32", "--patience", "8")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def files(tmp_path):
    for name, n_sentences, shift in (
        ("train.txt", 54, 0),
        ("dev.conll", 9, 1),
        ("more.conll", 6, 2),
        ("test.txt", 7, 3),
    ):
        make_labelled_file(tmp_path / name, n_sentences=n_sentences, shift=shift)
    return tmp_path


def _arguments(base, files, *more):
    paths = {
        flag: str(files / name) for flag, name in (("train", "train.txt"), ("dev", "dev.conll"), ("output", "out"))
    }
    return [
        "train",
        *(word for flag, path in paths.items() for word in (f"--{flag}", path)),
        "--base",
        str(base),
        *more,
    ]


def test_main_trains_and_writes_a_checkpoint(base, files, capsys):
    more = ("--dev", str(files / "more.conll"), "--test", str(files / "test.txt"), "--dtype", "float16")
    assert main(_arguments(base, files, *MAP, *FAST, *more)) == 0
    output = files / "out"
    names = {path.name for path in output.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names >= {"card.json", "README.md"}
    assert ".training" not in names

    card = CheckpointCard.from_json((output / "card.json").read_text(encoding="utf-8"))
    assert card.tags == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [(score.role, score.name.rpartition("/")[2]) for score in card.scores] == [
        ("dev", "dev.conll"),
        ("dev", "more.conll"),
        ("test", "test.txt"),
    ]
    assert all(micro_f1(score.after) > max(0.9, micro_f1(score.before)) for score in card.scores)
    assert card.data[0].entities == {"LOC": 54, "PER": 54}
    assert AutoModelForTokenClassification.from_pretrained(output).config.label2id["B-PER"] == 3

    printed = capsys.readouterr().out
    assert "test.txt (test)" in printed
    assert f"checkpoint: {output}" in printed


def test_main_leaves_a_report_of_what_training_did(base, files):
    assert main(_arguments(base, files, *FAST, "--epochs", "2", "--test", str(files / "test.txt"))) == 0
    report = json.loads((files / "out" / "report.json").read_text(encoding="utf-8"))
    card = CheckpointCard.from_json((files / "out" / "card.json").read_text(encoding="utf-8"))
    assert [(row["step"], row["epoch"]) for row in report["history"]] == [(7, 1.0), (14, 2.0)]
    assert all(row["loss"] > 0 and row["seconds"] > 0 for row in report["history"])
    best = next(row for row in report["history"] if row["step"] == card.best_step)
    assert best["f1"] == report["best_f1"] == micro_f1(card.scores[0].after)
    assert list(best["f1_by_file"].values()) == [best["f1"]]
    assert [file["role"] for file in report["files"]] == ["dev", "test"]
    assert report["files"][1]["after"]["micro"]["f1"] == micro_f1(card.scores[1].after)
    assert report["trained_parameters"] == report["parameters"] == card.parameters
    assert report["memory"]["process_bytes"] > 1 << 20

    low, high = card.scores[0].intervals["micro"]
    assert low <= micro_f1(card.scores[0].after) <= high
    assert "95 % of F1" in (files / "out" / "README.md").read_text(encoding="utf-8")
    page = (files / "out" / "report.html").read_text(encoding="utf-8")
    assert "chart-curves" in page
    assert "anna" not in page


def test_main_splits_the_training_files(base, files, capsys):
    arguments = _arguments(base, files, *MAP, *FAST, "--epochs", "1")
    del arguments[arguments.index("--dev") : arguments.index("--dev") + 2]
    make_labelled_file(files / "train.txt", n_sentences=36)
    assert main([*arguments, "--split", "0.6/0.2/0.2"]) == 0
    assert "sentences: train " in capsys.readouterr().out
    card = CheckpointCard.from_json((files / "out" / "card.json").read_text(encoding="utf-8"))
    parts = {file.role: file for file in card.data}
    assert {role: file.name.rpartition("/")[2] for role, file in parts.items()} == {
        role: f"train.txt#{role}" for role in ("train", "dev", "test")
    }
    assert len({file.digest for file in card.data}) == 3
    assert card.options["split"]["given"] == [0.6, 0.2, 0.2]
    assert card.options["split"]["sentences"] == [parts[role].sentences for role in ("train", "dev", "test")]
    assert sum(file.sentences for file in card.data) == 36
    assert [score.role for score in card.scores] == ["dev", "test"]
    assert "--split 0.6/0.2/0.2" in (files / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "expected --dev or --split, found neither"),
        (("--split", "0.9/0.2"), "expected --split with shares that sum to 1"),
        (("--split", "0.8/0.1/0.1", "--dev", "{dev}"), "expected --dev or --split, found both"),
        (("--split", "0.99/0.01"), "none for dev"),
    ],
)
def test_main_refuses_a_wrong_split_in_one_line(base, files, more, message, capsys):
    arguments = _arguments(base, files, "--max-tokens", "32")
    del arguments[arguments.index("--dev") : arguments.index("--dev") + 2]
    assert main([*arguments, *(word.format(dev=files / "dev.conll") for word in more)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()


def test_main_writes_no_path_of_this_machine(base, files):
    assert main(_arguments(base, files, *FAST, "--epochs", "1")) == 0
    for path in (files / "out").iterdir():
        assert str(files.parent).encode() not in path.read_bytes(), path.name
        assert str(base.parent).encode() not in path.read_bytes(), path.name


def test_main_resumes_with_the_same_number_of_steps(base, files, monkeypatch, capsys):
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        raise KeyboardInterrupt

    arguments = _arguments(base, files, *FAST, "--epochs", "3")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            main(arguments)
    assert main(arguments) == 2
    assert main([*arguments, "--resume", "--seed", "7"]) == 2
    messages = capsys.readouterr().err
    assert "add --resume or remove it" in messages
    assert "other values of ['seed']" in messages
    assert main([*arguments, "--resume"]) == 0
    assert json.loads((files / "out" / "card.json").read_text(encoding="utf-8"))["steps"] == 3 * 7


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--map", "people=PER"), "expected --map from labels of the files, ['location', 'person'], found ['people']"),
        (("--map", "person"), "expected --map KEY=VALUE, found 'person'"),
        (("--map", "person=O", "location=O"), "expected entities in the training files"),
        (("--test", "missing.conll"), "check --test"),
        (("--epochs", "0"), "expected --epochs above 0, found 0"),
        (("--max-tokens", "33"), "expected --max-tokens of at most 32 for 'tiny', found 33"),
        (("--runner", "DirectRunner"), "unknown flag '--runner'"),
        (("--base", "no/such/model/here"), "no/such/model/here"),
        (("--method", "magic"), "invalid choice: 'magic'"),
        (("--dtype", "int8"), "invalid choice: 'int8'"),
    ],
)
def test_main_refuses_wrong_options_in_one_line(base, files, more, message, capsys):
    assert main(_arguments(base, files, "--max-tokens", "32", *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()


def test_main_refuses_files_without_tags(base, files, capsys):
    (files / "plain.txt").write_text("Anna\nslept\n", encoding="utf-8")
    assert main(_arguments(base, files, "--dev", str(files / "plain.txt"))) == 2
    assert "expected a word and its tag" in capsys.readouterr().err


def test_main_refuses_to_score_on_what_it_trains_on(base, files, capsys):
    assert main(_arguments(base, files, "--test", str(files / "train.txt"))) == 2
    assert "found ['" in capsys.readouterr().err


def test_main_refuses_an_output_with_content(base, files, capsys):
    (files / "out").mkdir()
    (files / "out" / "model.safetensors").write_bytes(b"precious")
    assert main(_arguments(base, files)) == 2
    assert "expected a new or empty --output" in capsys.readouterr().err
    assert (files / "out" / "model.safetensors").read_bytes() == b"precious"


def test_help_needs_no_torch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "--warmup-ratio" in capsys.readouterr().out
