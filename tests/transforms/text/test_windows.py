import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.text.windows import WindowConfig, cut_windows


@st.composite
def _documents(draw):
    lengths = draw(st.lists(st.integers(0, 90), min_size=1, max_size=6))
    max_tokens = draw(st.integers(6, 30))
    overlap = draw(st.integers(0, max_tokens // 3))
    starts = draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths)))
    return np.concatenate([[0], np.cumsum(lengths)]), np.array(starts, dtype=bool), max_tokens, overlap


@given(_documents())
def test_cut_windows_covers_every_token_of_every_document(case):
    bounds, starts_word, max_tokens, overlap = case
    windows = cut_windows(bounds, starts_word, max_tokens=max_tokens, overlap_tokens=overlap)
    seen = np.zeros(bounds[-1], dtype=int)
    for first, last, document in zip(windows.first, windows.last, windows.document, strict=True):
        assert bounds[document] <= first < last <= bounds[document + 1]
        assert last - first <= max_tokens
        seen[first:last] += 1
    assert (seen >= 1).all()
    assert (seen <= 2).all()


@given(_documents())
def test_cut_windows_shares_at_least_the_overlap_between_neighbours(case):
    bounds, starts_word, max_tokens, overlap = case
    windows = cut_windows(bounds, starts_word, max_tokens=max_tokens, overlap_tokens=overlap)
    for at in range(1, len(windows.first)):
        if windows.document[at] == windows.document[at - 1]:
            assert windows.last[at - 1] - windows.first[at] >= overlap


def test_cut_windows_begins_a_window_at_a_word():
    starts_word = np.array([1, 1, 1, 0, 0, 1, 0, 1, 1, 1], dtype=bool)
    windows = cut_windows(np.array([0, 10]), starts_word, max_tokens=8, overlap_tokens=2)
    assert list(zip(windows.first.tolist(), windows.last.tolist(), strict=True)) == [(0, 8), (5, 10)]


def test_cut_windows_gives_an_empty_document_no_window():
    windows = cut_windows(np.array([0, 0, 2, 2]), np.ones(2, dtype=bool), max_tokens=8, overlap_tokens=2)
    assert windows.document.tolist() == [1]


@pytest.mark.parametrize(("max_tokens", "overlap"), [(4, 0), (30, 11), (30, -1)])
def test_window_config_refuses_windows_that_do_not_advance(max_tokens, overlap):
    with pytest.raises(ConfigError, match="tokens"):
        WindowConfig(max_tokens=max_tokens, overlap_tokens=overlap)


def test_window_config_is_held_within_what_a_model_reads():
    config = WindowConfig(max_tokens=512, overlap_tokens=64)
    assert config.within(512) is config
    assert config.within(256) == WindowConfig(max_tokens=256, overlap_tokens=64)
    assert config.within(100) == WindowConfig(max_tokens=100, overlap_tokens=33)
