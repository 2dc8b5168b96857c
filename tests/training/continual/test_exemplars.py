import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from training.continual.exemplars import CHOICES, balance, check_choice, choose_exemplars, herd
from training.examples import LabelledSentence

SENTENCES = st.lists(
    st.lists(st.sampled_from("ABC"), max_size=3).map(
        lambda labels: LabelledSentence(tuple("abcd"), tuple((at, at + 1, label) for at, label in enumerate(labels)))
    ),
    min_size=1,
    max_size=20,
)


def _embed(sentences):
    return np.array([[len(one.spans), 1.0] for one in sentences], dtype=np.float32)


@given(SENTENCES, st.integers(1, 25), st.sampled_from(CHOICES), st.integers(0, 5))
def test_a_choice_is_of_that_size_and_the_same_again(sentences, size, choice, seed):
    found = choose_exemplars(sentences, size, choice, seed=seed, embed=_embed)
    assert found == sorted(set(found))
    assert set(found) <= set(range(len(sentences)))
    assert len(found) == min(size, len(sentences))
    assert found == choose_exemplars(sentences, size, choice, seed=seed, embed=_embed)


def test_chance_goes_by_the_seed():
    sentences = [LabelledSentence(("a",), ())] * 50
    first, second = (choose_exemplars(sentences, 5, "random", seed=seed, embed=_embed) for seed in (0, 1))
    assert first != second


def test_balance_takes_a_rare_label_as_often_as_a_common_one():
    common, rare, none = (LabelledSentence(("a",), spans) for spans in (((0, 1, "A"),), ((0, 1, "B"),), ()))
    sentences = [*[common] * 90, *[rare] * 4, *[none] * 40]
    chosen = [sentences[at] for at in balance(sentences, 12, random.Random(0))]
    assert Counter(chosen) == {common: 4, rare: 4, none: 4}
    # The rare ones are used up; the others share the rest.
    assert Counter(sentences[at] for at in balance(sentences, 24, random.Random(0))) == {common: 10, rare: 4, none: 10}


def test_herding_takes_what_brings_the_mean_nearest():
    # The mean is 2. First 2 itself; then 1 or 3 (the first of them), then the other.
    vectors = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)
    assert herd(vectors, 3) == [2, 1, 3]


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 12))
def test_less_herding_is_a_prefix_of_more(seed, size):
    vectors = np.random.default_rng(seed).normal(size=(12, 4)).astype(np.float32)
    whole = herd(vectors, 12)
    assert sorted(whole) == list(range(12))
    assert herd(vectors, size) == whole[:size]


def test_a_herd_is_nearer_to_the_mean_than_chance():
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    off = np.linalg.norm(vectors[herd(vectors, 10)].mean(axis=0) - vectors.mean(axis=0))
    drawn = [random.Random(seed).sample(range(200), 10) for seed in range(20)]
    by_chance = [np.linalg.norm(vectors[places].mean(axis=0) - vectors.mean(axis=0)) for places in drawn]
    assert off < 0.3 * min(by_chance)


@pytest.mark.parametrize(
    ("choice", "size", "message"),
    [
        (
            "best",
            1,
            "expected choice of --remember buffer to be one of ('random', 'balanced', 'herding'), found 'best'",
        ),
        ("random", 0, "expected size of --remember buffer above 0, found 0"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(choice, size, message):
    with pytest.raises(ConfigError) as error:
        check_choice(choice, size, flag="--remember buffer")
    assert message in str(error.value)
