import numpy as np
import pytest

from transforms.prompts.examples import Example
from transforms.prompts.rankings import RANKINGS, rank_bm25, rank_embeddings, rank_fixed, rank_random

TEXTS = ["the cat sat", "the dog ran to the park", "a cat and a dog", "the the the", "…"]
EXAMPLES = [Example(text, ()) for text in TEXTS]


def _encode(texts):
    """Counts of some letters, as an embedding."""
    return np.array([[text.count(letter) for letter in "abcdr"] for text in texts], dtype=np.float32)


ARGUMENTS = {"seed": 3, "encode": _encode}


@pytest.mark.parametrize("name", RANKINGS)
@pytest.mark.parametrize("text", ["a cat", "", "…", "zebra"])
def test_every_ranking_holds_each_example_once_and_is_the_same_each_time(name, text):
    kind = RANKINGS[name]
    arguments = {need: ARGUMENTS[need] for need in kind.needs}
    order = list(kind.rank(EXAMPLES, **arguments)(text))
    assert sorted(order) == list(range(len(EXAMPLES)))
    assert list(kind.rank(EXAMPLES, **arguments)(text)) == order


@pytest.mark.parametrize("name", RANKINGS)
def test_no_examples_have_no_ranking(name):
    kind = RANKINGS[name]
    assert list(kind.rank([], **{need: ARGUMENTS[need] for need in kind.needs})("a cat")) == []


def test_fixed_examples_keep_their_order():
    assert list(rank_fixed(EXAMPLES)("any")) == [0, 1, 2, 3, 4]


def test_random_examples_depend_on_the_text_and_the_seed():
    orders = {tuple(rank_random(EXAMPLES, seed=seed)(text)) for seed in range(4) for text in ("a", "b", "c")}
    assert len(orders) > 8


def test_bm25_prefers_rare_words_in_common():
    rank = rank_bm25(EXAMPLES)
    assert next(rank("The CAT!")) == 0
    assert next(rank("park")) == 1
    assert set(list(rank("dog"))[:2]) == {1, 2}
    assert list(rank("zebra")) == [0, 1, 2, 3, 4]
    assert list(rank_bm25([Example("…", ()), Example("!", ())])("cat")) == [0, 1]


def test_embeddings_are_compared_by_angle_and_those_of_examples_computed_once():
    asked = []

    def encode(texts):
        asked.append(len(texts))
        return _encode(texts)

    rank = rank_embeddings(EXAMPLES, encode=encode)
    assert next(rank("cat cat cat")) == 0
    assert next(rank("dog ran park")) == 1
    assert asked == [5, 1, 1]
