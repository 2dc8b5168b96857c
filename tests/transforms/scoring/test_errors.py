"""Errors and confusions, by hand, by what must hold of them, and beside a slow and literal version."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.scoring.errors import KINDS, SpanError, count_confusions, find_errors
from transforms.scoring.matching import Span


def _confusions(gold, predicted):
    return count_confusions(gold, find_errors(gold, predicted))


def _explain(gold: list[Span], predicted: list[Span]) -> list[tuple[str, Span | None, Span | None]]:
    return [(error.kind, error.gold, error.predicted) for error in find_errors(gold, predicted)]


# Each kind by hand.


def test_spans_that_agree_are_no_errors():
    assert _explain([(0, 3, "PER"), (5, 9, "LOC")], [(5, 9, "LOC"), (0, 3, "PER")]) == []
    assert _explain([], []) == []


def test_same_boundaries_and_another_label_is_a_label_error():
    assert _explain([(0, 3, "PER")], [(0, 3, "ORG")]) == [("label", (0, 3, "PER"), (0, 3, "ORG"))]


@pytest.mark.parametrize("predicted", [(4, 13, "LOC"), (0, 20, "LOC"), (2, 3, "LOC"), (12, 30, "LOC")])
def test_an_overlap_of_the_same_label_is_a_boundary_error(predicted):
    assert _explain([(0, 13, "LOC")], [predicted]) == [("boundary", (0, 13, "LOC"), predicted)]


def test_an_overlap_of_another_label_is_both():
    assert _explain([(0, 8, "ORG")], [(0, 4, "PER")]) == [("both", (0, 8, "ORG"), (0, 4, "PER"))]


def test_what_overlaps_nothing_is_missed_or_spurious():
    assert _explain([(0, 3, "PER")], [(3, 6, "PER")]) == [
        ("missed", (0, 3, "PER"), None),
        ("spurious", None, (3, 6, "PER")),
    ]


def test_all_kinds_in_one_document_stand_in_order_of_place():
    gold = [(0, 3, "PER"), (5, 18, "LOC"), (20, 28, "ORG"), (30, 33, "DATE"), (60, 64, "PER")]
    predicted = [(0, 3, "ORG"), (9, 18, "LOC"), (20, 24, "PER"), (40, 44, "PER"), (60, 64, "PER")]
    assert _explain(gold, predicted) == [
        ("label", (0, 3, "PER"), (0, 3, "ORG")),
        ("boundary", (5, 18, "LOC"), (9, 18, "LOC")),
        ("both", (20, 28, "ORG"), (20, 24, "PER")),
        ("missed", (30, 33, "DATE"), None),
        ("spurious", None, (40, 44, "PER")),
    ]


# Which spans are paired.


def test_a_span_that_agrees_is_not_paired_again():
    assert _explain([(0, 9, "LOC")], [(0, 9, "LOC"), (2, 9, "LOC")]) == [("spurious", None, (2, 9, "LOC"))]


def test_a_duplicate_agrees_once():
    assert _explain([(0, 9, "LOC")], [(0, 9, "LOC")] * 3) == [("spurious", None, (0, 9, "LOC"))] * 2
    assert _explain([(0, 9, "LOC")] * 2, [(0, 9, "LOC"), (0, 9, "PER")]) == [
        ("label", (0, 9, "LOC"), (0, 9, "PER")),
    ]
    assert _explain([(0, 9, "LOC")] * 2, [(1, 9, "LOC")] * 3) == [
        *[("boundary", (0, 9, "LOC"), (1, 9, "LOC"))] * 2,
        ("spurious", None, (1, 9, "LOC")),
    ]


def test_same_boundaries_come_before_the_same_label():
    assert _explain([(0, 9, "LOC")], [(0, 9, "PER"), (0, 8, "LOC")]) == [
        ("spurious", None, (0, 8, "LOC")),
        ("label", (0, 9, "LOC"), (0, 9, "PER")),
    ]


def test_the_same_label_comes_before_a_larger_overlap():
    assert _explain([(0, 9, "LOC")], [(0, 2, "LOC"), (2, 9, "PER")]) == [
        ("boundary", (0, 9, "LOC"), (0, 2, "LOC")),
        ("spurious", None, (2, 9, "PER")),
    ]


def test_the_largest_share_of_the_union_is_paired_first():
    # The long prediction shares more characters, the short one more of what the two cover.
    assert _explain([(0, 10, "LOC")], [(0, 8, "LOC"), (1, 90, "LOC")]) == [
        ("boundary", (0, 10, "LOC"), (0, 8, "LOC")),
        ("spurious", None, (1, 90, "LOC")),
    ]


def test_equal_overlaps_are_paired_from_the_left():
    assert _explain([(0, 10, "LOC")], [(5, 10, "LOC"), (0, 5, "LOC")]) == [
        ("boundary", (0, 10, "LOC"), (0, 5, "LOC")),
        ("spurious", None, (5, 10, "LOC")),
    ]


# Confusions.


def test_confusions_count_agreements_boundary_errors_and_lonely_spans():
    gold = [(0, 3, "PER"), (5, 18, "LOC"), (20, 28, "ORG"), (30, 33, "DATE"), (60, 64, "PER")]
    predicted = [(0, 3, "ORG"), (9, 18, "LOC"), (20, 24, "PER"), (40, 44, "PER"), (60, 64, "PER")]
    assert _confusions(gold, predicted) == {
        ("DATE", "O"): 1,
        ("LOC", "LOC"): 1,
        ("O", "PER"): 1,
        ("ORG", "PER"): 1,
        ("PER", "ORG"): 1,
        ("PER", "PER"): 1,
    }


def test_confusions_count_duplicates():
    assert _confusions([(0, 3, "PER")] * 2, [(0, 3, "PER")] * 3) == {("O", "PER"): 1, ("PER", "PER"): 2}


def test_confusions_of_nothing_are_none():
    assert _confusions([], []) == {}


# What must hold of any document.


@st.composite
def _spans(draw: st.DrawFn) -> Span:
    start = draw(st.integers(0, 12))
    return start, start + draw(st.integers(1, 6)), draw(st.sampled_from("ABC"))


documents = st.lists(_spans(), max_size=10)


@given(documents, documents)
def test_every_span_is_used_exactly_once(gold, predicted):
    errors = find_errors(gold, predicted)
    agreeing = Counter(gold) & Counter(predicted)
    assert agreeing + Counter(error.gold for error in errors if error.gold) == Counter(gold)
    assert agreeing + Counter(error.predicted for error in errors if error.predicted) == Counter(predicted)


@given(documents, documents)
def test_an_error_is_of_the_kind_that_its_spans_show(gold, predicted):
    for error in find_errors(gold, predicted):
        if error.gold is None or error.predicted is None:
            assert error.kind == ("missed" if error.predicted is None else "spurious")
            assert error.gold or error.predicted
            continue
        has_boundaries, has_label = error.gold[:2] == error.predicted[:2], error.gold[2] == error.predicted[2]
        assert _overlap(error.gold, error.predicted) > 0
        assert {"label": (True, False), "boundary": (False, True), "both": (False, False)}[error.kind] == (
            has_boundaries,
            has_label,
        )


@given(documents, documents)
def test_no_missed_span_overlaps_a_spurious_one(gold, predicted):
    errors = find_errors(gold, predicted)
    missed = [error.gold for error in errors if error.kind == "missed"]
    spurious = [error.predicted for error in errors if error.kind == "spurious"]
    assert not [(a, b) for a in missed for b in spurious if _overlap(a, b)]


@given(documents, documents, st.randoms())
def test_the_order_of_the_spans_changes_nothing(gold, predicted, rng):
    shuffled = rng.sample(gold, len(gold)), rng.sample(predicted, len(predicted))
    assert find_errors(*shuffled) == find_errors(gold, predicted)
    assert list(_confusions(*shuffled).items()) == list(_confusions(gold, predicted).items())


@given(documents, documents)
def test_exchanging_gold_and_predicted_exchanges_missed_and_spurious(gold, predicted):
    other = {"missed": "spurious", "spurious": "missed"}
    exchanged = [SpanError(other.get(e.kind, e.kind), e.predicted, e.gold) for e in find_errors(gold, predicted)]
    assert find_errors(predicted, gold) == exchanged
    transposed = {(b, a): count for (a, b), count in _confusions(gold, predicted).items()}
    assert _confusions(predicted, gold) == transposed


@given(documents, documents)
def test_rows_of_confusions_sum_to_gold_and_columns_to_predicted(gold, predicted):
    rows, columns = Counter(), Counter()
    for (wanted, found), count in _confusions(gold, predicted).items():
        rows[wanted] += count
        columns[found] += count
    assert {label: n for label, n in rows.items() if label != "O"} == Counter(label for *_, label in gold)
    assert {label: n for label, n in columns.items() if label != "O"} == Counter(label for *_, label in predicted)


# The rule, step by step.


def _overlap(a: Span, b: Span) -> Fraction:
    """Intersection over union."""
    shared = len(set(range(a[0], a[1])) & set(range(b[0], b[1])))
    return Fraction(shared, len(set(range(a[0], a[1])) | set(range(b[0], b[1]))))


def _find_errors_step_by_step(gold: list[Span], predicted: list[Span]) -> Counter[SpanError]:
    gold, predicted = sorted(gold), sorted(predicted)
    for span in list(gold):
        if span in predicted:
            gold.remove(span)
            predicted.remove(span)
    errors: Counter[SpanError] = Counter()
    steps = {
        "label": lambda a, b: a[:2] == b[:2],
        "boundary": lambda a, b: a[2] == b[2] and _overlap(a, b),
        "both": _overlap,
    }
    for kind, may_pair in steps.items():
        while pairs := [(a, b) for a in gold for b in predicted if may_pair(a, b)]:
            a, b = min(pairs, key=lambda pair: (-_overlap(*pair), sorted(pair)))
            errors[SpanError(kind, a, b)] += 1
            gold.remove(a)
            predicted.remove(b)
    errors.update(SpanError("missed", span, None) for span in gold)
    errors.update(SpanError("spurious", None, span) for span in predicted)
    return errors


@settings(max_examples=300)
@given(documents, documents)
def test_errors_are_those_found_step_by_step(gold, predicted):
    assert Counter(find_errors(gold, predicted)) == _find_errors_step_by_step(gold, predicted)


def test_a_document_of_many_spans_is_explained():
    n_spans = 5000
    gold = [(10 * k, 10 * k + 4, "A") for k in range(n_spans)]
    shapes = [(0, 4, "B"), (1, 5, "A"), (1, 5, "B"), (5, 9, "A"), (0, 4, "A")]
    predicted = [(10 * k + start, 10 * k + end, label) for k in range(n_spans) for start, end, label in [shapes[k % 5]]]
    counts = Counter(error.kind for error in find_errors(gold, predicted))
    assert counts == dict.fromkeys(KINDS, n_spans // 5)
