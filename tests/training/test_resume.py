import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.recipes import make_encoder, make_labelled_file
from training.checkpoints import write_model
from training.encoders import load_model, open_encoder
from training.examples import build_bio_tags

ROOT = Path(__file__).parents[2]


def _train(folder, work, specs, *, kill_at=0):
    paths = [folder / "tiny", folder, folder / work, folder / f"{work}.pt"]
    command = [sys.executable, "-m", "tests.training.killed", *map(str, paths), str(kill_at), *specs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def _make_base(folder):
    """A tiny tagger that knows persons only."""
    encoder = open_encoder(str(make_encoder(folder)))
    model = load_model(encoder, build_bio_tags(["person"]), dropout=0.1, seed=0)
    write_model(model, encoder.tokenizer, folder, dtype="float32")


def _check_kills(folder, specs, kills):
    """Trains in one go, and again with a kill after each of these numbers of runs, and compares the weights."""
    _make_base(folder / "tiny")
    make_labelled_file(folder / "train.conll", n_sentences=63)
    make_labelled_file(folder / "dev.conll", n_sentences=9, shift=1)
    assert _train(folder, "whole", specs) == 0
    codes = [_train(folder, "killed", specs, kill_at=kill_at) for kill_at in kills]
    assert codes.count(-signal.SIGKILL) > 0
    if codes[-1]:
        assert _train(folder, "killed", specs) == 0
    whole, resumed = (torch.load(folder / f"{work}.pt") for work in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    for name, weights in whole.items():
        assert torch.equal(weights, resumed[name]), name


# Three processes, each of which imports torch and transformers.
@pytest.mark.timeout(300)
def test_training_that_is_killed_ends_with_the_same_weights(tmp_path):
    _check_kills(tmp_path, ["rdrop", "freelb:steps=2"], [random.Random(0).randrange(40, 80)])


# Three processes, each of which imports torch and transformers.
@pytest.mark.timeout(300)
def test_training_that_does_not_forget_and_is_killed_ends_with_the_same_weights(tmp_path):
    specs = ["replay:share=0.4,size=20,choice=herding", "ewc:strength=10", "l2", "distillation"]
    _check_kills(tmp_path, specs, [random.Random(1).randrange(40, 70)])


@pytest.mark.slow
@pytest.mark.parametrize("specs", [[], ["focal:weights=balanced", "rdrop"], ["pgd:steps=2"], ["fgm"], ["crf", "rdrop"]])
def test_training_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path, specs):
    draw = random.Random(repr(specs))
    _check_kills(tmp_path, specs, [draw.randrange(1, 60) for _ in range(8)])
