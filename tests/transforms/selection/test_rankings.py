"""The best of a stream, whatever its order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.selection.recipes import make_candidate
from transforms.selection.rankings import Ranking, draw

_SCORES = st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0.25, 0.5, 0.75])), max_size=40)


def rank(candidates, capacity, seed="0"):
    ranking = Ranking(capacity, seed)
    for candidate, score in candidates:
        ranking.add(candidate, score)
    return [(score, candidate.document.id) for score, candidate in ranking.best()]


@given(_SCORES, st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_ranking_keeps_the_greatest_scores_each_text_once_in_any_order(values, capacity, chance):
    by_name = dict(values)
    candidates = [(make_candidate(str(name)), by_name[name]) for name, _ in values]
    ranked = rank(candidates, capacity)
    assert [score for score, _ in ranked] == sorted(by_name.values(), reverse=True)[:capacity]
    assert len({name for _, name in ranked}) == len(ranked)
    chance.shuffle(candidates)
    assert rank(candidates, capacity) == ranked


def test_equal_scores_are_a_random_sample_that_the_seed_decides():
    candidates = [(make_candidate(str(name)), 1.0) for name in range(2000)]
    sample, other = (rank(candidates, 400, seed) for seed in ("1", "2"))
    assert sample != other
    assert abs(sum(int(name) for _, name in sample) / 400 - 999.5) < 100
    assert rank(random.Random(0).sample(candidates, 2000), 400, "1") == sample


def test_a_candidate_is_kept_without_what_only_its_score_needed():
    ranking = Ranking(1, "0")
    ranking.add(make_candidate("a", 0.5, below=(0.1,)), 1.0)
    ((_, kept),) = ranking.best()
    assert (len(kept.document.entities), kept.document.below, kept.readings) == (1, (), ())


def test_draws_are_the_same_for_the_same_seed_and_text():
    assert draw("0", "a") == draw("0", "a")
    assert len({draw("0", "a"), draw("1", "a"), draw("0", "b")}) == 3
