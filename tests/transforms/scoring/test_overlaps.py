"""The measures of SemEval-2013 task 9.1, by hand and beside nervaluate."""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from transforms.scoring.matching import Span
from transforms.scoring.overlaps import (
    MEASURES,
    OUTCOMES,
    count_label_overlaps,
    count_overlaps,
    find_overlaps,
    score_overlaps,
)
from transforms.tags.decode import decode_tags

LABELS = ("PER", "LOC", "ORG")
Pair = tuple[list[Span], list[Span]]


def _counts(gold: Sequence[Span], predicted: Sequence[Span]) -> dict[str, dict[str, int]]:
    """Counts by the names of their outcomes, without the zeros."""
    counts = count_overlaps(gold, predicted)
    return {m: {o: n for o, n in zip(OUTCOMES, counts[m], strict=True) if n} for m in MEASURES}


def _each(**outcome: int) -> dict[str, dict[str, int]]:
    return {measure: dict(outcome) for measure in MEASURES}


# The scenarios of the task, one by one.


def test_a_span_with_the_same_boundaries_and_label_is_correct_by_every_measure():
    assert _counts([(3, 11, "PER")], [(3, 11, "PER")]) == _each(correct=1)


def test_a_span_that_overlaps_nothing_is_spurious_and_a_gold_span_nobody_takes_is_missed():
    assert _counts([], [(3, 11, "PER")]) == _each(spurious=1)
    assert _counts([(3, 11, "PER")], []) == _each(missed=1)
    assert _counts([(3, 11, "PER")], [(11, 14, "PER")]) == _each(missed=1, spurious=1)
    assert _counts([], []) == _each()


def test_another_label_is_wrong_by_the_measures_that_look_at_it():
    expected = {
        "strict": {"incorrect": 1},
        "exact": {"correct": 1},
        "partial": {"correct": 1},
        "type": {"incorrect": 1},
    }
    assert _counts([(3, 11, "PER")], [(3, 11, "ORG")]) == expected


def test_other_boundaries_are_wrong_to_strict_and_exact_half_to_partial_and_right_to_type():
    expected = {
        "strict": {"incorrect": 1},
        "exact": {"incorrect": 1},
        "partial": {"partial": 1},
        "type": {"correct": 1},
    }
    assert _counts([(3, 11, "PER")], [(0, 11, "PER")]) == expected
    assert _counts([(3, 11, "PER")], [(10, 30, "PER")]) == expected


def test_other_boundaries_and_another_label_are_partial_to_partial_only():
    expected = {
        "strict": {"incorrect": 1},
        "exact": {"incorrect": 1},
        "partial": {"partial": 1},
        "type": {"incorrect": 1},
    }
    assert _counts([(3, 11, "PER")], [(0, 11, "ORG")]) == expected


# How spans meet.


def test_a_gold_span_is_taken_once():
    assert _counts([(0, 10, "PER")], [(0, 10, "PER"), (0, 10, "PER")]) == _each(correct=1, spurious=1)
    assert _counts([(0, 10, "PER")], [(0, 5, "PER"), (5, 10, "PER")])["partial"] == {"partial": 1, "spurious": 1}


def test_a_predicted_span_over_two_gold_spans_takes_one_of_them():
    assert _counts([(0, 5, "PER"), (5, 10, "PER")], [(0, 10, "PER")])["partial"] == {"partial": 1, "missed": 1}


def test_a_span_that_agrees_is_preferred_to_one_that_comes_first():
    gold = [(0, 9, "ORG"), (4, 9, "PER")]
    assert _counts(gold, [(4, 9, "PER")]) == _each(correct=1, missed=1)


def test_type_takes_the_gold_span_with_the_nearest_boundaries():
    gold = [(0, 20, "PER"), (4, 9, "PER")]
    # If the first predicted span took the first gold span, the second would find none.
    assert _counts(gold, [(4, 10, "PER"), (10, 20, "PER")])["type"] == {"correct": 2}


def test_who_comes_first_takes_first():
    gold, early, exact = [(0, 10, "PER")], (0, 3, "PER"), (0, 10, "PER")
    assert _counts(gold, [early, exact])["strict"] == {"incorrect": 1, "spurious": 1}
    assert _counts(gold, [exact, early])["strict"] == {"correct": 1, "spurious": 1}


@pytest.mark.parametrize(
    ("length", "shared", "overlaps"), [(100, 1, True), (101, 1, False), (201, 2, False), (700, 7, True)]
)
def test_less_than_one_percent_of_the_gold_span_is_no_overlap(length, shared, overlaps):
    gold, predicted = [(1000, 1000 + length, "PER")], [(900, 1000 + shared, "PER")]
    assert _counts(gold, predicted)["type"] == ({"correct": 1} if overlaps else {"missed": 1, "spurious": 1})


def test_a_predicted_span_overlaps_however_little_of_it_does():
    assert _counts([(10, 12, "PER")], [(11, 5000, "PER")])["type"] == {"correct": 1}


def test_equal_spans_are_all_correct_whatever_their_order():
    rng = random.Random(5)
    for _ in range(200):
        gold = _random_spans(rng, rng.randrange(9))
        predicted = rng.sample(gold, len(gold))
        assert count_overlaps(gold, predicted) == {measure: [len(gold), 0, 0, 0, 0] for measure in MEASURES}


# Labels apart.


def test_by_label_a_span_of_another_label_is_not_there():
    gold, predicted = [(0, 5, "PER"), (7, 9, "LOC")], [(0, 5, "ORG"), (7, 9, "LOC")]
    counts = count_label_overlaps(gold, predicted)
    assert list(counts) == ["LOC", "ORG", "PER"]
    for label, expected in {"LOC": [1, 0, 0, 0, 0], "ORG": [0, 0, 0, 0, 1], "PER": [0, 0, 0, 1, 0]}.items():
        assert [counts[label][measure] for measure in MEASURES] == [expected] * 4
    assert count_label_overlaps([], []) == {}


# Published examples.


def _spans_of(sentences: list[str]) -> list[list[Span]]:
    return [decode_tags(sentence.split()) for sentence in sentences]


def _add(counts: Sequence[dict[str, list[int]]]) -> dict[str, list[int]]:
    return {measure: np.sum([each[measure] for each in counts], axis=0).tolist() for measure in MEASURES}


README_GOLD = ["O B-PER I-PER O O O B-ORG I-ORG", "O B-LOC B-PER I-PER O O B-DATE"]
README_PREDICTED = ["O O B-PER I-PER O O B-ORG I-ORG", "O B-LOC I-LOC B-PER O O B-DATE"]


def test_the_example_of_nervaluates_readme():
    pairs = list(zip(_spans_of(README_GOLD), _spans_of(README_PREDICTED), strict=True))
    total = _add([count_overlaps(*pair) for pair in pairs])
    assert total == {
        "strict": [2, 3, 0, 0, 0],
        "exact": [2, 3, 0, 0, 0],
        "partial": [2, 0, 3, 0, 0],
        "type": [5, 0, 0, 0, 0],
    }
    for measure, score in {"strict": 0.4, "exact": 0.4, "partial": 0.7, "type": 1.0}.items():
        assert score_overlaps(measure, total[measure]) == pytest.approx((score, score, score))
    by_label = [count_label_overlaps(*pair) for pair in pairs]
    strict = {
        label: np.sum([counts[label]["strict"] for counts in by_label if label in counts], axis=0).tolist()
        for label in ("DATE", "LOC", "ORG", "PER")
    }
    correct, incorrect = [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]
    assert strict == {"DATE": correct, "LOC": incorrect, "ORG": correct, "PER": [0, 2, 0, 0, 0]}


def test_the_drugs_of_the_task_description():
    """Its table of scores, which holds when the span found in full (phenytoin) stands for two."""
    gold = [
        (0, 7, "BRAND"),  # tikosyn, not found
        (23, 31, "DRUG"),  # warfarin, found as "of warfarin"
        (40, 51, "DRUG"),  # propranolol, found as BRAND
        (60, 69, "DRUG"),  # phenytoin
        (70, 79, "DRUG"),  # phenytoin
        (85, 99, "GROUP"),  # contraceptives, found as "oral contraceptives", DRUG
    ]
    predicted = [
        (10, 17, "BRAND"),  # healthy
        (20, 31, "DRUG"),
        (40, 51, "BRAND"),
        (60, 69, "DRUG"),
        (70, 79, "DRUG"),
        (80, 99, "DRUG"),
    ]
    counts = count_overlaps(gold, predicted)
    assert counts == {
        "strict": [2, 3, 0, 1, 1],
        "exact": [3, 2, 0, 1, 1],
        "partial": [3, 0, 2, 1, 1],
        "type": [3, 2, 0, 1, 1],
    }
    f1 = {measure: float(score_overlaps(measure, counts[measure])[2]) for measure in MEASURES}
    assert f1 == pytest.approx({"strict": 2 / 6, "exact": 3 / 6, "partial": 4 / 6, "type": 3 / 6})


WESTPHALIA = [(4, 37, "EVENT"), (4, 24, "EVENT"), (14, 24, "LOCATION"), (51, 55, "DATE")]
"""The nested spans of nervaluate's own tests: the Treaty of Westphalia negotiations concluded in 1648."""


@pytest.mark.parametrize(
    ("predicted", "strict"),
    [
        (WESTPHALIA, {"correct": 4}),
        (WESTPHALIA[::-1], {"correct": 4}),
        (WESTPHALIA[1:], {"correct": 3, "missed": 1}),
        ([WESTPHALIA[0], (4, 24, "DATE"), *WESTPHALIA[2:]], {"correct": 3, "incorrect": 1}),
        ([WESTPHALIA[0], (4, 30, "EVENT"), *WESTPHALIA[2:]], {"correct": 3, "incorrect": 1}),
        ([WESTPHALIA[0], (4, 30, "DATE"), *WESTPHALIA[2:]], {"correct": 3, "incorrect": 1}),
        ([*WESTPHALIA, (60, 65, "MISC")], {"correct": 4, "spurious": 1}),
    ],
    ids=["as is", "reversed", "one missed", "label", "boundary", "both", "one more"],
)
def test_nested_spans_meet_one_to_one(predicted, strict):
    assert _counts(WESTPHALIA, predicted)["strict"] == strict
    _assert_parity([(WESTPHALIA, predicted)])


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        (README_GOLD, README_PREDICTED),
        (["O B-PER I-PER O O O B-ORG I-ORG"], ["O B-PER I-PER O B-PER O B-LOC I-LOC"]),
        (["O B-PER I-PER O O O B-ORG I-ORG"], ["O B-PER I-PER O O O O B-LOC"]),
        (["O B-PER I-PER O O O B-ORG I-ORG"], ["O O O O O O O O"]),
        (["O O", "B-LOC I-LOC"], ["B-PER O", "O O"]),
    ],
)
def test_published_sentences_score_as_nervaluate_scores_them(gold, predicted):
    _assert_parity(list(zip(_spans_of(gold), _spans_of(predicted), strict=True)))


# Parity with nervaluate, number for number.


def _nervaluate(pairs: Sequence[Pair]) -> dict[str, dict]:
    evaluator = pytest.importorskip("nervaluate.evaluator", reason="nervaluate needs Python 3.11")
    sides = [
        [[{"label": label, "start": start, "end": end - 1} for start, end, label in spans] for spans in side]
        for side in zip(*pairs, strict=True)
    ]
    tags = sorted({label for pair in pairs for spans in pair for _, _, label in spans})
    return evaluator.Evaluator(*sides, tags=tags, loader="dict").evaluate()


def _assert_equal(ours: dict[str, list[int]], theirs: dict) -> None:
    for measure in MEASURES:
        reference = theirs["ent_type" if measure == "type" else measure]
        assert ours[measure] == [getattr(reference, outcome) for outcome in OUTCOMES]
        assert score_overlaps(measure, ours[measure]) == (reference.precision, reference.recall, reference.f1)


def _assert_parity(pairs: Sequence[Pair]) -> None:
    """The documents together, over all labels and by label."""
    reference = _nervaluate(pairs)
    _assert_equal(_add([count_overlaps(*pair) for pair in pairs]), reference["overall"])
    by_label = [count_label_overlaps(*pair) for pair in pairs]
    labels = {label for counts in by_label for label in counts}
    assert labels == reference["entities"].keys()
    for label in labels:
        ours = _add([counts[label] for counts in by_label if label in counts])
        _assert_equal(ours, reference["entities"][label])


def _random_spans(rng: random.Random, n_spans: int, width: int = 12) -> list[Span]:
    """Overlapping, nested and repeated spans in no order."""
    starts = [rng.randrange(width) for _ in range(n_spans)]
    return [(start, start + rng.randint(1, 6), rng.choice(LABELS)) for start in starts]


def _random_tagging(rng: random.Random, n_spans: int) -> list[Span]:
    """Sorted spans of which no two overlap, as tags give them."""
    spans, cursor = [], 0
    for _ in range(n_spans):
        start = cursor + rng.randrange(4)
        cursor = start + rng.randint(1, 5)
        spans.append((start, cursor, rng.choice(LABELS)))
    return spans


def _disturb(rng: random.Random, spans: Sequence[Span]) -> list[Span]:
    """Another prediction, alike for the most part."""
    predicted = []
    for start, end, label in spans:
        change = rng.randrange(8)
        if change == 0:
            predicted.append((start, end, rng.choice(LABELS)))
        elif change == 1:
            predicted.append((start + rng.randint(-2, 0), end + rng.randint(0, 2), rng.choice(LABELS)))
        elif change == 2 and end - start > 1:
            predicted += [(start, start + 1, label), (start + 1, end, label)]
        elif change != 3:
            predicted.append((start, end, label))
    return sorted(predicted)


def _dense(rng: random.Random) -> Pair:
    return _random_spans(rng, rng.randrange(9)), _random_spans(rng, rng.randrange(9))


def _sorted(rng: random.Random) -> Pair:
    gold, predicted = _dense(rng)
    return sorted(gold), sorted(predicted)


def _nested(rng: random.Random) -> Pair:
    gold = sorted(_random_spans(rng, rng.randrange(9), width=30))
    return gold, _disturb(rng, gold)


def _tagged(rng: random.Random) -> Pair:
    gold = _random_tagging(rng, rng.randrange(12))
    return gold, _disturb(rng, gold)


def _unrelated(rng: random.Random) -> Pair:
    return _random_tagging(rng, rng.randrange(12)), _random_tagging(rng, rng.randrange(12))


def _agreeing(rng: random.Random) -> Pair:
    gold = _random_spans(rng, rng.randrange(9))
    return gold, list(gold)


def _long(rng: random.Random) -> Pair:
    """Gold spans of hundreds of characters, and predictions that cover about a hundredth of them."""
    gold = [(start, start + rng.choice((99, 100, 101, 199, 200, 201, 300, 700)), "PER") for start in (1000, 1350, 1900)]
    edges = [edge for start, end, _ in gold for edge in (start, end)]
    starts = [rng.choice(edges) - rng.randrange(9) for _ in range(rng.randrange(8))]
    return gold, [(start, start + rng.randint(1, 9), rng.choice(("PER", "LOC"))) for start in starts]


@pytest.mark.parametrize("draw", [_dense, _sorted, _nested, _tagged, _unrelated, _agreeing, _long])
def test_random_documents_score_as_nervaluate_scores_them(draw):
    rng = random.Random(draw.__name__)
    pairs = [draw(rng) for _ in range(400)]
    for pair in pairs:
        _assert_parity([pair])
    _assert_parity(pairs)


def test_random_documents_reach_every_outcome_of_every_measure():
    rng = random.Random(0)
    total = _add([count_overlaps(*draw(rng)) for draw in (_dense, _tagged, _long) for _ in range(100)])
    reached = {
        measure: [outcome for outcome, count in zip(OUTCOMES, total[measure], strict=True) if count]
        for measure in MEASURES
    }
    without = {"strict": "partial", "exact": "partial", "partial": "incorrect", "type": "partial"}
    assert reached == {
        measure: [outcome for outcome in OUTCOMES if outcome != without[measure]] for measure in MEASURES
    }


# Scores.


@pytest.mark.parametrize("largest", [3, 50, 10**12])
def test_scores_of_any_counts_are_nervaluates_to_the_last_bit(largest):
    entities = pytest.importorskip("nervaluate.entities", reason="nervaluate needs Python 3.11")
    rng = random.Random(largest)
    for _ in range(1000):
        counts = [rng.randint(0, largest) for _ in OUTCOMES]
        for measure in MEASURES:
            reference = entities.EvaluationResult(*counts)
            reference.compute_metrics(partial_or_type=measure in ("partial", "type"))
            assert score_overlaps(measure, counts) == (reference.precision, reference.recall, reference.f1)


def test_scores_of_nothing_are_zero():
    for measure in MEASURES:
        assert score_overlaps(measure, [0, 0, 0, 0, 0]) == (0, 0, 0)
        assert score_overlaps(measure, [0, 0, 0, 2, 0]) == (0, 0, 0)
        assert score_overlaps(measure, [0, 0, 0, 0, 2]) == (0, 0, 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_replicates_score_one_by_one(measure):
    counts = np.random.default_rng(0).integers(0, 3, size=(5, 200))
    each = np.array([score_overlaps(measure, column) for column in counts.T.tolist()]).T
    assert np.array_equal(score_overlaps(measure, counts), each)
    assert np.array_equal(score_overlaps(measure, list(counts)), each)


def test_a_measure_that_does_not_exist_is_an_error():
    with pytest.raises(KeyError, match="ent_type"):
        score_overlaps("ent_type", [1, 0, 0, 0, 0])


# The sweep.


def test_find_overlaps_finds_the_pairs_that_share_a_unit():
    rng = random.Random(2)
    for _ in range(500):
        gold, predicted = _dense(rng)
        expected = {
            (g, p, len(set(range(*a[:2])) & set(range(*b[:2]))))
            for g, a in enumerate(gold)
            for p, b in enumerate(predicted)
            if max(a[0], b[0]) < min(a[1], b[1])
        }
        found = list(find_overlaps(gold, predicted))
        assert set(found) == expected
        assert len(found) == len(expected)


class _CountedReads(list):
    """A list that counts how many of its items are looked at."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Span]:
        for item in super().__iter__():
            self.reads += 1
            yield item


@pytest.mark.parametrize("has_a_span_over_all", [False, True])
def test_spans_are_not_compared_with_all_others(has_a_span_over_all):
    n_spans = 2000
    rng = random.Random(1)
    gold = _CountedReads(_random_tagging(rng, n_spans))
    predicted = _CountedReads(_random_tagging(rng, n_spans))
    if has_a_span_over_all:
        gold.append((0, 10 * n_spans, "PER"))
    count_overlaps(gold, predicted)
    assert gold.reads + predicted.reads < 100 * n_spans
