from pathlib import Path

import pytest
from transformers import Trainer

from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from tests.training.recipes import make_labelled_file

PRESETS = Path(__file__).parents[2] / "pipelines" / "presets"
FAST = ("--epochs", "3", "--learning-rate", "5e-3", "--batch-size", "8", "--max-tokens", "32", "--patience", "8")
AUGMENT = ("--augment", "mention-swap:share=0.5", "typos:rate=0.2,share=0.25")


@pytest.fixture
def files(tmp_path):
    make_labelled_file(tmp_path / "train.txt", n_sentences=54)
    make_labelled_file(tmp_path / "dev.conll", n_sentences=9, shift=1)
    (tmp_path / "synonyms.tsv").write_text("went\tran\tdrove\nsaw\tspotted\n", encoding="utf-8")
    return tmp_path


def _arguments(base, files, *more, output="out"):
    paths = ("--train", files / "train.txt", "--dev", files / "dev.conll", "--output", files / output, "--base", base)
    return ["train", *map(str, paths), *more]


def _card(files, output="out"):
    return CheckpointCard.from_json((files / output / "card.json").read_text(encoding="utf-8"))


def test_main_trains_on_copies_and_tells_how_many(base, files):
    assert main(_arguments(base, files, *FAST, *AUGMENT)) == 0
    card = _card(files)
    assert card.options["augment"] == ["mention-swap", "typos:share=0.25,rate=0.2"]
    added = card.options["augmentation"]
    assert added["mention-swap"] == {"per_pass": 27.0}
    assert 10 <= added["typos"]["per_pass"] <= 14
    # Copies come on top of the 54 sentences.
    assert card.steps > 3 * 9
    assert card.data[0].sentences == 54
    readme = (files / "out" / "README.md").read_text(encoding="utf-8")
    assert "Changed copies of training sentences, on average of each pass:\n\n- mention-swap: 27.0\n- typos: " in readme
    assert "--augment mention-swap typos:share=0.25,rate=0.2 \\\n" in readme


def test_main_says_nothing_of_copies_where_there_are_none(base, files):
    assert main(_arguments(base, files, *FAST, "--epochs", "1")) == 0
    assert "augment" not in (files / "out" / "card.json").read_text(encoding="utf-8")
    assert "copies" not in (files / "out" / "README.md").read_text(encoding="utf-8")


def test_main_resumes_with_the_same_copies(base, files, monkeypatch, capsys):
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        if self.state.epoch == 2:
            raise KeyboardInterrupt

    assert main(_arguments(base, files, *FAST, *AUGMENT, output="whole")) == 0
    arguments = _arguments(base, files, *FAST)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            main([*arguments, *AUGMENT])
    assert main([*arguments, "--resume"]) == 2
    assert "other values of ['augment']" in capsys.readouterr().err
    assert main([*arguments, *AUGMENT, "--resume"]) == 0
    assert _card(files) == _card(files, "whole")


def test_main_refuses_to_resume_with_other_synonyms(base, files, monkeypatch, capsys):
    path = files / "synonyms.tsv"
    arguments = _arguments(base, files, *FAST, "--augment", f"synonyms:file={path}")

    def die(self, model, trial):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", die)
        with pytest.raises(KeyboardInterrupt):
            main(arguments)
    path.write_text("went\tflew\n", encoding="utf-8")
    assert main([*arguments, "--resume"]) == 2
    assert "other values of ['augment']" in capsys.readouterr().err


def test_main_trains_with_synonyms_by_its_preset_and_hides_their_path(base, files):
    preset = ("--config", str(PRESETS / "augment-synonyms.toml"))
    more = ("--augment", f"synonyms:file={files / 'synonyms.tsv'},share=1.0,rate=0.9")
    assert main(_arguments(base, files, *FAST, "--epochs", "1", *preset, *more)) == 0
    assert _card(files).options["augmentation"]["synonyms"]["per_pass"] > 27
    for path in (files / "out").iterdir():
        assert str(files).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("typo",), "expected --augment to name one of"),
        (("typo",), "did you mean 'typos'?"),
        (("typos:rat=1",), "did you mean 'rate'?"),
        (("typos", "casing", "typos:rate=0.1"), "expected --augment typos once, found it twice"),
        (("typos:share=-1",), "expected share of --augment of at least 0, found -1.0"),
        (("synonyms:file=nowhere.tsv",), "cannot read file of --augment synonyms 'nowhere.tsv'"),
        (("back-translation:forward=a,backward=b",), "expected a model folder with config.json as forward of"),
    ],
)
def test_main_refuses_wrong_augmentations_in_one_line(base, files, more, message, capsys):
    assert main(_arguments(base, files, "--max-tokens", "32", "--augment", *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()
