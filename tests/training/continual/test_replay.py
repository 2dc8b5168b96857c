import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from tests.training.continual.pasts import NEW, OLD
from training.continual.replay import ReplayConfig, build, count_drawn


@given(st.integers(1, 5000), st.floats(0.01, 0.99))
def test_old_sentences_are_that_share_of_a_pass(n_sentences, share):
    n_drawn = count_drawn(n_sentences, share)
    assert n_drawn >= 1
    exact = n_sentences * share / (1 - share)
    assert n_drawn == 1 or abs(n_drawn - exact) <= 0.5


def test_each_pass_draws_its_own_and_the_same_again(past):
    past = dataclasses.replace(past, sentences=NEW * 2, old=OLD * 4)
    past = dataclasses.replace(
        past, old=[dataclasses.replace(one, words=(*one.words, str(at))) for at, one in enumerate(past.old)]
    )
    added = build(ReplayConfig(share=0.5), past)
    passes = [added.draw(epoch) for epoch in range(4)]
    assert [len(drawn) for drawn in passes] == [4] * 4
    assert len({tuple(drawn) for drawn in passes}) > 1
    assert passes == [build(ReplayConfig(share=0.5), past).draw(epoch) for epoch in range(4)]
    assert passes != [
        build(ReplayConfig(share=0.5), dataclasses.replace(past, seed=1)).draw(epoch) for epoch in range(4)
    ]
    assert added.term is None


def test_a_small_buffer_is_drawn_whole_before_any_of_it_twice(past):
    past = dataclasses.replace(past, sentences=NEW * 4)
    counts = Counter(build(ReplayConfig(share=0.5), past).draw(0))
    assert set(counts) == set(OLD)
    assert sum(counts.values()) == 8
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_buffer_is_no_larger_than_asked_for(past):
    past = dataclasses.replace(past, sentences=NEW * 20)
    assert len(set(build(ReplayConfig(size=2, choice="herding"), past).draw(0))) == 2


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_of_nothing_or_all_is_refused(share):
    with pytest.raises(ConfigError, match="expected share of --continual replay above 0 and below 1"):
        ReplayConfig(share=share)
