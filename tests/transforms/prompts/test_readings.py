import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TaggingError
from tests.transforms.prompts.recipes import build_answer
from transforms.prompts.alignment import Aligner
from transforms.prompts.answers import Mention
from transforms.prompts.readings import Reading, ReadSpan, drop_overlapping, find_spans, join_readings

LABELS = ["PER", "ORG"]
SPANS = st.builds(
    lambda start, length, label, score: ReadSpan(start, start + length, label, score, "exact"),
    st.integers(0, 12),
    st.integers(1, 6),
    st.sampled_from(LABELS),
    st.sampled_from([0.2, 0.5, 0.9]),
)


def _span(start, end, label="PER", score=0.5):
    return ReadSpan(start, end, label, score, "exact")


def _drop(*spans):
    counts = Counter()
    return drop_overlapping(spans, LABELS, counts), counts["spans/overlapping"]


def test_a_longer_entity_wins_whatever_its_score():
    assert _drop(_span(4, 8, score=0.9), _span(0, 8, score=0.1)) == ((_span(0, 8, score=0.1),), 1)


def test_of_two_labels_for_one_place_the_surer_wins_then_the_one_asked_first():
    assert _drop(_span(0, 4, "PER", 0.4), _span(0, 4, "ORG", 0.6)) == ((_span(0, 4, "ORG", 0.6),), 1)
    assert _drop(_span(0, 4, "ORG"), _span(0, 4, "PER")) == ((_span(0, 4, "PER"),), 1)


def test_of_two_as_long_and_as_sure_the_first_in_the_text_wins():
    assert _drop(_span(2, 6), _span(0, 4), _span(6, 10)) == ((_span(0, 4), _span(6, 10)), 1)


def test_what_is_said_twice_of_a_place_is_no_overlap_and_has_the_higher_score():
    assert _drop(_span(0, 4, score=0.2), _span(0, 4, score=0.8)) == ((_span(0, 4, score=0.8),), 0)


@given(spans=st.lists(SPANS, max_size=12))
def test_what_is_left_does_not_overlap_and_all_else_would(spans):
    kept, _ = _drop(*spans)
    assert all(left.end <= right.start for left, right in itertools.pairwise(kept))
    assert set(kept) <= set(spans)
    for span in spans:
        assert any(other.start < span.end and span.start < other.end for other in kept)
    assert _drop(*reversed(spans))[0] == kept


def test_mentions_become_spans_with_their_scores_and_are_counted():
    text = "Anna met ANNA Smith."
    answer = build_answer(
        '["Anna Smith", "Otto", "Otto", "Anna"]',
        ['["', "Anna", " Smith", '", "Otto", "Otto", "Anna"]'],
        [1, 0.9, 0.4, 1],
    )
    mentions = [
        Mention("Anna Smith", "PER", 2, 12),
        Mention("Otto", "PER", 16, 20),
        Mention("Otto", "PER", 24, 28),
        Mention("Anna", "PER", 32, 36),
    ]
    counts = Counter()
    first, second = find_spans(mentions, answer, Aligner(text), counts)
    assert first == (9, 19, "PER", first.score, "normalised", 0)
    assert abs(first.score - 0.6) < 1e-9
    assert second == (0, 4, "PER", 1.0, "exact", 0)
    assert counts == {"mentions/normalised": 1, "mentions/not-found": 1, "mentions/repeated": 1, "mentions/exact": 1}


def test_passages_are_joined_to_their_document():
    pieces = [
        (0, Reading((_span(0, 4), _span(10, 14, score=0.3)), {"answers/strict": 1})),
        (8, Reading((_span(2, 6, score=0.7),), {"answers/strict": 1, "mentions/exact": 1})),
        (14, Reading((_span(0, 2, "ORG"),), {"answers/repaired": 1})),
    ]
    reading = join_readings(pieces, LABELS)
    assert reading.spans == (_span(0, 4), _span(10, 14, score=0.7), _span(14, 16, "ORG"))
    assert reading.counts == {"answers/strict": 2, "mentions/exact": 1, "answers/repaired": 1}
    assert reading.failure is None


def test_a_document_has_failed_if_one_of_its_passages_has():
    failure = TaggingError("unparsable", "expected an answer")
    reading = join_readings([(0, Reading((_span(0, 4),), {})), (9, Reading((), {}, failure))], LABELS)
    assert (reading.spans, reading.failure) == ((), failure)
    assert join_readings([], LABELS) == Reading((), {})
