import logging

import numpy as np
import pytest
import torch
from transformers import Trainer

from training.augmentation.augmentations import AUGMENTATIONS, Augmenter
from training.augmentation.copies import Material
from training.config import TrainConfig
from training.encoders import load_model, open_encoder
from training.epochs import EpochFeatures, TrainingText
from training.examples import build_bio_tags
from training.objectives.objectives import parse_objectives
from training.scorer import Scorer
from training.trainer import train
from transforms.text.tokens import ColumnTokenizer

TAGS = build_bio_tags(["location", "person"])
CONFIG = TrainConfig(learning_rate=5e-3, epochs=4, batch_size=8, max_tokens=32, patience=4)
CONFIGS = {
    "mention-swap": AUGMENTATIONS["mention-swap"].config(share=0.5),
    "typos": AUGMENTATIONS["typos"].config(share=0.25, rate=0.2),
    "concatenation": AUGMENTATIONS["concatenation"].config(share=0.25),
}


class Killed(Exception):
    pass


def _feature(n):
    return {"input_ids": list(range(n))}


FIXED = [_feature(9), _feature(2)]


def test_fixed_items_stay_and_drawn_ones_change_by_pass():
    features = EpochFeatures(FIXED, lambda epoch: [_feature(10 * epoch + 3), _feature(10 * epoch + 1)])
    for epoch in (0, 1, 4):
        features.set_epoch(epoch)
        assert [len(features[at]["input_ids"]) for at in range(len(features))] == [
            9,
            2,
            10 * epoch + 1,
            10 * epoch + 3,
        ]


@pytest.mark.parametrize(("n_later", "expected"), [(0, [2, 9, 9]), (1, [5, 5, 5]), (2, [5, 5, 6]), (4, [5, 6, 7])])
def test_a_pass_is_as_long_as_the_first(n_later, expected):
    drawn = {0: [_feature(1)] * 3, 1: [_feature(5 + at) for at in range(n_later)]}
    features = EpochFeatures(FIXED, drawn.__getitem__)
    features.set_epoch(1)
    assert len(features) == 5
    assert [len(features[at]["input_ids"]) for at in (2, 3, 4)] == expected


def test_a_place_beyond_the_last_is_none():
    features = EpochFeatures(FIXED, lambda _epoch: [_feature(1)])
    with pytest.raises(IndexError):
        features[3]
    assert len(list(features)) == 3


def test_the_same_pass_is_not_drawn_twice():
    passes = []
    features = EpochFeatures(FIXED, lambda epoch: passes.append(epoch) or [_feature(1)])
    for epoch in (0, 1, 1, 2):
        features.set_epoch(epoch)
    assert passes == [0, 1, 2]


def test_a_place_holds_items_of_like_length_in_every_pass():
    def draw(epoch):
        return [_feature(int(n)) for n in np.random.default_rng(epoch).integers(1, 100, 2000)]

    features = EpochFeatures([], draw)
    first = [len(feature["input_ids"]) for feature in features]
    features.set_epoch(1)
    assert max(abs(len(feature["input_ids"]) - n) for feature, n in zip(features, first, strict=True)) <= 5


def _train(base, files, work):
    """Trains with copies and tells what was drawn for which pass."""
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=CONFIG.dropout, seed=CONFIG.seed)
    scorer = Scorer(files[1:], TAGS, encoder.tokenizer, max_tokens=CONFIG.max_tokens)
    splitter = ColumnTokenizer(encoder.tokenizer.backend_tokenizer.to_str())
    augmenter = Augmenter(CONFIGS, Material(files[0].sentences, encoder.tokenizer, splitter, CONFIG.seed, work))
    drawn = {}

    def augment(epoch):
        drawn[epoch] = augmenter.draw(epoch)
        return drawn[epoch]

    return (
        model,
        train(model, TrainingText(files[0].sentences, augment), scorer, CONFIG, parse_objectives(()), work),
        drawn,
        augmenter,
    )


def test_train_reads_other_copies_in_each_pass_and_takes_as_many_steps(base, files, tmp_path):
    _, outcome, drawn, augmenter = _train(base, files, tmp_path)
    assert sorted(drawn) == [0, 1, 2, 3]
    assert drawn[0] != drawn[1]
    # 54 sentences, and 27 + 14 + 14 copies at most.
    n_items = 54 + len(drawn[0])
    assert 54 + 40 <= n_items <= 54 + 55
    assert outcome.steps == 4 * -(-n_items // 8)
    assert len(outcome.epochs) == 4
    assert augmenter.describe(4)["mention-swap"] == {"per_pass": 27.0}


def test_train_resumes_with_the_same_copies_and_to_the_same_weights(base, files, tmp_path, monkeypatch):
    whole, expected, drawn, augmenter = _train(base, files, tmp_path / "whole")
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        if self.state.epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            _train(base, files, tmp_path / "killed")
    resumed, outcome, again, other = _train(base, files, tmp_path / "killed")
    assert outcome == expected
    assert sorted(again) == [0, 2, 3]
    assert all(again[epoch] == drawn[epoch] for epoch in again)
    assert other.describe(4) == augmenter.describe(4)
    for (name, weights), same in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(weights, same), name


def test_train_logs_what_a_pass_adds(base, files, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        _train(base, files, tmp_path)
    assert "augmentation: 27 mention-swap" in caplog.text
