"""Two tokenizations of one sentence, joined through their characters.

    gold       can't   stop       atoms     ca n't stop
    predicted  ca n't  stop       gold      [0,2) [2,3)     predicted  [0,1) [1,2) [2,3)

Both cut the same characters, white space aside; an atom reaches from one cut to the next, whoever made it. A sentence
whose tokens are as many but not all spelled alike is joined token by token.
"""

import dataclasses
import itertools
from collections.abc import Sequence

_MOST_CERTAIN = 2


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How the tokens of both sides lie over common atoms.

    Attributes:
      atoms: the pieces, in the gold spelling.
      opens: for each atom, whether a gold token begins with it.
      gold: [first, last) atoms of each gold token.
      predicted: the same of each predicted token.
      misspelled: positions of tokens that are spelled differently.
    """

    atoms: tuple[str, ...]
    opens: tuple[bool, ...]
    gold: tuple[tuple[int, int], ...]
    predicted: tuple[tuple[int, int], ...]
    misspelled: tuple[int, ...] = ()


def align_tokens(gold: Sequence[str], predicted: Sequence[str]) -> Alignment | None:
    """Tokens of both sides to their alignment; None when they are not the same sentence.

    >>> alignment = align_tokens(["can't", "stop"], ["ca", "n't", "stop"])
    >>> alignment.atoms, alignment.gold
    (('ca', "n't", 'stop'), ((0, 2), (2, 3)))
    """
    text = "".join(gold)
    if text == "".join(predicted):
        gold_ends, predicted_ends = (list(itertools.accumulate(map(len, tokens))) for tokens in (gold, predicted))
        cuts = sorted({0, *gold_ends, *predicted_ends})
        atom_at = {cut: at for at, cut in enumerate(cuts)}
        opens = {0, *gold_ends}
        return Alignment(
            atoms=tuple(text[start:end] for start, end in itertools.pairwise(cuts)),
            opens=tuple(cut in opens for cut in cuts[:-1]),
            gold=_ranges(gold_ends, atom_at),
            predicted=_ranges(predicted_ends, atom_at),
        )
    if len(gold) != len(predicted):
        return None
    misspelled = tuple(at for at, (a, b) in enumerate(zip(gold, predicted, strict=True)) if a != b)
    # Of a short sentence nobody can tell; in a longer one, most tokens must agree.
    if len(gold) > _MOST_CERTAIN and 2 * len(misspelled) > len(gold):
        return None
    each = tuple((at, at + 1) for at in range(len(gold)))
    return Alignment(tuple(gold), (True,) * len(gold), each, each, misspelled)


def _ranges(ends: Sequence[int], atom_at: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((atom_at[start], atom_at[end]) for start, end in itertools.pairwise([0, *ends]))
