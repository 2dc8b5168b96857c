"""Surface forms of two runs, known through sketches of their slices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sketches import FormSketch
from transforms.scoring.novelty import MOST_FORMS, measure_novelty, sample_forms

_SLICES = st.lists(st.sets(st.integers(0, 40), max_size=20), max_size=5)


def _sketch(numbers):
    return FormSketch.of(f"form {number}" for number in numbers)


@settings(deadline=None)
@given(_SLICES, _SLICES)
def test_few_forms_are_known_exactly(a, b):
    in_a, in_b = set().union(*a), set().union(*b)
    found = sample_forms([_sketch(part) for part in a], [_sketch(part) for part in b]).summarise()
    assert (found["a"], found["b"], found["sampled"]) == (len(in_a), len(in_b), len(in_a | in_b))
    assert found["new"] == (pytest.approx(len(in_b - in_a) / len(in_b)) if in_b else None)
    assert not found["error_of_new"]
    assert not found["relative_error_a"]


def test_many_forms_are_estimated_within_their_error():
    """Twenty pairs of runs with 6,000 and 8,000 forms, 3,000 of them in both, spread over slices of other sizes."""
    rng = np.random.default_rng(0)
    misses = []
    for trial in range(20):
        base = 100_000 * trial
        a, b = np.arange(base, base + 6000), np.arange(base + 3000, base + 11_000)
        slices_a = [_sketch(rng.choice(a, 1500)) for _ in range(20)] + [_sketch(a[at::9]) for at in range(9)]
        slices_b = [_sketch(b[at::5]) for at in range(5)]
        found = sample_forms(slices_a, slices_b).summarise()
        assert found["sampled"] <= MOST_FORMS
        misses.append(
            (
                (found["a"] / 6000 - 1) / found["relative_error_a"],
                (found["b"] / 8000 - 1) / found["relative_error_b"],
                (found["new"] - 5 / 8) / found["error_of_new"],
            )
        )
    assert np.abs(np.mean(misses, axis=0)).max() < 1
    assert (np.abs(misses) < 3).mean() > 0.95
    assert 0.5 < np.std(misses) < 1.5


def test_no_more_forms_are_looked_at_than_are_needed():
    slices = [_sketch(range(400 * at, 400 * (at + 1))) for at in range(30)]
    sample = sample_forms(slices[:15], slices[15:])
    assert sample.n_forms == MOST_FORMS
    assert sample.share == pytest.approx(MOST_FORMS / 12_000, rel=0.1)


def _measure(a, b, n_splits=100, sizes=None):
    rng = np.random.default_rng(0)
    parts = np.zeros((n_splits, len(a)), dtype=bool)
    for row in parts:
        row[rng.permutation(len(a))[: len(a) // 2]] = True
    orders = np.array([rng.permutation(len(b)) for _ in range(n_splits)])
    entities_a, entities_b = (np.array([len(part) for part in run]) for run in (a, b))
    sample = sample_forms([_sketch(part) for part in a], [_sketch(part) for part in b])
    return measure_novelty(sample, entities_a, entities_b, parts, orders)


def _draw(rng, n_slices, *, first=0, size=200):
    """Slices whose entities are drawn from 3,000 names, the first ones oftenest."""
    return [first + rng.zipf(1.3, size) % 3000 for _ in range(n_slices)]


def test_a_run_of_the_same_text_brings_no_more_new_forms_than_the_run_to_itself():
    rng = np.random.default_rng(1)
    found = [_measure(_draw(rng, 20), _draw(rng, n)) for n in (20, 20, 20, 60, 60, 8, 8)]
    assert all(novelty.natural > 0.3 for novelty in found)
    assert all(novelty.low < 0 < novelty.high for novelty in found)


def test_a_run_with_other_names_brings_more():
    rng = np.random.default_rng(2)
    b = [np.concatenate([part[:150], 10_000 + part[150:]]) for part in _draw(rng, 20)]
    novelty = _measure(_draw(rng, 20), b)
    assert novelty.found > novelty.natural + 0.05
    assert novelty.low > 0.05


def test_nothing_is_said_of_few_slices_or_of_ones_too_large_to_compare():
    rng = np.random.default_rng(3)
    assert _measure(_draw(rng, 9), _draw(rng, 20)) is None
    assert _measure(_draw(rng, 20), _draw(rng, 1, size=20_000)) is None
    assert _measure(_draw(rng, 20), [np.array([], dtype=int)] * 20) is None
