from hypothesis import given
from hypothesis import strategies as st

from transforms.text.words import cut_words, find_words

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def words_of(text):
    return [text[start:end] for start, end in find_words(text)]


def test_words_end_at_spaces_and_punctuation():
    assert words_of("Anna's dog,\r\n\tslept. ") == ["Anna", "'", "s", "dog", ",", "slept", "."]


def test_characters_of_scripts_without_spaces_are_words():
    assert words_of("東京 x日本y") == ["東", "京", "x", "日", "本", "y"]


def test_combining_marks_and_emoji_stay_with_their_neighbours():
    assert words_of("Zoe\u0308 A😀 か\u3099") == ["Zoe\u0308", "A😀", "か\u3099"]


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
