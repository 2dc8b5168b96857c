import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from tests.transforms.prompts.recipes import examples
from transforms.prompts.alignment import Aligner, AlignmentConfig, Place
from transforms.prompts.answers import Mention
from transforms.prompts.folding import fold


def _align(text, mention, *, near=None, max_distance=0.2):
    aligner = Aligner(text, AlignmentConfig(max_distance=max_distance))
    return aligner.align(Mention(mention, "PER", 0, 0, near))


@pytest.mark.parametrize(
    ("text", "mention", "status", "found"),
    [
        ("Anna met Annabel and Anna.", "Anna", "exact", ["Anna", "Anna"]),
        ("Anna met Annabel.", " Anna\n", "exact", ["Anna"]),
        ("東京都で東京", "東京", "exact", ["東京", "東京"]),
        ("(U.N.) and U.N.", "U.N.", "exact", ["U.N.", "U.N."]),
        ("ANNA met anna.", "Anna", "normalised", ["ANNA", "anna"]),
        ("in New\n  York and NEW YORK", "New York", "normalised", ["New\n  York", "NEW YORK"]),
        ("Rapid Wien 's win", "Rapid Wien's", "normalised", ["Rapid Wien 's"]),
        ("at Cafe\u0301 Ｃentral now", "Café Central", "normalised", ["Cafe\u0301 Ｃentral"]),
        ("“Bob ‘the hat’ Dylan”", "Bob 'the hat' Dylan", "normalised", ["Bob ‘the hat’ Dylan"]),
        ("the Germans won", "German", "not-found", []),  # one of six letters is not alike enough by 0.15
        ("Jonathan Smyth left", "Jonathan Smith", "fuzzy", ["Jonathan Smyth"]),
        ("He saw Angela Dorothea Merkel", "Angela Dorotea Merkel", "fuzzy", ["Angela Dorothea Merkel"]),
        ("a Boeing 757 landed", "Boeing 747", "not-found", []),
        ("Anna met Otto", "Mia", "not-found", []),
        ("Anna met Otto", "", "not-found", []),
        ("Anna met Otto", "\u200b", "not-found", []),
        ("", "Anna", "not-found", []),
        ("Annabel", "Anna", "not-found", []),
    ],
)
def test_a_mention_is_found_as_well_as_it_can_be(text, mention, status, found):
    found_status, places = _align(text, mention, max_distance=0.15)
    assert (found_status, [text[place.start : place.end] for place in places]) == (status, found)


def test_what_is_alike_has_its_distance_and_only_its_best_place():
    text = "Jonathon Smyth, then Jonathan Smyth, then Jonathan Smyth"
    assert _align(text, "Jonathan Smith") == ("fuzzy", (Place(21, 35, 1),))


def test_how_much_may_differ_is_up_to_the_caller():
    assert _align("the Germans won", "German") == ("fuzzy", (Place(4, 11, 1),))
    assert _align("the Germans won", "German", max_distance=0)[0] == "not-found"
    with pytest.raises(ConfigError, match=r"from 0 to below 1, found 1\.5"):
        AlignmentConfig(max_distance=1.5)


@pytest.mark.parametrize(
    ("mention", "near", "place"),
    [
        ("Anna", 0, Place(0, 4)),
        ("Anna", 7, Place(9, 13)),
        ("ANNA", 20, Place(18, 22)),
        ("nab", 26, Place(26, 29)),  # a mark within a word is where it is
        ("Anabel", 0, Place(24, 31, 1)),
    ],
)
def test_a_mention_that_says_where_it_stands_has_the_nearest_place(mention, near, place):
    assert _align("Anna and Anna and Anna, Annabel", mention, near=near)[1] == (place,)


@given(
    example=examples(),
    data=st.data(),
    change=st.sampled_from([str.lower, str.upper, str.swapcase, lambda m: m[:-1] + "x"]),
)
def test_places_always_lie_in_the_text_and_fold_to_the_mention(example, data, change):
    start = data.draw(st.integers(0, len(example.text) - 1))
    end = data.draw(st.integers(start + 1, len(example.text)))
    mention = change(example.text[start:end])
    near = data.draw(st.none() | st.integers(-5, 50))
    status, places = _align(example.text, mention, near=near)
    assert bool(places) == (status != "not-found")
    for place in places:
        assert 0 <= place.start < place.end <= len(example.text)
        found = example.text[place.start : place.end]
        assert not (found[0].isspace() or found[-1].isspace())
        if status == "exact":
            assert found == mention.strip()
        if status == "normalised":
            assert fold(found).text == fold(mention.strip()).text
        assert (place.distance > 0) == (status == "fuzzy")
