"""Words of a text in any script, and where they may be cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.text.words import cut_words, find_words, is_boundary

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(_TEXT)
def test_words_cover_everything_but_white_space_once_and_in_order(text):
    words = find_words(text)
    assert all(start < end for start, end in words)
    cursor = 0
    for start, end in [*words, (len(text), len(text))]:
        assert not text[cursor:start].strip()
        cursor = end


@given(_TEXT, st.data())
def test_cut_words_begin_and_end_at_every_cut_within_them(text, data):
    words = find_words(text)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    pieces = cut_words(words, cuts)
    assert all(start < end for start, end in pieces)
    assert {place for start, end in pieces for place in range(start, end)} == {
        place for start, end in words for place in range(start, end)
    }
    edges = {edge for piece in pieces for edge in piece}
    assert all(cut in edges for cut in cuts if any(start < cut < end for start, end in words))
    assert {edge for word in words for edge in word} <= edges


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann's  dog.", ["Ann", "'", "s", "dog", "."]),
        ("In 東京タワー now", ["In", "東", "京", "タ", "ワ", "ー", "now"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 snake_case 3.5", ["cafe\u0301", "snake_case", "3", ".", "5"]),
        ("กลัง", ["ก", "ลั", "ง"]),
        ("東京 x日本y", ["東", "京", "x", "日", "本", "y"]),
        ("Zoe\u0308 A😀 か\u3099", ["Zoe\u0308", "A", "😀", "か\u3099"]),
        (" \n", []),
    ],
)
def test_words_are_cut_in_any_script(text, words):
    assert [text[start:end] for start, end in find_words(text)] == words


@given(st.text())
def test_only_white_space_lies_between_words_and_each_ends_at_boundaries(text):
    words = find_words(text)
    assert "".join(text[start:end] for start, end in words).split() == "".join(text.split()).split()
    assert all(is_boundary(text, start) and is_boundary(text, end) for start, end in words)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(words))
