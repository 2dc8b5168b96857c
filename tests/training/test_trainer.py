import pytest
import torch
from transformers import Trainer

from schemas.errors import ConfigError
from tests.training.recipes import make_encoder, make_labelled_file
from training.encoders import load_model, open_encoder
from training.epochs import TrainingText
from training.examples import build_bio_tags, cut_windows, read_files
from training.trainer import Scorer, TrainConfig, predict, prepare_work, train

TAGS = build_bio_tags(["location", "person"])
CONFIG = TrainConfig(learning_rate=5e-3, epochs=4, batch_size=8, max_tokens=32, patience=4, chain_fraction=0.3)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    patterns = [
        make_labelled_file(folder / "a.conll", n_sentences=54),
        make_labelled_file(folder / "b.conll", n_sentences=9),
    ]
    return read_files([str(path) for path in patterns], flag="--train")


def _train(base, files, work, config=CONFIG):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=config.dropout, seed=config.seed)
    scorer = Scorer(files[1:], TAGS, encoder.tokenizer, max_tokens=config.max_tokens)
    return model, scorer, train(model, TrainingText(files[0].sentences), scorer, config, work)


def test_train_learns(base, files, tmp_path):
    config = TrainConfig(learning_rate=5e-3, epochs=12, batch_size=8, max_tokens=32, patience=12)
    model, scorer, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_score > 0.9
    assert scorer.mean_f1(model, batch_size=4) == outcome.best_score


def test_train_learns_with_sgd(base, files, tmp_path):
    config = TrainConfig(learning_rate=0.1, epochs=12, batch_size=4, optimizer="sgd", max_tokens=32, patience=12)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.best_score > 0.9


def test_train_stops_early_when_nothing_gets_better(base, files, tmp_path):
    config = TrainConfig(learning_rate=1e-12, epochs=9, batch_size=8, max_tokens=32, patience=2)
    _, _, outcome = _train(base, files, tmp_path, config)
    assert outcome.steps == 3 * 7
    assert outcome.best_step == 7


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


def test_predict_does_not_depend_on_the_batch(base, files):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=0.1, seed=0)
    windows = cut_windows(files[0].sentences, TAGS, encoder.tokenizer, max_tokens=9)
    one, many = (predict(model, windows, encoder.tokenizer, batch_size=n) for n in (1, 50))
    assert one == pytest.approx(many, abs=1e-5)
    assert one.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 0.0, "--learning-rate above 0, found 0.0"),
        ("epochs", 0, "--epochs above 0"),
        ("dropout", 1.0, "--dropout of at least 0 and below 1, found 1.0"),
        ("warmup_ratio", -0.1, "--warmup-ratio"),
        ("chain_fraction", 1.5, "--chain-fraction between 0 and 1"),
        ("weight_decay", -1.0, "--weight-decay"),
        ("seed", -1, "--seed"),
        ("max_tokens", 7, "--max-tokens of at least 8, found 7"),
        ("optimizer", "lion", "--optimizer of .* found 'lion'"),
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
