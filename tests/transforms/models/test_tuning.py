"""Budgets are measured against a clock of our own, which a stand-in for a model moves on by rule."""

import numpy as np
import pytest

from transforms.models.backends import BackendConfig
from transforms.models.tuning import Trial, TuningCache, measure_budgets
from transforms.tags.schemes import build_tag_set
from transforms.text.packing import round_lengths

BACKEND = BackendConfig()


class TimedClassifier:
    """Takes `cost(rows, length)` seconds for a batch, and ten times that for a shape it has not seen."""

    def __init__(self, cost):
        self.tag_set = build_tag_set(["O", "B-PER", "I-PER"])
        self.in_flight = 2
        self.now = 0.0
        self.shapes = set()
        self._cost = cost

    def submit(self, ids, lengths):
        assert len(ids) == len(lengths)
        assert ids.shape[1] == round_lengths(lengths, 64).max()
        self.now += self._cost(*ids.shape) * (1 if ids.shape in self.shapes else 10)
        self.shapes.add(ids.shape)
        return lambda: np.zeros((*ids.shape, 3), dtype=np.float32)


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _measure(cost, budgets=(64, 256, 1024)):
    classifier = TimedClassifier(cost)
    lengths = np.random.default_rng(0).integers(4, 64, 500)
    return list(
        measure_budgets(classifier, lengths, budgets, most_tokens=64, trial_tokens=4096, clock=lambda: classifier.now)
    )


@pytest.mark.parametrize(
    ("cost", "best"),
    [
        (lambda rows, length: 1 + rows * length / 1000, 1024),
        (lambda rows, length: rows * length * (1 + rows * length / 50), 64),
        (lambda rows, length: 1 + (rows * length / 200) ** 2, 256),
    ],
    ids=["calls cost most", "size costs most", "both cost"],
)
def test_the_fastest_budget_comes_last(cost, best):
    trials = _measure(cost)
    assert trials[-1].batch_tokens == best
    assert [trial.tokens_per_s for trial in trials] == sorted(trial.tokens_per_s for trial in trials)


def test_what_a_shape_costs_when_it_is_new_does_not_count():
    (trial,) = _measure(lambda rows, length: rows * length / 1000, budgets=(256,))
    assert trial.tokens_per_s <= 1000
    assert trial.tokens_per_s > 900, "but for padding, a token takes a thousandth of a second"


def test_a_budget_is_remembered_for_its_model_engine_and_window(cache_home):
    cache = TuningCache("digest", BACKEND, 512)
    assert cache.read() is None
    cache.write([Trial(512, 10.0), Trial(2048, 30.0), Trial(1024, 20.0)])
    assert cache.read() == 2048
    assert TuningCache("digest", BACKEND, 512).read() == 2048
    assert TuningCache("other", BACKEND, 512).read() is None
    assert TuningCache("digest", BackendConfig(threads=1), 512).read() is None
    assert TuningCache("digest", BACKEND, 128).read() is None


def test_a_budget_is_not_remembered_for_another_processor(cache_home, monkeypatch):
    TuningCache("digest", BACKEND, 512).write([Trial(512, 10.0)])
    monkeypatch.setattr("transforms.models.tuning.describe_processor", lambda: "another avx512_vnni")
    assert TuningCache("digest", BACKEND, 512).read() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"batch_tokens": "many"}'])
def test_a_memory_that_cannot_be_read_is_as_good_as_none(cache_home, content):
    cache = TuningCache("digest", BACKEND, 512)
    cache.write([Trial(512, 10.0)])
    next(cache_home.rglob("*.json")).write_text(content)
    assert cache.read() is None


def test_no_cache_folder_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = TuningCache("digest", BACKEND, 512)
    cache.write([Trial(512, 10.0)])
    assert cache.read() is None
