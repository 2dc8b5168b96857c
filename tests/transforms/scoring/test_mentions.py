"""Unique mentions: beside plain sets, split and merged in any way, and sampled."""

import dataclasses
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.scoring.intervals import DISTINCT_WIDENING, draw_weights, shifted_interval
from transforms.scoring.mentions import MentionColumns, Mentions, collect_mentions

Row = tuple[str, str, bool, int]
KEYS = np.random.default_rng(0).integers(0, 1 << 64, size=5000, dtype=np.uint64)


def _collect(rows: list[Row], n_replicates: int = 70, limit: int = 1000) -> Mentions:
    """Mentions given as (surface, label, is_gold, document)."""
    columns = MentionColumns(
        surface=[row[0] for row in rows],
        label=[row[1] for row in rows],
        is_gold=np.array([row[2] for row in rows], dtype=bool),
        document=np.array([row[3] for row in rows], dtype=np.int64),
    )
    return collect_mentions(columns, KEYS, n_replicates, limit)


def _score_sets(rows: list[Row]) -> tuple[float, float, float, int]:
    """Precision, recall, F1 and support by plain sets."""
    gold, predicted = ({row[:2] for row in rows if row[2] is is_gold} for is_gold in (True, False))
    both = len(gold & predicted)
    precision, recall = both / len(predicted) if predicted else 0.0, both / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return precision, recall, f1, len(gold)


def _equal(one: Mentions, other: Mentions) -> bool:
    names = [field.name for field in dataclasses.fields(Mentions)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("XY"), st.booleans(), st.integers(0, 9)))


def test_a_mention_counts_once_however_often_it_occurs():
    rows = [("London", "LOC", True, 0)] * 3 + [("Ada", "PER", True, 1)]
    rows += [("London", "LOC", False, 0), ("London", "LOC", False, 2), ("London", "ORG", False, 2)]
    prf = _collect(rows).score()
    assert (prf.precision, prf.recall, prf.f1, prf.support) == (0.5, 0.5, 0.5, 2)
    assert isinstance(prf.support, int)


def test_surfaces_are_compared_as_they_are():
    rows = [("Ada", "PER", True, 0)] + [
        (surface, "PER", False, 0) for surface in ("ada", "Ada ", "A\u0301da", "\ud800")
    ]
    assert _collect(rows).score().f1 == 0.0


def test_a_label_does_not_run_into_the_surface():
    assert (
        len(_collect([("BC", "A", True, 0), ("C", "AB", True, 0), ("", "ABC", True, 0), ("ABC", "", True, 0)]).digests)
        == 4
    )
    assert len(_collect([("1 a", "", True, 0), ("", "1 a", True, 0)]).digests) == 2


@settings(deadline=None)
@given(ROWS)
def test_scores_equal_plain_sets(rows):
    prf = _collect(rows).score()
    assert (prf.precision, prf.recall, prf.f1, prf.support) == pytest.approx(_score_sets(rows))


@settings(deadline=None)
@given(ROWS)
def test_scores_of_replicates_equal_plain_sets_of_the_documents_drawn(rows):
    is_drawn = draw_weights(KEYS[:10], 70) > 0
    precision, recall, f1 = _collect(rows).replicate_scores()
    assert precision.shape == recall.shape == f1.shape == (70,)
    for b in range(70):
        expected = _score_sets([row for row in rows if is_drawn[row[3], b]])[:3]
        assert (precision[b], recall[b], f1[b]) == pytest.approx(expected)


@pytest.mark.parametrize("n_replicates", [0, 1, 62, 63, 64, 65, 127, 128])
def test_every_number_of_replicates_fits_its_masks(n_replicates):
    rows = [("a", "X", True, 0), ("a", "X", False, 1), ("b", "X", True, 2), ("c", "X", False, 2)]
    f1 = _collect(rows, n_replicates).replicate_scores()[2]
    assert np.array_equal(f1, _collect(rows, 200).replicate_scores()[2][:n_replicates])
    assert _collect(rows, n_replicates).score().f1 == 0.5


@settings(deadline=None)
@given(ROWS, st.integers(1, 20), st.data())
def test_merging_any_split_in_any_order_gives_the_same(rows, limit, data):
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    collected = [
        _collect([row for row, k in zip(rows, parts, strict=True) if k == part], 9, limit) for part in range(4)
    ]
    collected.append(Mentions.empty(9, limit))
    whole = _collect(rows, 9, limit)
    a, b, c, d, nothing = data.draw(st.permutations(collected))
    assert _equal(a + b + c + d + nothing, whole)
    assert _equal(a + ((b + c) + (d + nothing)), whole)


def test_many_documents_and_mentions_equal_plain_sets():
    """More occurrences than a block of masks, and more documents than a block of weights."""
    rng = random.Random(4)
    rows = [
        (f"name {int(rng.paretovariate(0.6)) % 9999}", "X", rng.random() < 0.5, rng.randrange(5000))
        for _ in range(60_000)
    ]
    mentions = _collect(rows, 3, limit=100_000)
    assert not mentions.is_sampled
    prf = mentions.score()
    assert (prf.precision, prf.recall, prf.f1, prf.support) == pytest.approx(_score_sets(rows))
    is_drawn = draw_weights(KEYS, 3) > 0
    for b in range(3):
        expected = _score_sets([row for row in rows if is_drawn[row[3], b]])[2]
        assert mentions.replicate_scores()[2][b] == pytest.approx(expected)


def test_a_mention_may_lie_across_two_blocks_of_masks():
    """Three documents to a name, and 2^15 masks to a block."""
    n_names = 11_000
    document = np.random.default_rng(7).integers(1, 4997, size=(n_names, 1)) + np.arange(3)
    rows = [(str(name), "X", True, int(one)) for name in range(n_names) for one in document[name]]
    rows += [(str(name), "X", False, 0) for name in range(n_names)]
    precision = _collect(rows, 70, limit=n_names).replicate_scores()[0]
    is_drawn = draw_weights(KEYS, 70) > 0
    n_gold = is_drawn[document].any(axis=1).sum(axis=0)
    assert precision == pytest.approx(np.where(is_drawn[0], n_gold / n_names, 0))


def test_a_sample_tells_the_scores_of_the_whole():
    rng = random.Random(5)
    rows = []
    for number in range(40_000):
        is_gold, is_found = rng.random() < 0.8, rng.random() < 0.7
        rows += [(f"name {number}", "X", True, rng.randrange(5000))] * is_gold
        rows += [(f"name {number}", "X", False, rng.randrange(5000))] * is_found
    sampled = _collect(rows[:30_000], 20, limit=4000) + _collect(rows[30_000:], 20, limit=4000)
    whole = _collect(rows, 20, limit=100_000)
    assert (sampled.is_sampled, whole.is_sampled, len(sampled.digests)) == (True, False, 4000)
    estimate, truth = sampled.score(), whole.score()
    for name in ("precision", "recall", "f1"):
        assert getattr(estimate, name) == pytest.approx(getattr(truth, name), abs=0.03)
    assert estimate.support == pytest.approx(truth.support, rel=0.06)
    assert sampled.replicate_scores()[2] == pytest.approx(whole.replicate_scores()[2], abs=0.04)


def test_the_estimated_support_is_right_on_average():
    estimates = []
    for corpus in range(400):
        rows = [(f"{corpus} {name}", "X", name < 150, 0) for name in range(200)]
        estimates.append(_collect(rows, 0, limit=8).score().support)
    assert np.mean(estimates) == pytest.approx(150, abs=4 * np.std(estimates) / 20)
    assert np.std(estimates) < 100


def test_exactly_the_limit_is_not_sampled():
    rows = [(f"name {number}", "X", True, 0) for number in range(10)]
    assert not _collect(rows, limit=10).is_sampled
    assert _collect(rows, limit=10).score().support == 10
    assert _collect(rows, limit=9).is_sampled
    half = _collect(rows[:5], limit=9) + _collect(rows[5:], limit=9)
    assert half.is_sampled
    assert len(half.digests) == 9


def test_nothing_scores_zero():
    for mentions in (Mentions.empty(5), _collect([], 5), Mentions.empty(5) + Mentions.empty(5)):
        prf = mentions.score()
        assert (prf.precision, prf.recall, prf.f1, prf.support) == (0, 0, 0, 0)
        assert [scores.tolist() for scores in mentions.replicate_scores()] == [[0] * 5] * 3


def test_merging_leaves_both_parts_as_they_were():
    one, other = _collect([("a", "X", True, 0)]), _collect([("a", "X", False, 1)])
    before = pickle.loads(pickle.dumps((one, other)))
    assert (one + other).score().f1 == 1.0
    assert _equal(one, before[0])
    assert _equal(other, before[1])


def test_mentions_of_other_replicates_or_limits_do_not_merge():
    with pytest.raises(
        ValueError, match=r"expected mentions with \(70, 1000\) replicates and limit, found \(9, 1000\)"
    ):
        _collect([]) + _collect([], 9)
    with pytest.raises(ValueError, match=r"found \(70, 5\)"):
        _collect([]) + _collect([], 70, 5)


def test_widened_interval_holds_the_truth_where_every_mention_is_rare():
    """Names that occur once, found with a chance of 0.7; an interval that is not widened holds it in 86 % of trials."""
    rng = np.random.default_rng(6)
    n_trials, n_documents, inside = 300, 150, 0
    for _ in range(n_trials):
        document = np.repeat(np.arange(n_documents), rng.poisson(3, size=n_documents))
        n_names = len(document)
        answer = np.where(rng.random(n_names) < 0.7, np.arange(n_names), n_names + np.arange(n_names))
        surfaces = [str(number) for number in [*range(n_names), *answer.tolist()]]
        is_gold = np.arange(2 * n_names) < n_names
        columns = MentionColumns(surfaces, ["X"] * len(surfaces), is_gold, np.tile(document, 2))
        keys = rng.integers(0, 1 << 64, size=n_documents, dtype=np.uint64)
        mentions = collect_mentions(columns, keys, 200)
        f1 = mentions.replicate_scores()[2]
        low, high = shifted_interval(mentions.score().f1, f1, widening=DISTINCT_WIDENING)
        inside += low <= 0.7 <= high
    assert 0.90 <= inside / n_trials <= 0.98
