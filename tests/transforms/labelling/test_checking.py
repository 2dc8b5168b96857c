"""Answers that hold, answers that do not, and what is told of them."""

import pytest

from schemas.selections import LABELLED, SKIPPED, UNLABELLED, Answer, Refusal
from tests.transforms.labelling.recipes import LABELS, make_document
from transforms.labelling.checking import check_answers
from transforms.labelling.formats import AnswerFile

TEXT = "Anna met Bob in Rome."
DOCUMENT = make_document(TEXT)


def answer(*spans, text=TEXT, digest=DOCUMENT.digest, annotator="eva", labelled_at="", state=LABELLED, words=()):
    return Answer(
        place="record 1",
        digest=digest,
        text=text,
        spans=spans,
        annotator=annotator,
        labelled_at=labelled_at,
        state=state,
        words=words,
    )


def check(*answers, labels=LABELS, refusals=()):
    file = AnswerFile("a.jsonl", "0" * 64, "doccano", answers, tuple(refusals))
    return check_answers([file], {DOCUMENT.digest: DOCUMENT}, labels)


def test_an_answer_is_known_by_the_digest_of_its_text_where_the_tool_lost_the_rest():
    (found,) = check(answer((0, 4, "PER"), digest="")).answers
    assert (found.digest, found.spans) == (DOCUMENT.digest, ((0, 4, "PER"),))
    assert (found.file, found.format, found.annotator) == ("a.jsonl", "doccano", "eva")


def test_spans_come_by_position_once_and_without_white_space_at_their_edges():
    checked = check(answer((8, 13, "PER"), (0, 4, "PER"), (0, 5, "PER")))
    assert checked.answers[0].spans == ((0, 4, "PER"), (9, 12, "PER"))
    assert (checked.counts["trimmed"], checked.counts["repeated"]) == (2, 1)


def test_spans_that_begin_or_end_inside_words_are_counted():
    checked = check(answer((1, 4, "PER"), (9, 11, "PER"), (16, 20, "LOC")))
    assert checked.counts["inside_words"] == 2


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (answer((0, 4, "PRS")), "unknown_label", "found ['PRS']"),
        (answer((0, 8, "PER"), (5, 12, "ORG")), "overlap", "found 1"),
        (answer((0, 4, "PER"), (0, 4, "ORG")), "overlap", "found 1"),
        (answer((4, 4, "PER")), "empty_span", "4 to 4"),
        (answer((4, 5, "PER")), "empty_span", "4 to 5"),
        (answer((4, 0, "PER")), "empty_span", "4 to 0"),
        (answer(text=TEXT + " "), "other_text", "the tool changed it"),
        (answer(text="Anna", digest=""), "unknown_document", "of the selection"),
        (answer(text=None, words=("Anna", "met")), "other_text", "words of the document"),
        (answer(text=None, digest="ff", words=("Anna",)), "unknown_document", "of the selection"),
    ],
)
def test_an_answer_that_does_not_hold_is_refused_with_the_reason_and_without_text(given, reason, words):
    checked = check(given)
    assert checked.answers == ()
    (refusal,) = checked.refusals
    assert (refusal.reason, refusal.place, refusal.file, refusal.annotator) == (reason, "record 1", "a.jsonl", "eva")
    assert words in refusal.message
    assert "Anna" not in refusal.message


def test_labels_can_be_told():
    assert check(answer((0, 4, "PRS")), labels=("PRS",)).refusals == ()


def test_words_are_found_in_the_text_again():
    words = ("Anna", "met", "Bob", "in", "Ro", "me", ".")
    (found,) = check(answer((2, 3, "PER"), (4, 6, "LOC"), text=None, words=words)).answers
    assert found.spans == ((9, 12, "PER"), (16, 20, "LOC"))


def test_the_later_answer_of_an_annotator_holds():
    early, late = (answer((0, 4, label), labelled_at=f"2026-01-0{day}") for label, day in (("PER", 1), ("ORG", 2)))
    for order in ((early, late), (late, early)):
        checked = check(*order)
        assert [found.spans for found in checked.answers] == [((0, 4, "ORG"),)]
        assert checked.counts["superseded"] == 1


def test_of_answers_without_a_time_the_last_one_holds():
    checked = check(answer((0, 4, "PER")), answer((0, 4, "ORG")))
    assert [found.spans for found in checked.answers] == [((0, 4, "ORG"),)]


def test_answers_of_two_annotators_are_kept_apart():
    assert len(check(answer((0, 4, "PER")), answer(annotator="ben")).answers) == 2


def test_what_was_skipped_is_counted_and_what_is_open_is_nothing():
    checked = check(answer(state=SKIPPED), answer(state=UNLABELLED))
    assert (checked.answers, checked.refusals, checked.counts["skipped"]) == ((), (), 1)


def test_records_that_were_no_answers_stay_refused():
    refusal = Refusal(file="a.jsonl", place="record 2", digest="", annotator="", reason="bad_span", message="")
    assert check(refusals=[refusal]).refusals == (refusal,)
