"""Two tokenizations of one sentence, joined through their characters."""

import itertools
import random

from transforms.pairing.alignment import align_tokens


def test_atoms_reach_from_one_cut_to_the_next():
    alignment = align_tokens(["can't", "st", "op"], ["ca", "n't", "stop"])
    assert alignment.atoms == ("ca", "n't", "st", "op")
    assert alignment.opens == (True, False, True, True)
    assert alignment.gold == ((0, 2), (2, 3), (3, 4))
    assert alignment.predicted == ((0, 1), (1, 2), (2, 4))
    assert alignment.misspelled == ()


def test_other_spelling_is_joined_token_by_token():
    alignment = align_tokens(["He", "said", "``", "no", "''"], ["He", "said", '"', "no", '"'])
    assert alignment.misspelled == (2, 4)
    assert alignment.gold == alignment.predicted == tuple((at, at + 1) for at in range(5))
    assert alignment.atoms == ("He", "said", "``", "no", "''")


def test_other_sentences_are_not_joined():
    assert align_tokens(["a", "b", "c"], ["a", "b"]) is None
    assert align_tokens(["one", "two", "three"], ["four", "five", "six"]) is None


def test_any_two_cuts_of_a_text_cover_it_with_the_same_atoms():
    rng = random.Random(5)
    for _ in range(500):
        text = "".join(rng.choice("abé😀") for _ in range(rng.randint(1, 12)))
        sides = [_cut(rng, text) for _ in range(2)]
        alignment = align_tokens(*sides)
        assert "".join(alignment.atoms) == text
        for tokens, ranges in zip(sides, (alignment.gold, alignment.predicted), strict=True):
            assert ["".join(alignment.atoms[first:last]) for first, last in ranges] == tokens


def _cut(rng: random.Random, text: str) -> list[str]:
    cuts = [0, *sorted(rng.sample(range(1, len(text)), rng.randrange(len(text)))), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts)]
