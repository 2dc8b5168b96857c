"""Entity scores of tag sequences, as seqeval counts them in strict mode under IOB2."""

from collections.abc import Sequence

from schemas.scores import MICRO, LabelScore
from transforms.scoring.matching import score_matches
from transforms.scoring.sequences import count_sequences


def score_tags(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> tuple[LabelScore, ...]:
    """Gold and found BIO tags of the same sentences to scores by label, sorted, and `micro` over all.

    An entity is right when both its ends and its label are. A label that stands in neither has no score.

    >>> [round(score.f1, 2) for score in score_tags([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]])]
    [0.0, 1.0, 0.67]
    """
    return tuple(score_matches(count_sequences(gold, found, is_strict=True)))


def micro_f1(scores: Sequence[LabelScore]) -> float:
    """The F1 over all labels."""
    return next(score.f1 for score in scores if score.label == MICRO)
