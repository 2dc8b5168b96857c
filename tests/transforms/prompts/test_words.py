import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.prompts.words import cut_words, is_boundary


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann's  dog.", ["Ann", "'", "s", "dog", "."]),
        ("In 東京タワー now", ["In", "東", "京", "タ", "ワ", "ー", "now"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 snake_case 3.5", ["cafe\u0301", "snake_case", "3", ".", "5"]),
        ("กลัง", ["ก", "ลั", "ง"]),
        (" \n", []),
    ],
)
def test_words_are_cut_in_any_script(text, words):
    assert [text[start:end] for start, end in cut_words(text)] == words


@given(st.text())
def test_only_white_space_lies_between_words_and_each_ends_at_boundaries(text):
    words = cut_words(text)
    assert "".join(text[start:end] for start, end in words).split() == "".join(text.split()).split()
    assert all(is_boundary(text, start) and is_boundary(text, end) for start, end in words)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(words))
