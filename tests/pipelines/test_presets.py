"""Every preset that lacks nothing trains a tiny model on a handful of sentences, and `annotate` runs what comes out."""

from pathlib import Path

import pytest

import pipelines
from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from tests.pipelines.conftest import read_rows
from tests.training.recipes import make_labelled_file

PRESETS = sorted(Path(pipelines.__file__).parent.glob("presets/*.toml"))

LACKING = {
    "augment-back-translation": "expected forward=DIR in --augment back-translation",
    "augment-synonyms": "expected file=PATH in --augment synonyms",
}
"""What a preset cannot bring, as the job asks for it."""


@pytest.fixture(scope="module")
def champion(base, tmp_path_factory):
    """A tagger that keeps what the next training needs."""
    folder = tmp_path_factory.mktemp("champion")
    train = make_labelled_file(folder / "train.conll", n_sentences=8)
    dev = make_labelled_file(folder / "dev.conll", n_sentences=4, shift=1)
    words = ["--train", train, "--dev", dev, "--base", base, "--output", folder / "model", "--max-tokens", "12"]
    assert main(["train", *map(str, words), "--epochs", "1", "--remember", "fisher", "buffer"]) == 0
    return folder / "model"


def test_there_are_presets():
    assert len(PRESETS) > 9


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_trains_a_model_that_annotates_or_says_what_it_lacks(
    base, champion, tmp_path, preset, annotate, capsys
):
    base = champion if preset.stem.startswith("continual-") else base
    train = make_labelled_file(tmp_path / "train.conll", n_sentences=8)
    dev = make_labelled_file(tmp_path / "dev.conll", n_sentences=4, shift=1)
    words = ["--config", preset, "--train", train, "--dev", dev, "--base", base, "--output", tmp_path / "model"]
    if missing := LACKING.get(preset.stem):
        assert main(["train", *map(str, words)]) == 2
        assert missing in capsys.readouterr().err
        return
    # The tiny model reads 32 tokens, of which virtual tokens may take twenty.
    assert main(["train", *map(str, words), "--max-tokens", "12", "--epochs", "1"]) == 0
    card = CheckpointCard.from_json((tmp_path / "model" / "card.json").read_text(encoding="utf-8"))
    assert 0 < card.trained_parameters <= card.parameters

    (tmp_path / "texts.txt").write_text("anna went to rome .\n" * 3)
    assert annotate(source=tmp_path / "texts.txt", model=tmp_path / "model") == 0
    assert len(read_rows(tmp_path / "out")) == 3
