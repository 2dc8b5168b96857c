"""Documents far from each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.selection.diversity import VECTOR_SIZE, DiverseConfig, hash_words, spread, weight_vectors

TOPICS = ("goal match team player", "court judge law trial", "rain storm cloud wind")
NONE = np.zeros((0, VECTOR_SIZE), dtype=np.float32)


def to_vectors(texts):
    return weight_vectors(np.array([hash_words(text) for text in texts]))


def test_spread_takes_one_of_each_topic_before_a_second_of_any():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(TOPICS[at % 3].split())) for at in range(30)]
    chosen = spread(to_vectors(texts), 3, NONE)
    assert {row % 3 for row, _ in chosen} == {0, 1, 2}
    assert [distance for _, distance in chosen] == [1.0, *sorted((d for _, d in chosen[1:]), reverse=True)]


def test_spread_keeps_away_from_what_is_chosen_already():
    vectors = to_vectors([*TOPICS, TOPICS[0]])
    ((row, _),) = spread(vectors[1:], 1, vectors[:1])
    assert row in (0, 1)
    chosen = spread(vectors[1:], 3, vectors[:1])
    assert chosen[-1][0] == 2
    assert abs(chosen[-1][1]) < 1e-6


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(1, 10))
def test_spread_chooses_each_row_once(texts, n):
    vectors = weight_vectors(np.array([hash_words(text) for text in texts], dtype=np.float32).reshape(-1, VECTOR_SIZE))
    rows = [row for row, _ in spread(vectors, n, NONE)]
    assert len(rows) == len(set(rows)) == min(n, len(texts))


def test_vectors_have_length_one_and_rare_words_weigh_more():
    vectors = to_vectors(["common rare", "common", "common"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[1] @ vectors[2] > 0.99
    assert vectors[0] @ vectors[1] < 0.7


def test_a_pool_is_bounded():
    assert DiverseConfig().pool_size(20) == 200
    assert DiverseConfig().pool_size(5000) == 20_000
    assert DiverseConfig().pool_size(30_000) == 30_000
