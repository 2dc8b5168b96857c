"""Entity scores of tag sequences, as seqeval counts them in strict mode under IOB2."""

from collections.abc import Sequence

from schemas.scores import MICRO, LabelScore


def score_tags(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> tuple[LabelScore, ...]:
    """Gold and found BIO tags of the same sentences to scores by label, sorted, and `micro` over all.

    An entity is right when both its ends and its label are. A label that stands in neither has no score.

    >>> [round(score.f1, 2) for score in score_tags([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]])]
    [0.0, 1.0, 0.67]
    """
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    tags = {tag for sequences in (gold, found) for sequence in sequences for tag in sequence}
    labels = sorted({tag[2:] for tag in tags if tag != "O"})
    if not labels:
        return (LabelScore(label=MICRO, precision=0.0, recall=0.0, f1=0.0, support=0),)
    sequences = [list(sequence) for sequence in gold], [list(sequence) for sequence in found]
    by_label = precision_recall_fscore_support(*sequences, average=None, scheme=IOB2, zero_division=0)
    overall = precision_recall_fscore_support(*sequences, average="micro", scheme=IOB2, zero_division=0)
    rows = [*zip(labels, *by_label, strict=True), (MICRO, *overall)]
    return tuple(
        LabelScore(label=label, precision=float(precision), recall=float(recall), f1=float(f1), support=int(support))
        for label, precision, recall, f1, support in rows
    )


def micro_f1(scores: Sequence[LabelScore]) -> float:
    """The F1 over all labels."""
    return next(score.f1 for score in scores if score.label == MICRO)
