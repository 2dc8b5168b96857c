"""What each way finds worth labelling, and how many documents each chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.specs import parse_spec
from tests.transforms.selection.recipes import make_candidate, make_setting
from transforms.selection.setting import reduce_values
from transforms.selection.surfaces import KnownSurfaces, SurfaceCounts
from transforms.selection.ways import SCORERS, WAYS, MixedConfig, plan_shares

ADA = (0, 3, "PER")


def score(spec, candidate, **setting):
    way, config = parse_spec(spec, WAYS, flag="--by")
    return SCORERS[way][1](config, make_setting(**setting))(candidate)


def test_uncertainty_is_greatest_where_scores_are_lowest():
    sure, doubtful = make_candidate("a", 0.9, 0.95), make_candidate("b", 0.4, 0.5)
    assert score("uncertainty", doubtful) > score("uncertainty", sure) > 0
    assert score("uncertainty:of=most", make_candidate("c", 0.9, 0.2)) == pytest.approx(0.8)


def test_uncertainty_sees_entities_under_their_threshold():
    assert score("uncertainty", make_candidate("a", 0.9, below=(0.3,))) > score("uncertainty", make_candidate("b", 0.9))


def test_a_long_document_does_not_win_by_its_length():
    long, short = make_candidate("a", *[0.9] * 100, 0.5), make_candidate("b", 0.5)
    for way in ("uncertainty", "margin"):
        assert score(way, short) > score(way, long)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9))
def test_a_mean_never_reaches_the_greatest_value_and_grows_when_all_is_said_twice(values):
    assert reduce_values(values, "mean") < max(values) == reduce_values(values, "most")
    assert reduce_values([*values, *values], "mean") > reduce_values(values, "mean")


def test_margin_is_greatest_at_the_threshold_of_the_label():
    candidates = [make_candidate(name, value) for name, value in (("a", 0.99), ("b", 0.72), ("c", 0.4))]
    scores = [score("margin", candidate, thresholds={"PER": 0.7}) for candidate in candidates]
    assert scores[1] > scores[2] > scores[0]
    scores = [score("margin", candidate, thresholds={"LOC": 0.7}, threshold=0.4) for candidate in candidates]
    assert scores[2] > scores[1] > scores[0]


def test_margin_is_about_a_half_where_nothing_is_left_out():
    assert score("margin:of=most", make_candidate("a", 0.5)) == 1.0
    assert score("margin:of=most", make_candidate("a", 1.0)) == 0.0


def test_a_document_without_entities_is_worth_nothing_to_either():
    for way in ("uncertainty", "margin"):
        assert score(way, make_candidate("a")) == 0.0


def test_disagreement_is_the_share_of_spans_not_in_common():
    readings = [frozenset({ADA, (5, 9, "LOC")}), frozenset({ADA, (5, 8, "LOC")})]
    assert score("disagreement", make_candidate("a", readings=readings), n_readings=2) == pytest.approx(2 / 4)
    same = make_candidate("b", readings=[readings[0]] * 2)
    assert score("disagreement", same, n_readings=2) == 0.0
    three = make_candidate("c", readings=[frozenset({ADA}), frozenset({ADA}), frozenset()])
    assert score("disagreement", three, n_readings=3) == pytest.approx((0 + 1 / 2 + 1 / 2) / 3)


def test_disagreement_needs_two_readings():
    with pytest.raises(ConfigError, match="expected --other RUN"):
        score("disagreement", make_candidate("a"))


def test_novelty_of_known_surfaces_is_nothing_and_of_new_words_most():
    known = KnownSurfaces(frozenset({"adalovelace"}), frozenset({"ada", "lovelace", "the"}))
    values = [known.novelty(surface) for surface in ("Ada  LOVELACE", "The Lovelace", "The Zuse", "Zuse")]
    assert values == [0.0, 0.5, 0.75, 1.0]
    old, new = (make_candidate(name, 0.9, surfaces=(name,)) for name in ("Ada Lovelace", "Zuse"))
    assert score("novelty", new, surfaces=known) > score("novelty", old, surfaces=known) == 0.0


def test_novelty_without_training_files_is_rarity_in_the_run():
    counts = SurfaceCounts()
    for surface in ("Rome", "rome", "ROME", "Zuse"):
        counts.add(surface)
    assert [counts.count(surface) for surface in ("Rome", "Zuse", "none")] == [3, 1, 0]
    assert counts.novelty("Zuse") == 1.0 > counts.novelty("Rome") == pytest.approx(1 / 3)


@given(st.integers(1, 500), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_shares_add_up(n, random_share, weights):
    config = MixedConfig(
        **dict(zip(("uncertainty", "margin", "disagreement", "novelty", "diverse"), weights, strict=True))
    )
    for way in ("mixed", "margin"):
        shares = plan_shares(way, config, n, random_share)
        assert sum(share.n for share in shares) == n
        assert all(share.n > 0 for share in shares)


def test_chance_chooses_first():
    assert [share.way for share in plan_shares("margin", None, 10, 0.1)] == ["random", "margin"]


def test_shares_that_are_named_leave_the_others_out():
    _, config = parse_spec("mixed:margin=1,diverse=1", WAYS, flag="--by")
    assert [(share.way, share.n) for share in plan_shares("mixed", config, 9, 0)] == [("margin", 5), ("diverse", 4)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("uncertain", "did you mean 'uncertainty'"),
        ("uncertainty:of=least", "one of ['mean', 'most'], found 'least'"),
        ("margin:of=x", "of --by margin"),
        ("novelty:of=x", "of --by novelty"),
        ("mixed:novelty=-1", "of 0 or more"),
        ("diverse:pool=0", "1 or more, found 0"),
    ],
)
def test_options_are_checked(spec, words):
    with pytest.raises(ConfigError) as error:
        parse_spec(spec, WAYS, flag="--by")
    assert words in str(error.value)
