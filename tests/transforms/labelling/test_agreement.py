"""Annotators beside each other, and one set of entities out of several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.labelling.recipes import make_document
from transforms.labelling.agreement import measure_agreement, resolve, score_kappa
from transforms.labelling.checking import CheckedAnswer

DOCUMENT = make_document("Ada Lovelace met Babbage in London")
ADA, BABBAGE, LONDON = (0, 12, "PER"), (17, 24, "PER"), (28, 34, "LOC")


def answer(annotator, *spans, labelled_at="", document=DOCUMENT):
    return CheckedAnswer(
        digest=document.digest, spans=spans, annotator=annotator, labelled_at=labelled_at, file="a", format="doccano"
    )


def measure(*answers, documents=(DOCUMENT,)):
    return measure_agreement(answers, {document.digest: document for document in documents})


def test_f1_counts_exact_spans_and_kappa_words():
    (found,) = measure(answer("anna", ADA, BABBAGE, LONDON), answer("ben", (0, 3, "PER"), BABBAGE, (28, 34, "ORG")))
    assert (found.annotators, found.documents) == (("anna", "ben"), 1)
    assert found.f1 == pytest.approx(2 * 1 / (3 + 3))
    # Words: PER PER O PER O LOC, and PER O O PER O ORG.
    observed, expected = 4 / 6, (3 * 2 + 2 * 3) / 36
    assert found.kappa == pytest.approx((observed - expected) / (1 - expected))


def test_annotators_who_agree_have_ones():
    (found,) = measure(answer("anna", ADA, LONDON), answer("ben", ADA, LONDON))
    assert (found.f1, found.kappa) == (1.0, pytest.approx(1.0))


def test_where_nobody_marks_anything_kappa_is_not_defined():
    (found,) = measure(answer("anna"), answer("ben"))
    assert (found.f1, found.kappa) == (1.0, None)


def test_only_documents_in_common_count():
    other = make_document("Ada")
    found = measure(
        answer("anna", ADA),
        answer("ben", ADA),
        answer("ben", (0, 3, "PER"), document=other),
        answer("carl", (0, 3, "ORG"), document=other),
        documents=(DOCUMENT, other),
    )
    assert [(each.annotators, each.f1) for each in found] == [(("anna", "ben"), 1.0), (("ben", "carl"), 0.0)]


_PAIRS = st.dictionaries(st.tuples(*[st.sampled_from(["", "PER", "LOC"])] * 2), st.integers(1, 9))


@given(_PAIRS)
def test_kappa_is_at_most_one_and_the_same_from_both_sides(pairs):
    kappa = score_kappa(pairs)
    mirrored = score_kappa({(b, a): count for (a, b), count in pairs.items()})
    assert kappa is None or kappa <= 1
    assert kappa == (None if mirrored is None else pytest.approx(mirrored))


def test_one_answer_stands_alone():
    found = resolve([answer("anna", ADA)], "drop")
    assert (found.rule, found.spans) == ("single", (ADA,))


def test_answers_that_agree_need_no_rule():
    found = resolve([answer("anna", ADA), answer("ben", ADA)], "drop")
    assert (found.rule, found.spans, len(found.answers)) == ("agreed", (ADA,), 2)


def test_first_takes_the_answer_that_was_read_first_whenever_it_was_given():
    late, early = answer("anna", ADA, labelled_at="2026-01-02"), answer("ben", LONDON, labelled_at="2026-01-01")
    assert resolve([late, early], "first").spans == (ADA,)
    assert resolve([early, late], "first").spans == (LONDON,)


def test_majority_takes_what_more_than_half_marked():
    answers = [answer("anna", ADA, LONDON), answer("ben", ADA, BABBAGE), answer("carl", (0, 3, "PER"), BABBAGE)]
    assert resolve(answers, "majority").spans == (ADA, BABBAGE)
    assert resolve(answers[:2], "majority").spans == (ADA,)


def test_drop_takes_nothing_where_annotators_differ():
    assert resolve([answer("anna", ADA), answer("ben")], "drop") is None
