import json
import random

from hypothesis import given
from hypothesis import strategies as st

from schemas.receipts import LENGTH_BINS, Receipt, Tally, sum_tallies
from schemas.sketches import FormSketch

_COUNTS = st.dictionaries(st.sampled_from(["PER", "ORG", "LOC"]), st.integers(0, 9))
_TALLIES = st.builds(
    Tally,
    documents=st.integers(0, 9),
    dead=_COUNTS,
    entities=_COUNTS,
    scores=st.dictionaries(st.sampled_from(["PER", "ORG"]), st.lists(st.integers(0, 9), min_size=20, max_size=20)),
    lengths=st.lists(st.integers(0, 9), min_size=LENGTH_BINS, max_size=LENGTH_BINS).map(tuple),
    pieces=st.one_of(st.just({}), st.fixed_dictionaries({"known": st.integers(0, 9), "unknown": st.integers(0, 9)})),
    forms=st.lists(st.sampled_from("abcdef")).map(FormSketch.of),
    matches=st.dictionaries(st.sampled_from(["PER", "ORG"]), st.lists(st.integers(0, 9), min_size=3, max_size=3)),
)


@given(st.lists(_TALLIES, max_size=5), st.randoms(use_true_random=False))
def test_tallies_add_up_to_the_same_in_any_order(tallies, shuffled: random.Random):
    other = tallies.copy()
    shuffled.shuffle(other)
    assert sum_tallies(tallies) == sum_tallies(other)


@given(_TALLIES, _TALLIES, _TALLIES)
def test_tallies_add_up_to_the_same_in_any_grouping(a, b, c):
    assert (a + b) + c == a + (b + c)


@given(_TALLIES)
def test_the_empty_tally_changes_nothing(tally):
    assert tally + Tally() == Tally() + tally == tally + sum_tallies([])


def test_tally_adds_counts_by_key():
    total = Tally(entities={"PER": 1}, dead={"bad_utf8": 2}) + Tally(entities={"PER": 2, "LOC": 1})
    assert total.entities == {"LOC": 1, "PER": 3}
    assert total.dead == {"bad_utf8": 2}


@given(_TALLIES)
def test_receipt_survives_json(tally):
    receipt = Receipt("0" * 20, 3, 1, ({"attempt": "a", "final": "b", "size_bytes": 1},), tally)
    assert Receipt.from_json(json.loads(json.dumps(receipt.to_json()))) == receipt


def test_receipt_of_an_earlier_version_has_no_pieces_and_no_forms():
    value = Receipt("0" * 20, 3, 1, (), Tally(documents=3, entities={"PER": 2})).to_json()
    del value["tally"]["pieces"], value["tally"]["forms"]
    tally = Receipt.from_json(value).tally
    assert (tally.pieces, tally.forms) == ({}, FormSketch())
    assert tally.entities == {"PER": 2}
