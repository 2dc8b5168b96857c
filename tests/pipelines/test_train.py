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
        (("--method", "magic"), "expected --method to name one of"),
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
