"""Where names are found, and that their offsets hold."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.models.gazetteer.dictionaries import Dictionary
from transforms.models.gazetteer.matcher import Matcher
from transforms.models.gazetteer.options import GazetteerOptions


def _find(text, *, exact=(), folded=(), words=True):
    """What is found in a text: (surface, label); names are their own labels."""
    dictionary = Dictionary({name: name for name in exact}, {name.casefold(): name for name in folded}, 0, 0)
    found = Matcher(dictionary, GazetteerOptions(words=words)).match([text])
    labels = dictionary.labels
    return [
        (text[start:end], labels[label]) for start, end, label in zip(found.start, found.end, found.label, strict=True)
    ]


def _surfaces(text, names, **options):
    return [surface for surface, _ in _find(text, exact=names, **options)]


def test_a_name_begins_and_ends_where_words_do():
    text = "Anna, Annas Anna's (Anna) HannaAnna Anna_1 Anna-Lena Ann\u00adAnna"
    assert _surfaces(text, ["Anna"]) == ["Anna"] * 4
    assert len(_surfaces(text, ["Anna"], words=False)) == 8


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("我住在北京市。", "北京"),
        ("東京タワーに行く", "東京タワー"),
        ("ฉันอยู่ที่กรุงเทพมหานคร", "กรุงเทพ"),
        ("我叫Anna和你", "Anna"),
    ],
)
def test_scripts_without_spaces_need_no_boundary(text, name):
    assert _surfaces(text, [name]) == [name]


@pytest.mark.parametrize("words", [True, False])
def test_a_combining_mark_is_never_cut_from_its_letter(words):
    assert _surfaces("Andre\u0301 Andre", ["Andre"], words=words) == ["Andre"]
    assert _surfaces("กา\u0e35", ["กา"], words=words) == []


def test_whitespace_in_a_name_is_any_run_of_whitespace():
    text = "New York, New\n\tYork, New\u00a0York, NewYork, New, York"
    assert _surfaces(text, ["New York"]) == ["New York", "New\n\tYork", "New\u00a0York"]


def test_of_overlapping_names_the_leftmost_and_of_those_the_longest_is_found():
    names = ["New", "New York", "York Times", "New York Times Company", "Times"]
    assert _surfaces("New York Times, New Yorker", names) == ["New York", "Times", "New"]


def test_names_side_by_side_are_all_found():
    assert _surfaces("北京上海 Anna/Anna", ["北京", "上海", "Anna"]) == ["北京", "上海", "Anna", "Anna"]


def test_a_name_as_it_is_written_goes_before_one_of_any_case():
    found = _find("apple Apple APPLE aPPLE", exact=["Apple", "APPLE"], folded=["apple"])
    assert found == [("apple", "apple"), ("Apple", "Apple"), ("APPLE", "APPLE"), ("aPPLE", "apple")]


def test_a_longer_name_in_the_wrong_case_hides_no_shorter_one():
    assert _find("New york times", exact=["New York Times", "New"], folded=["york"]) == [
        ("New", "New"),
        ("york", "york"),
    ]


@pytest.mark.parametrize("words", [True, False])
def test_letters_that_fold_to_several_keep_their_offsets(words):
    text = "ßß in der STRASSE, Straße; İSTANBUL i\u0307stanbul ﬁn FIN"
    found = _find(text, folded=["straße", "İstanbul", "ﬁn"], words=words)
    assert [surface for surface, _ in found] == ["STRASSE", "Straße", "İSTANBUL", "i\u0307stanbul", "ﬁn", "FIN"]


def test_a_name_is_never_half_a_letter():
    assert _find("ß", folded=["s"], words=False) == []
    assert _find("ßs", folded=["s"], words=False) == [("s", "s")]


def test_control_characters_of_a_text_separate_nothing_but_words():
    assert _surfaces("\x02Anna\x03 \x01Berlin\x01", ["Anna", "Berlin", "Anna Berlin"]) == ["Anna", "Berlin"]


def test_every_letter_that_folds_to_several_is_found_where_these_are():
    for point in range(sys.maxunicode + 1):
        folded = chr(point).casefold()
        if len(folded) > 1:
            assert _find(f"a{chr(point)}a", folded=[f"a{folded}a"]), f"U+{point:04X}"


ALPHABET = "aAbBsSßẞİiıﬁﬀǰΐſσςΣ\u0301\u0307\u0345 \n\u00a0-'._京都กา\u0e35\u200d1"
names = st.lists(st.text(ALPHABET, min_size=1, max_size=4).map(lambda n: " ".join(n.split())).filter(bool), min_size=1)


def _is_name(text, start, end, name):
    return " ".join(text[start:end].split()).casefold() == name.casefold()


@given(st.lists(st.text(ALPHABET, max_size=24), min_size=1, max_size=4), names, st.booleans())
def test_every_name_that_is_found_stands_there_and_none_is_missed(texts, names, words):
    dictionary = Dictionary({}, {name.casefold(): name for name in names}, 0, 0)
    found = Matcher(dictionary, GazetteerOptions(words=words)).match(texts)
    last = (0, 0)
    for document, start, end, label in zip(found.document, found.start, found.end, found.label, strict=True):
        assert _is_name(texts[document], start, end, dictionary.labels[label])
        assert (document, start) >= last
        last = (document, end)
    for at, text in enumerate(texts):
        own = found.document == at
        for start, end in _spell_out(text, names, words):
            assert ((found.start[own] < end) & (start < found.end[own])).any(), (text, text[start:end])


def _spell_out(text, names, words):
    """Every place of a name, the slow way."""
    cuts = [at for at in range(len(text) + 1) if _is_edge(text, at, words)]
    for start in cuts:
        for end in cuts:
            surface = text[start:end]
            if surface and surface == surface.strip() and any(_is_name(text, start, end, name) for name in names):
                yield start, end


def _is_edge(text, at, words):
    """Whether a character begins, and a word with it where there are words."""
    if at in (0, len(text)):
        return True
    if _is_mark(text[at]):
        return False
    return not words or not (_is_joined(text[at - 1]) and _is_joined(text[at]))


def _is_joined(character):
    return (character.isalnum() or character == "_" or _is_mark(character)) and character not in "京都กา\u0e35"


def _is_mark(character):
    return character in "\u0301\u0307\u0345\u0e35\u200d"


@given(st.lists(st.text(ALPHABET, max_size=24), max_size=4), st.booleans())
def test_texts_together_are_read_as_each_alone(texts, words):
    dictionary = Dictionary({"A": "x", "京": "y"}, {"ss": "x", "a b": "y"}, 0, 0)
    matcher = Matcher(dictionary, GazetteerOptions(words=words))
    together = matcher.match(texts)
    for at, text in enumerate(texts):
        alone, own = matcher.match([text]), together.document == at
        assert together.start[own].tolist() == alone.start.tolist()
        assert together.end[own].tolist() == alone.end.tolist()
        assert together.label[own].tolist() == alone.label.tolist()
        assert together.words[at] == alone.words[0]


def test_a_name_across_the_blocks_of_a_long_text_is_found(monkeypatch):
    text = "Anna Berg " * 50
    for size in (1, 7, 64):
        monkeypatch.setattr("transforms.models.gazetteer.matcher._BLOCK_CHARACTERS", size)
        assert _surfaces(text, ["Anna Berg"]) == ["Anna Berg"] * 50


def test_words_are_counted_and_characters_where_there_are_no_spaces():
    dictionary = Dictionary({"x": "x"}, {}, 0, 0)
    found = Matcher(dictionary, GazetteerOptions()).match(["Anna's dog, 7 years.", "", "我住Anna", "..."])
    assert found.words.tolist() == [5, 0, 3, 0]
