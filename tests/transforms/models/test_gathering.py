"""Texts that were parted among taggers, and what came of them."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TaggingError
from transforms.models.gathering import gather_taggings
from transforms.models.tagger import Tagging


def _tag(counts, shift=0):
    """A tagging of texts with so many entities each, which are told apart by their scores."""
    document = np.repeat(np.arange(len(counts)), counts)
    start = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])
    numbers = np.arange(len(counts)) + shift
    return Tagging(
        document=document,
        start=start,
        end=start + 1,
        label=document % 2,
        score=(start / 100).astype(np.float32),
        tokens=numbers,
        windows=numbers + 1,
        failures={},
        computed_tokens=len(counts),
        seconds={"forward": 1.0},
        counts={"answers": 2},
        unknown=numbers + 2,
        chosen=tuple(f"tagger-{number}" for number in numbers),
        probabilities=tuple(np.full((number, 2), number, dtype=np.float32) for number in numbers),
    )


def _take(tagging, places):
    """Of the texts at some places only."""
    chosen = np.flatnonzero(np.isin(tagging.document, places))
    columns = {name: getattr(tagging, name)[chosen] for name in ("start", "end", "label", "score")}
    per_text = {name: getattr(tagging, name)[places] for name in ("tokens", "windows", "unknown")}
    document = np.searchsorted(places, tagging.document[chosen])
    names = tuple(tagging.chosen[place] for place in places)
    own = tuple(tagging.probabilities[place] for place in places)
    return dataclasses.replace(tagging, document=document, **columns, **per_text, chosen=names, probabilities=own)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_parts_of_a_tagging_make_the_whole_again(texts):
    whole = _tag([count for count, _ in texts])
    parts = [np.flatnonzero([part == own for _, own in texts]).astype(np.int64) for part in range(3)]
    gathered = gather_taggings(len(texts), [(places, _take(whole, places)) for places in parts])
    for name in ("document", "start", "end", "label", "score", "tokens", "windows", "unknown"):
        assert getattr(gathered, name).tolist() == getattr(whole, name).tolist()
    assert gathered.chosen == whole.chosen
    assert [own.tolist() for own in gathered.probabilities] == [own.tolist() for own in whole.probabilities]
    assert gathered.score.dtype == np.float32
    assert (gathered.computed_tokens, gathered.seconds, gathered.counts) == (
        3 * len(texts),
        {"forward": 3.0},
        {"answers": 6},
    )


def test_failures_are_told_by_the_place_of_their_text():
    error = TaggingError("poison", "it was told to fail")
    failing = dataclasses.replace(_tag([0, 0]), failures={1: error})
    parts = [(np.array([1]), _tag([1])), (np.array([0, 2]), failing)]
    assert gather_taggings(3, parts).failures == {2: error}


def test_what_one_part_does_not_count_is_not_counted():
    parts = [
        (np.array([0]), _tag([1])),
        (np.array([1]), dataclasses.replace(_tag([1]), unknown=None, chosen=None, probabilities=None)),
    ]
    gathered = gather_taggings(2, parts)
    assert (gathered.unknown, gathered.chosen, gathered.probabilities) == (None, None, None)
