import random

import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from schemas.scores import MICRO
from training.scores import micro_f1, score_tags


def test_score_tags_counts_only_exact_entities():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"]]
    found = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "O"]]
    scores = {score.label: score for score in score_tags(gold, found)}
    assert list(scores) == ["LOC", "ORG", "PER", MICRO]
    assert (scores["LOC"].precision, scores["LOC"].recall, scores["LOC"].support) == (0.5, 1.0, 1)
    assert scores[MICRO].f1 == pytest.approx(1 / 3)


def test_score_tags_without_entities_is_zero():
    (score,) = score_tags([["O", "O"]], [["O", "O"]])
    assert (score.label, score.f1, score.support) == (MICRO, 0.0, 0)


def test_micro_f1_equals_seqeval_on_random_tags():
    draw = random.Random(0)
    tags = ["O", "B-PER", "I-PER", "B-creative-work", "I-creative-work"]
    gold, found = ([[draw.choice(tags) for _ in range(9)] for _ in range(50)] for _ in range(2))
    assert micro_f1(score_tags(gold, found)) == pytest.approx(f1_score(gold, found, mode="strict", scheme=IOB2))
