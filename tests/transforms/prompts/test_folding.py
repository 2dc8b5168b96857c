import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.prompts.folding import fold
from transforms.text.words import find_words

ODD = st.text(alphabet="aBß İﬁé\u0301\u0323\u200b\u00ad“'–-\n\u3000Ａ①가\u1100\u1161 1.,", max_size=12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("New  York", "new\nyork"),
        ("Café", "Cafe\u0301"),
        ("ＡＢＣ", "abc"),
        ("“Anna”", '"Anna"'),
        ("O’Neil", "O'Neil"),
        ("A–B", "A-B"),
        ("Rapid Wien 's", "Rapid Wien's"),
        ("U.S. -based", "U.S.-based"),
        ("Stra\u00adße", "STRASSE"),
        ("e\u0301\u0323", "e\u0323\u0301"),
    ],
)
def test_spellings_that_mean_the_same_are_folded_to_one(one, other):
    assert fold(one).text == fold(other).text


@pytest.mark.parametrize(("one", "other"), [("an other", "another"), ("Jose", "José"), ("1 2", "12"), ("a.b", "ab")])
def test_others_are_not(one, other):
    assert fold(one).text != fold(other).text


@given(text=ODD | st.text(max_size=12))
def test_every_character_knows_where_it_comes_from(text):
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(folded.starts, folded.ends, strict=True))
    assert list(folded.starts) == sorted(folded.starts)
    for character, start, end in zip(folded.text, folded.starts, folded.ends, strict=True):
        assert character == " " or character in fold(text[start:end]).text


@given(text=ODD, form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_unicode_forms_of_a_text_are_folded_to_one(text, form):
    assert fold(unicodedata.normalize(form, text)).text == fold(text).text


@given(text=ODD | st.text(max_size=12), data=st.data())
def test_words_are_folded_alike_alone_and_in_their_text(text, data):
    words = find_words(text)
    if words:
        first = data.draw(st.integers(0, len(words) - 1))
        last = data.draw(st.integers(first, len(words) - 1))
        assert fold(text[words[first][0] : words[last][1]]).text in fold(text).text


def test_a_part_of_a_character_has_no_original():
    folded = fold("ﬁn é")
    assert folded.text == "fin e\u0301"
    assert folded.find_original(0, 3) == (0, 2)
    assert folded.find_original(0, 1) is None
    assert folded.find_original(4, 5) is None
    assert folded.find_original(4, 6) == (3, 4)
