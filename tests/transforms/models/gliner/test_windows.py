"""Words to windows, and what was found in them to spans."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.models.gliner.windows import WordSpan, WordWindow, cut_words, merge_spans


def test_windows_overlap_and_end_with_the_words():
    windows = cut_words([1] * 10, max_words=6, max_tokens=100, overlap_words=2)
    assert windows == [(0, 6), (4, 10)]


def test_a_window_holds_no_more_tokens_than_it_may():
    assert cut_words([3, 3, 3, 3], max_words=9, max_tokens=7, overlap_words=1) == [(0, 2), (1, 3), (2, 4)]


def test_the_overlap_gives_way_to_a_word_that_would_not_fit_behind_it():
    assert cut_words([3, 3, 6], max_words=9, max_tokens=7, overlap_words=2) == [(0, 2), (2, 3)]


def test_no_words_have_no_windows():
    assert cut_words([], max_words=4, max_tokens=4, overlap_words=1) == []


@given(st.lists(st.integers(0, 8), max_size=60), st.integers(1, 9), st.integers(8, 20), st.data())
def test_every_word_lies_in_a_window_and_every_window_within_its_limits(tokens, max_words, max_tokens, data):
    overlap = data.draw(st.integers(0, max_words - 1))
    windows = cut_words(tokens, max_words=max_words, max_tokens=max_tokens, overlap_words=overlap)
    assert {word for first, last in windows for word in range(first, last)} == set(range(len(tokens)))
    for first, last in windows:
        assert 0 < last - first <= max_words
        assert sum(tokens[first:last]) <= max_tokens
    for one, next_ in itertools.pairwise(windows):
        assert one.first < next_.first <= one.last < next_.last


def _merge(*found, n_words=10):
    return merge_spans([(WordWindow(*window), [WordSpan(*span) for span in spans]) for window, spans in found], n_words)


def test_the_same_span_of_two_windows_has_the_higher_score():
    assert _merge(((0, 6), [(4, 5, 0, 0.5)]), ((3, 10), [(4, 5, 1, 0.7)])) == [(4, 5, 1, 0.7)]


def test_a_span_cut_by_its_window_gives_way_to_the_neighbours():
    assert _merge(((0, 6), [(4, 6, 0, 0.9)]), ((4, 10), [(5, 8, 0, 0.3)])) == [(5, 8, 0, 0.3)]
    assert _merge(((0, 6), [(3, 5, 0, 0.3)]), ((4, 10), [(4, 5, 0, 0.9)])) == [(3, 5, 0, 0.3)]


def test_a_span_at_the_edge_of_the_text_is_not_cut():
    assert _merge(((0, 6), [(0, 2, 0, 0.9)]), ((0, 10), [(1, 3, 0, 0.3)])) == [(0, 2, 0, 0.9)]
    assert _merge(((4, 10), [(8, 10, 0, 0.9)]), ((5, 10), [(7, 9, 0, 0.3)])) == [(8, 10, 0, 0.9)]


def test_a_cut_span_that_nothing_contradicts_stays():
    assert _merge(((0, 6), [(4, 6, 0, 0.9)]), ((4, 10), [(8, 9, 1, 0.3)])) == [(4, 6, 0, 0.9), (8, 9, 1, 0.3)]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_windows_does_not_matter(seed):
    found = [((0, 6), [(0, 1, 0, 0.5), (4, 6, 1, 0.5)]), ((3, 9), [(3, 5, 0, 0.5)]), ((5, 10), [(5, 7, 1, 0.5)])]
    turned = found[seed:] + found[:seed]
    merged = _merge(*turned)
    assert merged == _merge(*found)
    assert all(one.last <= next_.first for one, next_ in itertools.pairwise(merged))
