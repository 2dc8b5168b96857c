"""Entities of tag sequences, beside seqeval on legal and on broken sequences."""

import random
import warnings

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from schemas.errors import ConfigError
from transforms.tags.chunks import Vocabulary, find_chunks

SCHEMES = {"IOB1": (IOB1, "BI"), "BIO": (IOB2, "BI"), "BIOES": (IOBES, "BIES"), "BILOU": (BILOU, "BILU")}
LABELS = ("PER", "creative-work", "LOC")


def _random_sequences(scheme: str, seed: int, n_sequences: int) -> list[list[str]]:
    """Sequences of any tags of the scheme, most of them illegal, some empty or of one tag."""
    rng = random.Random(seed)
    tags = ["O", *[f"{prefix}-{label}" for prefix in SCHEMES[scheme][1] for label in LABELS[: rng.randint(1, 3)]]]
    weights = [rng.choice((1, 3, 9)) for _ in tags]
    return [rng.choices(tags, weights, k=rng.randrange(12)) for _ in range(n_sequences)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_default_reading_equals_seqeval_sequence_by_sequence(scheme):
    for seed in range(20):
        sequences = _random_sequences(scheme, seed, 250)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [
                [(first, last + 1, label) for label, first, last in get_entities(tags)] if tags else []
                for tags in sequences
            ]
        assert find_chunks(sequences, scheme=scheme) == expected


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_strict_reading_equals_seqeval_sequence_by_sequence(scheme):
    for seed in range(20):
        sequences = _random_sequences(scheme, seed, 250)
        entities = Entities(sequences, SCHEMES[scheme][0]).entities
        expected = [[(e.start, e.end, e.tag) for e in found] for found in entities]
        assert find_chunks(sequences, scheme=scheme, is_strict=True) == expected


def test_bmes_is_bioes_with_another_letter():
    assert find_chunks([["B-A", "M-A", "E-A", "S-B", "M-B"]], scheme="BMES", is_strict=True) == [
        [(0, 3, "A"), (3, 4, "B")]
    ]


def test_io_has_one_reading():
    for is_strict in (False, True):
        assert find_chunks([["I-A", "I-A", "I-B", "O"]], scheme="IO", is_strict=is_strict) == [
            [(0, 2, "A"), (2, 3, "B")]
        ]


def test_no_sequences_and_empty_sequences_have_no_entities():
    assert find_chunks([], scheme="BIO") == []
    assert find_chunks([[], ["B-A"], []], scheme="BIO") == [[], [(0, 1, "A")], []]


def test_a_prefix_of_another_scheme_is_refused():
    with pytest.raises(ConfigError, match=r"expected tags in the scheme BIO.*found 'S-PER'; set --scheme"):
        find_chunks([["S-PER"]], scheme="BIO")


def test_mapped_labels_are_the_same_tag_and_o_is_none():
    vocabulary = Vocabulary("BIO", {"corporation": "ORG", "group": "ORG", "product": "O"})
    codes = vocabulary.encode(["B-corporation", "B-group", "B-product", "O", "B-ORG"], 5).tolist()
    assert codes[0] == codes[1] == codes[4] != 0
    assert codes[2] == codes[3] == 0
    assert vocabulary.labels == ["ORG"]


def test_illegal_sequences_are_found():
    sequences = [["B-A", "I-A"], ["I-A"], [], ["O", "I-A"], ["B-A", "I-B"], ["B-A"]]
    vocabulary = Vocabulary("BIO")
    bounds = [0]
    for tags in sequences:
        bounds.append(bounds[-1] + len(tags))
    codes = vocabulary.encode((tag for tags in sequences for tag in tags), bounds[-1])
    assert vocabulary.find_illegal(codes, np.array(bounds)).tolist() == [1, 3, 4]


def test_vocabulary_refuses_a_column_of_something_else_than_tags():
    with pytest.raises(ConfigError, match="expected 2,048 different tags at most, found more; set --conll-columns"):
        Vocabulary("BIO").encode((f"I-{number}" for number in range(40_000)), 40_000)
