import dataclasses

import numpy as np
import pytest
import torch
from transformers import Trainer

from schemas.errors import ConfigError, DivergenceError
from training.config import TrainConfig
from training.encoders import load_model, open_encoder
from training.epochs import TrainingText
from training.examples import build_bio_tags, cut_windows
from training.objectives.objectives import parse_objectives
from training.scorer import Scorer, predict
from training.trainer import prepare_work, train

TAGS = build_bio_tags(["location", "person"])
CONFIG = TrainConfig(learning_rate=5e-3, epochs=4, batch_size=8, max_tokens=32, patience=4, chain_fraction=0.3)


class Killed(Exception):
    pass


def _train(base, files, work, config=CONFIG, objectives=()):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=config.dropout, seed=config.seed)
    scorer = Scorer(files[1:], TAGS, encoder.tokenizer, max_tokens=config.max_tokens)
    text = TrainingText(files[0].sentences)
    return model, scorer, train(model, text, scorer, config, parse_objectives(objectives), work)


def test_train_learns(base, files, tmp_path):
    config = TrainConfig(learning_rate=5e-3, epochs=12, batch_size=8, max_tokens=32, patience=12)
    model, scorer, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_score > 0.9
    assert np.mean(scorer.measure_f1(model)) == outcome.best_score


def test_train_learns_with_sgd(base, files, tmp_path):
    config = TrainConfig(learning_rate=0.1, epochs=12, batch_size=4, optimizer="sgd", max_tokens=32, patience=12)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_score > 0.9


def test_train_learns_in_bf16_and_is_scored_in_fp32(base, files, tmp_path):
    config = TrainConfig(
        learning_rate=5e-3, epochs=12, batch_size=8, max_tokens=32, patience=12, precision="bf16", dropout=0.0
    )
    model, scorer, outcome = _train(base, files, tmp_path / "bf16", config)
    assert outcome.best_score > 0.9
    assert np.mean(scorer.measure_f1(model)) == outcome.best_score
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    assert model(input_ids=torch.tensor([[5, 6, 7]])).logits.dtype == torch.float32
    _, _, exact = _train(base, files, tmp_path / "fp32", dataclasses.replace(config, precision="fp32"))
    [half, full] = (run.epochs[0].loss for run in (outcome, exact))
    assert half != full
    assert half == pytest.approx(full, rel=0.01)


def _stand_still(monkeypatch):
    """Gives every epoch the same score."""
    monkeypatch.setattr("training.trainer.Scorer.measure_f1", lambda *_: [0.5])


def test_train_stops_early_when_nothing_gets_better(base, files, tmp_path, monkeypatch):
    _stand_still(monkeypatch)
    config = TrainConfig(learning_rate=1e-12, epochs=9, batch_size=8, max_tokens=32, patience=2)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.steps == 3 * 7
    assert outcome.best_step == 7


def test_train_keeps_the_last_epoch_where_none_finds_an_entity(base, files, tmp_path, monkeypatch):
    monkeypatch.setattr("training.trainer.Scorer.measure_f1", lambda *_: [0.0])
    config = TrainConfig(learning_rate=1e-12, epochs=3, batch_size=8, max_tokens=32, patience=2)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_step == outcome.steps == 3 * 7


def test_train_ends_where_it_diverges(base, files, tmp_path):
    config = TrainConfig(learning_rate=1e30, epochs=9, batch_size=8, max_tokens=32, warmup_ratio=0.0)
    with pytest.raises(DivergenceError, match="it diverged; lower --learning-rate"):
        _train(base, files, tmp_path, config)


def test_train_has_patience_until_the_first_entity_is_found(base, files, tmp_path, monkeypatch):
    scores = iter([0.0, 0.0, 0.0, 0.5, 0.4, 0.4, 0.4])
    monkeypatch.setattr("training.trainer.Scorer.measure_f1", lambda *_: [next(scores)])
    config = TrainConfig(learning_rate=1e-12, epochs=9, batch_size=8, max_tokens=32, patience=2)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert [epoch.f1 for epoch in outcome.epochs] == [(0.0,), (0.0,), (0.0,), (0.5,), (0.4,), (0.4,)]
    assert outcome.best_step == 4 * 7


def test_train_resumes_to_the_same_weights(base, files, tmp_path, monkeypatch):
    whole, _, expected = _train(base, files, tmp_path / "whole")
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        if self.state.epoch == 2:
            # A state that was cut off while it was written must not be taken for the last.
            (tmp_path / "killed" / "checkpoint-999").mkdir()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            _train(base, files, tmp_path / "killed")
    resumed, _, outcome = _train(base, files, tmp_path / "killed")
    assert outcome == expected
    for (name, weights), same in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(weights, same), name


def test_training_that_had_stopped_early_when_it_was_killed_is_not_gone_on_with(base, files, tmp_path, monkeypatch):
    _stand_still(monkeypatch)
    config = TrainConfig(learning_rate=1e-12, epochs=9, batch_size=8, max_tokens=32, patience=2)
    whole, _, expected = _train(base, files, tmp_path / "whole", config)
    assert len(expected.epochs) == 3

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        # The first thing that it loads are the best weights, once all epochs are over.
        patch.setattr("training.trainer.load_state", die)
        with pytest.raises(Killed):
            _train(base, files, tmp_path / "killed", config)
    resumed, _, outcome = _train(base, files, tmp_path / "killed", config)
    assert outcome == expected
    for (name, weights), same in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(weights, same), name


def test_train_keeps_how_each_epoch_went(base, files, tmp_path):
    _, _, outcome = _train(base, files, tmp_path)
    assert [(epoch.epoch, epoch.step) for epoch in outcome.epochs] == [(1, 6), (2, 12), (3, 18), (4, 24)]
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss
    assert max(epoch.f1[0] for epoch in outcome.epochs) == outcome.best_score
    rates = [epoch.learning_rate for epoch in outcome.epochs]
    assert rates == sorted(rates, reverse=True)
    assert all(epoch.seconds > 0 for epoch in outcome.epochs)


def test_batches_that_are_added_up_train_like_one_large_batch(base, files, tmp_path):
    options = {"learning_rate": 0.1, "optimizer": "sgd", "epochs": 2, "dropout": 0.0, "max_tokens": 32}
    large, _, _ = _train(base, files, tmp_path / "large", TrainConfig(batch_size=8, **options))
    config = TrainConfig(batch_size=2, gradient_accumulation=4, **options)
    small, _, outcome = _train(base, files, tmp_path / "small", config)
    assert outcome.steps == 2 * 7
    for (name, weights), same in zip(large.state_dict().items(), small.state_dict().values(), strict=True):
        assert weights == pytest.approx(same, abs=1e-4), name


def test_gradient_checkpointing_changes_no_weight(base, files, tmp_path):
    options = {"learning_rate": 5e-3, "epochs": 1, "batch_size": 8, "max_tokens": 32}
    plain, _, _ = _train(base, files, tmp_path / "plain", TrainConfig(**options))
    saving, _, _ = _train(base, files, tmp_path / "saving", TrainConfig(gradient_checkpointing=True, **options))
    for (name, weights), same in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        assert torch.equal(weights, same), name


@pytest.mark.parametrize(("schedule", "last"), [("linear", 0.0), ("cosine", 0.0), ("constant", 5e-3)])
def test_schedules_end_where_they_should(base, files, tmp_path, schedule, last):
    config = TrainConfig(learning_rate=5e-3, epochs=2, batch_size=8, max_tokens=32, schedule=schedule)
    _, _, outcome = _train(base, files, tmp_path, config)
    # The last step is taken at the rate before it reaches its end.
    assert outcome.epochs[-1].learning_rate == pytest.approx(last, abs=5e-4)


@pytest.mark.parametrize("objectives", [["focal"], ["cross-entropy:weights=balanced", "rdrop", "freelb"]])
def test_train_learns_with_other_objectives(base, files, tmp_path, objectives):
    config = TrainConfig(learning_rate=5e-3, epochs=6, batch_size=8, max_tokens=32, patience=6)
    _, _, outcome = _train(base, files, tmp_path, config, objectives)
    assert outcome.best_score > 0.9


def test_train_learns_with_adafactor_and_layer_decay(base, files, tmp_path):
    config = TrainConfig(
        learning_rate=1e-2, epochs=10, batch_size=8, optimizer="adafactor", layer_decay=0.9, max_tokens=32, patience=10
    )
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_score > 0.9


def test_a_state_that_was_cut_off_is_not_gone_on_from(base, files, tmp_path):
    _, _, expected = _train(base, files, tmp_path)
    # What a kill in the middle of writing leaves of a later state.
    (tmp_path / "checkpoint-999").mkdir()
    (tmp_path / "checkpoint-999" / "trainer_state.json").write_text('{"epoch": 9.0, "glo', encoding="utf-8")
    _, _, again = _train(base, files, tmp_path)
    assert again == expected


def test_predict_does_not_depend_on_the_batch(base, files, monkeypatch):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=0.1, seed=0)
    windows = cut_windows(files[0].sentences, TAGS, encoder.tokenizer, max_tokens=9)
    many = predict(model, windows, encoder.tokenizer)
    monkeypatch.setattr("training.scorer._MAX_PIECES", 20)
    one = predict(model, windows, encoder.tokenizer)
    assert one == pytest.approx(many, abs=1e-5)
    assert one.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 0.0, "--learning-rate above 0, found 0.0"),
        ("learning_rate", float("inf"), "--learning-rate that is finite, found inf"),
        ("learning_rate", float("nan"), "--learning-rate above 0, found nan"),
        ("epochs", 0, "--epochs above 0"),
        ("dropout", 1.0, "--dropout of at least 0 and below 1, found 1.0"),
        ("warmup_ratio", -0.1, "--warmup-ratio"),
        ("chain_fraction", 1.5, "--chain-fraction between 0 and 1"),
        ("weight_decay", -1.0, "--weight-decay"),
        ("seed", -1, "--seed of at least 0 and below 4294967296, found -1"),
        ("seed", 1 << 32, "--seed of at least 0 and below 4294967296"),
        ("max_tokens", 7, "--max-tokens of at least 8, found 7"),
        ("optimizer", "lion", "--optimizer of .* found 'lion'"),
        ("schedule", "triangle", "--schedule of .* found 'triangle'"),
        ("head", "tree", "--head of .* found 'tree'"),
        ("layer_decay", 0.0, "--layer-decay above 0 and at most 1, found 0.0"),
        ("layer_decay", 1.5, "--layer-decay above 0 and at most 1, found 1.5"),
        ("gradient_accumulation", 0, "--gradient-accumulation above 0, found 0"),
        ("max_grad_norm", -1.0, "--max-grad-norm of at least 0"),
        ("crf_learning_rate", 0.0, "--crf-learning-rate above 0"),
    ],
)
def test_train_config_refuses_values_out_of_range(field, value, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**{field: value})


def test_prepare_work_refuses_unfinished_training_without_resume(tmp_path):
    prepare_work(tmp_path / "work", {"seed": 0}, is_resumed=False)
    with pytest.raises(ConfigError, match="add --resume or remove it"):
        prepare_work(tmp_path / "work", {"seed": 0}, is_resumed=False)


def test_prepare_work_names_what_differs(tmp_path):
    prepare_work(tmp_path / "work", {"seed": 0, "epochs": 2}, is_resumed=True)
    prepare_work(tmp_path / "work", {"seed": 0, "epochs": 2}, is_resumed=True)
    with pytest.raises(ConfigError, match=r"other values of \['epochs'\]"):
        prepare_work(tmp_path / "work", {"seed": 0, "epochs": 3}, is_resumed=True)
