"""The rules by which voters become one, by hand and by their properties."""

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.combining.ballots import Electorate, gather_claims, settle_overlaps
from transforms.combining.first import FirstConfig
from transforms.combining.rules import RULES
from transforms.combining.vote import VoteConfig
from transforms.combining.weighted import WeightedConfig
from transforms.scoring.comparison import Entity

CONFIGS = {"vote": VoteConfig(), "weighted": WeightedConfig(), "first": FirstConfig()}
TEXT = "Anna went to New York and Bob stayed in Rome"


def combine(rule, ballots, *, config=None, weights=None):
    """Entities of each voter, or None for one that lacks the document, to what becomes of them."""
    present = {at: ballot for at, ballot in enumerate(ballots) if ballot is not None}
    electorate = Electorate(tuple(present), tuple(map(Fraction, weights or [1] * len(ballots))))
    return settle_overlaps(RULES[rule].judge(config or CONFIGS[rule], gather_claims(present), electorate))


def entity(start, end, label="PER", score=0.5):
    return Entity(start, end, label, score, TEXT[start:end])


def spans(verdicts):
    return [(verdict.claim.start, verdict.claim.end, verdict.claim.label) for verdict in verdicts]


def entities(result):
    return [verdict.to_entity() for verdict in result.kept]


@st.composite
def flat_ballots(draw):
    """What one voter found: spans that do not overlap."""
    places = draw(st.lists(st.integers(0, len(TEXT)), max_size=8, unique=True).map(sorted))
    pairs = zip(places[::2], places[1::2], strict=False)
    scores = st.floats(0, 1, width=32)
    return [entity(start, end, draw(st.sampled_from(["PER", "LOC"])), draw(scores)) for start, end in pairs]


several = st.lists(flat_ballots(), min_size=1, max_size=5)
rules = st.sampled_from(sorted(RULES))


def test_a_span_is_kept_that_more_than_half_of_the_voters_found():
    anna, york = entity(0, 4, "PER", 0.9), entity(13, 21, "LOC", 0.8)
    result = combine("vote", [[anna, york], [anna], [anna._replace(score=0.6)], []])
    assert spans(result.kept) == [(0, 4, "PER")]
    assert spans(result.outvoted) == [(13, 21, "LOC")]
    assert result.kept[0].agreement == 0.75
    assert result.kept[0].score == pytest.approx((0.9 + 0.9 + 0.6) / 4)


def test_half_of_the_voters_is_not_enough_and_least_says_what_is():
    anna = entity(0, 4)
    assert not combine("vote", [[anna], []]).kept
    assert combine("vote", [[anna], []], config=VoteConfig(least=1)).kept
    assert not combine("vote", [[anna], [anna], []], config=VoteConfig(least=3)).kept


def test_voters_without_the_document_are_not_counted():
    anna = entity(0, 4)
    (verdict,) = combine("vote", [[anna], None, None]).kept
    assert (verdict.agreement, verdict.score) == (1.0, 0.5)


def test_another_label_or_boundary_is_another_span():
    assert not combine("vote", [[entity(13, 21, "LOC")], [entity(13, 21, "ORG")], [entity(17, 21, "LOC")]]).kept


def test_weights_decide_and_a_share_on_the_limit_is_enough():
    anna, york = entity(0, 4), entity(13, 21, "LOC")
    ballots = [[anna], [anna], [york]]
    assert spans(combine("weighted", ballots, weights=["0.1", "0.2", "0.7"]).kept) == [(13, 21, "LOC")]
    # 0.1 + 0.2 is not 0.3 in floating point.
    limit = WeightedConfig(agreement=0.3)
    assert len(combine("weighted", ballots, weights=["0.1", "0.2", "0.7"], config=limit).kept) == 2
    (verdict,) = combine("weighted", [[anna], []], weights=["3", "1"]).kept
    assert (verdict.agreement, verdict.score) == (0.75, 0.375)


def test_later_voters_fill_what_earlier_ones_left():
    first = [entity(13, 21, "LOC", 0.1)]
    second = [entity(17, 21, "PER", 0.9), entity(26, 29, "PER", 0.4)]
    third = [entity(26, 29, "PER", 0.8), entity(40, 44, "LOC", 0.7)]
    result = combine("first", [first, second, third])
    assert entities(result) == [first[0], second[1], third[1]]
    assert spans(result.overlapped) == [(17, 21, "PER")]
    assert [verdict.agreement for verdict in result.kept] == pytest.approx([1 / 3, 2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("rivals", "winner"),
    [
        ([entity(13, 21, "LOC", 0.6), entity(17, 21, "LOC", 0.7)], (17, 21, "LOC")),
        ([entity(13, 21, "LOC", 0.6), entity(17, 21, "LOC", 0.6)], (13, 21, "LOC")),
        ([entity(13, 18, "LOC", 0.6), entity(17, 22, "LOC", 0.6)], (13, 18, "LOC")),
        ([entity(13, 21, "ORG", 0.6), entity(13, 21, "LOC", 0.6)], (13, 21, "LOC")),
    ],
    ids=["score", "length", "place", "label"],
)
def test_of_two_that_overlap_the_better_wins(rivals, winner):
    for order in itertools.permutations(rivals):
        result = combine("vote", [[rival] for rival in order], config=VoteConfig(least=1))
        assert spans(result.kept) == [winner]
        assert len(result.overlapped) == 1


def test_a_span_that_one_voter_gave_twice_is_one_vote():
    twice = [entity(0, 4, score=0.25), entity(0, 4, score=0.75)]
    (verdict,) = combine("vote", [twice, [], [entity(0, 4, score=0.75)]]).kept
    assert verdict.agreement == pytest.approx(2 / 3)
    assert verdict.score == 0.5


@given(rules, several)
def test_what_is_kept_does_not_overlap_and_nothing_gets_lost(rule, ballots):
    result = combine(rule, ballots)
    assert all(a.end <= b.start for a, b in itertools.pairwise(entities(result)))
    written = spans((*result.kept, *result.overlapped, *result.outvoted))
    assert sorted(written) == sorted({tuple(each[:3]) for ballot in ballots for each in ballot})


@given(rules, several)
def test_scores_and_agreement_stay_between_0_and_1(rule, ballots):
    result = combine(rule, ballots)
    for verdict in (*result.kept, *result.overlapped, *result.outvoted):
        assert 0 <= verdict.score <= 1
        assert 0 < verdict.agreement <= 1


@given(rules, flat_ballots(), st.integers(1, 5))
def test_unanimous_voters_get_what_they_say(rule, ballot, n_voters):
    result = combine(rule, [ballot] * n_voters)
    assert entities(result) == ballot
    assert all(verdict.agreement == 1 for verdict in result.kept)


@given(rules, several)
def test_combining_again_changes_nothing(rule, ballots):
    once = entities(combine(rule, ballots))
    assert entities(combine(rule, [once])) == once
    assert entities(combine(rule, [once, once])) == once


@given(st.sampled_from(["vote", "weighted"]), several, st.randoms(use_true_random=False))
def test_the_order_of_voters_does_not_matter_to_votes(rule, ballots, draw):
    weights = [draw.choice(["0.1", "0.7", "1"]) for _ in ballots]
    order = random.Random(draw.random()).sample(range(len(ballots)), len(ballots))
    one = combine(rule, ballots, weights=weights)
    other = combine(rule, [ballots[at] for at in order], weights=[weights[at] for at in order])
    assert entities(one) == entities(other)
    assert spans(one.outvoted) == spans(other.outvoted)


@given(several)
def test_the_first_voter_keeps_all_that_it_found(ballots):
    assert set(ballots[0]) <= set(entities(combine("first", ballots)))


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (VoteConfig, {"least": -1}, "expected least of 0 or more for --by vote, found -1"),
        (WeightedConfig, {"agreement": 0.0}, "expected agreement above 0 and up to 1 for --by weighted, found 0.0"),
        (WeightedConfig, {"agreement": 1.5}, "expected agreement above 0 and up to 1 for --by weighted, found 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(config, values, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        config(**values)
