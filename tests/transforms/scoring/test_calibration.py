"""Histograms of scores and what is made of them, beside counts by hand, brute force and scikit-learn."""

import functools
import itertools
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from schemas.calibration import Calibrator, Isotonic, LabelCurve, Temperature
from schemas.errors import ConfigError
from transforms.scoring.calibration import (
    EDGES,
    N_BINS,
    ReliabilityBin,
    ScoreBins,
    ScoreHistogram,
    calibrate_histogram,
    calibrate_scores,
    calibration_error,
    choose_thresholds,
    collect_scores,
    fit_calibrator,
    fit_isotonic,
    fit_temperature,
    lowest_threshold,
    pool_violators,
    precision_recall_curve,
    reliability,
    summarise_scores,
)

LABELS = ("PER", "LOC", "ORG")

_EDGE = st.sampled_from(EDGES.tolist())
_SCORE = st.one_of(
    st.floats(0, 1, width=32),
    _EDGE,
    _EDGE.map(lambda edge: float(np.nextafter(np.float32(edge), np.float32(0)))),
    _EDGE.map(lambda edge: min(1.0, float(np.nextafter(np.float32(edge), np.float32(2))))),
)
_ENTITY = st.tuples(st.sampled_from([0, 1, 2]), _SCORE, st.booleans())
_ENTITIES = st.lists(_ENTITY, max_size=40)


def _collect(entities, gold=(0, 0, 0)):
    """(label number, score, is right) of entities to their histogram."""
    label, scores, is_right = (list(column) for column in zip(*entities, strict=True)) if entities else ([], [], [])
    return collect_scores(
        LABELS,
        np.array(label, dtype=np.int64),
        np.array(scores, dtype=np.float32),
        np.array(is_right, dtype=bool),
        np.array(gold, dtype=np.int64),
    )


def _bins(*entities, gold=0):
    """(score, is right) of entities of one label to their bins."""
    return _collect([(0, *entity) for entity in entities], (gold, 0, 0)).overall


def _same_bits(a, b):
    return pickle.dumps(a) == pickle.dumps(b)


def test_collect_scores_counts_by_label_and_bin():
    histogram = _collect([(0, 0.25, True), (0, 0.25, False), (2, 1.0, True)], gold=(3, 2, 0))
    assert list(histogram.labels) == ["LOC", "ORG", "PER"]
    per, loc, org = (histogram.labels[label] for label in LABELS)
    assert (per.entities[250], per.correct[250], per.mean_scores[250], per.gold) == (2, 1, 0.25, 3)
    assert (per.entities.sum(), loc.entities.sum(), loc.gold) == (2, 0, 2)
    assert (org.entities[999], org.correct[999], org.mean_scores[999], org.gold) == (1, 1, 1.0, 0)
    assert list(histogram.predicted_labels) == ["ORG", "PER"]


@given(_SCORE)
def test_a_score_is_in_or_above_a_bin_exactly_when_it_is_not_under_its_edge(score):
    (at,) = np.flatnonzero(_bins((score, True)).entities)
    is_above = np.float32(score) >= EDGES[:N_BINS]
    assert is_above[: at + 1].all()
    assert not is_above[at + 1 :].any()


@given(st.lists(_ENTITIES, max_size=5), st.randoms(use_true_random=False))
def test_histograms_add_up_to_the_same_bits_in_any_order_and_grouping(parts, shuffled: random.Random):
    together = _collect([entity for part in parts for entity in part], gold=(len(parts), 0, 0))
    histograms = [_collect(part, gold=(1, 0, 0)) for part in parts]
    forwards = sum(histograms, start=ScoreHistogram())
    shuffled.shuffle(histograms)
    cut = shuffled.randrange(len(histograms) + 1)
    grouped = [
        functools.reduce(lambda a, b: b + a, half, ScoreHistogram()) for half in (histograms[:cut], histograms[cut:])
    ]
    assert forwards == grouped[0] + grouped[1] == together
    assert _same_bits(forwards, sum(grouped, start=ScoreHistogram()))


def test_adding_changes_neither_histogram():
    a, b = _collect([(0, 0.5, True)]), _collect([(0, 0.5, False), (1, 0.1, False)])
    before = pickle.dumps((a, b))
    assert a + b != a
    assert pickle.dumps((a, b)) == before


@given(_ENTITIES)
def test_histogram_survives_pickle(entities):
    histogram = _collect(entities)
    assert pickle.loads(pickle.dumps(histogram)) == histogram


def test_histograms_that_differ_in_one_score_are_unequal():
    assert _collect([(0, 0.5, True)]) != _collect([(0, float(np.nextafter(np.float32(0.5), np.float32(1))), True)])
    assert _collect([(0, 0.5, True)]) != _collect([(1, 0.5, True)])
    assert _collect([], gold=(1, 0, 0)) != _collect([], gold=(2, 0, 0))
    assert ScoreBins() != ScoreHistogram()


@given(st.lists(st.floats(np.float32(1 / 1024), 1, width=32), min_size=1, max_size=30))
def test_sums_of_scores_are_exact(scores):
    assert int(_bins(*((score, True) for score in scores)).score_sum.sum()) == sum(
        int(score * 2**33) for score in scores
    )


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_collect_scores_refuses_what_is_no_probability(score):
    with pytest.raises(ConfigError, match="between 0 and 1, found"):
        _bins((0.5, True), (score, True))


def test_reliability_leaves_empty_bins_out():
    diagram = reliability(_bins((0.25, True), (0.25, False), (0.75, True), (1.0, True)))
    assert diagram == [
        ReliabilityBin(0.2, 0.3, 2, 1, 0.25),
        ReliabilityBin(0.7, 0.8, 1, 1, 0.75),
        ReliabilityBin(0.9, 1.0, 1, 1, 1.0),
    ]
    assert [(each.low, each.entities) for each in reliability(_bins((0.25, True), (0.21, False)), 20)] == [
        (0.2, 1),
        (0.25, 1),
    ]
    assert reliability(ScoreBins()) == []


def test_calibration_error_by_hand():
    bins = _bins((0.75, True), (0.75, False), (0.25, False), (0.25, False))
    assert calibration_error(bins) == pytest.approx((2 * abs(0.5 - 0.75) + 2 * abs(0 - 0.25)) / 4)
    assert calibration_error(ScoreBins()) == 0
    assert calibration_error(_bins((1.0, True), (0.0, False))) == 0
    assert calibration_error(_bins((1.0, False))) == 1


@given(_ENTITIES, st.sampled_from([1, 10, 20]))
def test_calibration_error_is_the_mean_gap_by_brute_force(entities, n_bins):
    scores = np.array([score for _, score, _ in entities], dtype=np.float32)
    is_right = np.array([right for _, _, right in entities], dtype=bool)
    edges = EDGES[:: N_BINS // n_bins]
    error = 0.0
    for low, high in itertools.pairwise(edges):
        chosen = (scores >= low) & ((scores < high) | (high == 1))
        if chosen.any():
            error += chosen.sum() / len(scores) * abs(is_right[chosen].mean() - scores[chosen].mean(dtype=np.float64))
    assert calibration_error(_collect(entities).overall, n_bins) == pytest.approx(error, abs=1e-9)


def test_precision_recall_curve_by_hand():
    bins = _bins((0.2, False), (0.5, True), (0.5, False), (0.9, True), gold=4)
    assert precision_recall_curve(bins) == [(0.2, 2 / 4, 2 / 4), (0.5, 2 / 3, 2 / 4), (0.9, 1.0, 1 / 4)]
    assert precision_recall_curve(ScoreBins()) == []
    assert precision_recall_curve(_bins((0.3, False))) == [(0.3, 0.0, 0.0)]


@given(st.lists(st.tuples(_SCORE, st.booleans()), min_size=1, max_size=40))
def test_precision_recall_curve_holds_for_the_raw_scores(entities):
    gold = len(entities)
    scores = np.array([score for score, _ in entities], dtype=np.float32)
    is_right = np.array([right for _, right in entities], dtype=bool)
    curve = precision_recall_curve(_bins(*entities, gold=gold))
    assert [point[0] for point in curve] == sorted({point[0] for point in curve})
    for threshold, precision, recall in curve:
        above = scores >= np.float32(threshold)
        assert precision == is_right[above].sum() / above.sum()
        assert recall == is_right[above].sum() / gold


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    bins = _bins(*(((at + 0.5) / N_BINS, at % 3 > 0) for at in range(17, 983)), gold=1000)
    whole, thinned = precision_recall_curve(bins, N_BINS), precision_recall_curve(bins)
    assert (len(whole), len(thinned)) == (966, 100)
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert set(thinned) < set(whole)
    assert max(np.diff([point[0] for point in thinned])) < 0.011


def test_lowest_threshold_by_hand():
    bins = _bins((0.2, False), (0.5, True), (0.7, False), (0.9, True), (0.9, True))
    assert lowest_threshold(bins, 0.6) == 0.0
    assert lowest_threshold(bins, 0.75) == 0.201
    assert lowest_threshold(bins, 0.76) == 0.701
    assert lowest_threshold(bins, 1.0) == 0.701
    assert lowest_threshold(_bins((0.9, False)), 0.5) is None
    assert lowest_threshold(ScoreBins(), 0.0) is None


@settings(max_examples=300)
@given(st.lists(st.tuples(_SCORE, st.booleans()), max_size=30), st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.7, 0.9, 1.0]))
def test_lowest_threshold_is_the_first_edge_that_is_precise_on_the_raw_scores(entities, wanted):
    scores = np.array([score for score, _ in entities], dtype=np.float32)
    is_right = np.array([right for _, right in entities], dtype=bool)

    def is_precise(threshold):
        above = scores >= np.float32(threshold)
        return above.any() and is_right[above].sum() / above.sum() >= wanted

    precise = [k / N_BINS for k in range(N_BINS) if is_precise(k / N_BINS)]
    assert lowest_threshold(_bins(*entities), wanted) == (precise[0] if precise else None)


def test_choose_thresholds_leaves_out_labels_that_were_never_predicted():
    histogram = _collect([(0, 0.5, True), (0, 0.3, False), (1, 0.9, False)], gold=(1, 1, 7))
    thresholds = choose_thresholds(histogram, 0.9, calibrator="0" * 64)
    assert thresholds.labels == {"LOC": None, "PER": 0.301}
    assert (thresholds.precision, thresholds.calibrator) == (0.9, "0" * 64)
    with pytest.raises(ConfigError, match="precision between 0 and 1, found 90"):
        choose_thresholds(histogram, 90)


def test_summarise_scores_gives_json_values_by_label():
    summary = summarise_scores(_collect([(0, 0.5, True), (0, 0.25, False)], gold=(2, 1, 0)))
    assert summary == {
        "ece": pytest.approx(0.375),
        "labels": {
            "PER": {
                "ece": pytest.approx(0.375),
                "entities": 2,
                "correct": 1,
                "bins": [
                    {"low": 0.2, "high": 0.3, "entities": 1, "correct": 0, "mean_score": 0.25},
                    {"low": 0.5, "high": 0.6, "entities": 1, "correct": 1, "mean_score": 0.5},
                ],
                "curve": [[0.25, 0.5, 0.5], [0.5, 1.0, 0.5]],
            }
        },
    }
    assert summarise_scores(ScoreHistogram()) == {"ece": 0.0, "labels": {}}


def _simulate(seed, n, temperature):
    """Entities of one label whose log-odds of being right are those of their score, divided by a temperature."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1.5, 2.5, n)
    is_right = rng.random(n) < 1 / (1 + np.exp(-odds / temperature))
    scores = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return [(float(score), bool(right)) for score, right in zip(scores, is_right, strict=True)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_finds_the_one_that_made_the_data(temperature):
    found = fit_temperature(_bins(*_simulate(1, 20_000, temperature))).temperature
    assert found == pytest.approx(temperature, rel=0.05)


@settings(max_examples=50)
@given(st.lists(st.tuples(_SCORE, st.booleans()), min_size=1, max_size=30))
def test_no_other_temperature_makes_the_data_likelier(entities):
    bins = _bins(*entities)
    means = np.clip(bins.mean_scores, 2.0**-24, 1 - 2.0**-24)
    odds = np.log(means / (1 - means))

    def loss(temperature):
        right, wrong = bins.correct, bins.entities - bins.correct
        return (right * np.logaddexp(0, -odds / temperature) + wrong * np.logaddexp(0, odds / temperature)).sum()

    found = loss(fit_temperature(bins).temperature)
    assert all(found <= loss(other) + 1e-9 * (1 + abs(found)) for other in np.geomspace(0.1, 10, 200))


def test_temperature_is_held_within_its_bounds():
    assert fit_temperature(_bins(*[(0.9, True)] * 20)).temperature == pytest.approx(0.1)
    assert fit_temperature(_bins(*[(0.9, False)] * 20)).temperature == pytest.approx(10)
    assert fit_temperature(_bins((0.0, True), (1.0, False))).temperature == pytest.approx(10)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=40))
def test_pooled_shares_are_those_of_sklearn(rows):
    entities = np.array([count for count, _ in rows])
    correct = np.array([min(count, right) for count, right in rows])
    first = pool_violators(correct, entities)
    sizes = np.diff([*first, len(entities)])
    shares = np.repeat(np.add.reduceat(correct, first) / np.add.reduceat(entities, first), sizes)
    fitted = IsotonicRegression().fit_transform(np.arange(len(rows)), correct / entities, sample_weight=entities)
    assert shares == pytest.approx(fitted, abs=1e-12)
    assert (np.diff(shares[first]) > 0).all()


def test_fit_isotonic_is_sklearn_at_the_means_of_its_pools():
    bins = _bins(*_simulate(2, 3000, 2.0))
    curve = fit_isotonic(bins)
    filled = bins.entities > 0
    model = IsotonicRegression().fit(
        bins.mean_scores[filled], bins.correct[filled] / bins.entities[filled], sample_weight=bins.entities[filled]
    )
    assert curve.calibrated == pytest.approx(model.predict(curve.scores), abs=1e-12)
    assert 5 < len(curve.scores) < filled.sum()


@given(st.lists(st.tuples(_SCORE, st.booleans()), min_size=1, max_size=40))
def test_fit_isotonic_gives_a_legal_curve_through_the_mean_of_the_data(entities):
    curve = fit_isotonic(_bins(*entities))
    assert 0 <= curve.calibrated[0] <= curve.calibrated[-1] <= 1
    if len(curve.scores) == 1:
        assert curve.calibrated[0] == pytest.approx(np.mean([right for _, right in entities]))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(_SCORE, st.booleans()), min_size=10, max_size=40),
    st.lists(_SCORE, min_size=2, max_size=30),
    st.sampled_from(["temperature", "isotonic"]),
)
def test_calibrated_scores_are_float32_probabilities_that_keep_their_order(entities, scores, kind):
    calibrator = fit_calibrator(_collect([(0, *entity) for entity in entities]), kind, fitted_on={})
    rising = np.sort(np.array(scores, dtype=np.float32))
    calibrated = calibrate_scores(calibrator, rising, np.zeros(len(rising), dtype=np.int64), LABELS)
    assert calibrated.dtype == np.float32
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert (np.diff(calibrated) >= 0).all()


@pytest.mark.parametrize("temperature", [0.1, 0.7, 3.0, 10.0])
def test_order_is_kept_among_neighbouring_floats(temperature):
    calibrator = Calibrator(kind="temperature", overall=Temperature(temperature), labels={}, fitted_on={})
    for low in (1e-7, 0.001, 0.4999, 0.9, 0.9999):
        bits = np.float32(low).view(np.int32) + np.arange(20_000, dtype=np.int32)
        rising = np.minimum(bits.view(np.float32), np.float32(1))
        calibrated = calibrate_scores(calibrator, rising, np.zeros(len(rising), dtype=np.int64), LABELS)
        assert (np.diff(calibrated) >= 0).all()


def test_calibrate_scores_follows_the_curve_of_each_label():
    curves = {
        "PER": LabelCurve(20, Isotonic((0.5, 0.75), (0.25, 0.5))),
        "LOC": LabelCurve(3, None),
    }
    calibrator = Calibrator(kind="isotonic", overall=Isotonic((0.5,), (0.125,)), labels=curves, fitted_on={})
    scores = np.array([0.0, 0.5, 0.625, 1.0, 0.9, 0.9], dtype=np.float32)
    label = np.array([0, 0, 0, 0, 1, 2])
    assert calibrate_scores(calibrator, scores, label, LABELS).tolist() == [0.25, 0.25, 0.375, 0.5, 0.125, 0.125]
    nothing = calibrate_scores(calibrator, scores[:0], label[:0], LABELS)
    assert (nothing.dtype, len(nothing)) == (np.float32, 0)


def test_calibrate_scores_divides_log_odds_by_the_temperature():
    calibrator = Calibrator(kind="temperature", overall=Temperature(2.0), labels={}, fitted_on={})
    scores = np.array([0.0, 0.2, 0.5, 0.8, 1.0], dtype=np.float32)
    calibrated = calibrate_scores(calibrator, scores, np.zeros(5, dtype=np.int64), LABELS)
    # Odds of 1/4 and 4 become their square roots.
    assert calibrated == pytest.approx([2.0**-12, 1 / 3, 1 / 2, 2 / 3, 1 - 2.0**-12], rel=1e-3)


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
def test_fit_calibrator_gives_labels_with_few_entities_the_curve_over_all(kind):
    entities = [(0, 0.9, at >= 2) for at in range(10)] + [(1, 0.9, False)] * 9
    calibrator = fit_calibrator(_collect(entities, gold=(8, 0, 3)), kind, fitted_on={"gold": "dev"})
    per, loc = calibrator.labels["PER"], calibrator.labels["LOC"]
    assert (per.entities, loc.entities, loc.curve) == (10, 9, None)
    assert per.curve not in (None, calibrator.overall)
    assert calibrator.curve_of("LOC") == calibrator.overall
    assert calibrator.labels.keys() == {"PER", "LOC"}, "a label that was never predicted has no scores"
    assert calibrator.fitted_on == {"gold": "dev"}
    assert Calibrator.from_json(calibrator.to_json(), file="c.json") == calibrator


def test_fit_calibrator_refuses_too_few_entities_and_unknown_kinds():
    with pytest.raises(ConfigError, match="at least 10 predicted entities to fit a calibrator on, found 9"):
        fit_calibrator(_collect([(at % 3, 0.5, True) for at in range(9)]), "isotonic", fitted_on={})
    with pytest.raises(ConfigError, match="'platt'"):
        fit_calibrator(ScoreHistogram(), "platt", fitted_on={})


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
@pytest.mark.parametrize("seed", range(3))
def test_a_calibrator_lowers_the_error_on_other_documents_of_the_kind(kind, seed):
    train, other = (_collect([(0, *entity) for entity in _simulate(s, 3000, 3.0)]) for s in (seed, seed + 100))
    calibrator = fit_calibrator(train, kind, fitted_on={})
    before, after = (calibration_error(each.overall) for each in (other, calibrate_histogram(other, calibrator)))
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
def test_calibrate_histogram_is_nearly_the_histogram_of_calibrated_scores(kind):
    entities = [(at % 2, *entity) for at, entity in enumerate(_simulate(5, 4000, 2.0))]
    histogram = _collect(entities, gold=(2000, 1900, 5))
    calibrator = fit_calibrator(histogram, kind, fitted_on={})
    moved = calibrate_histogram(histogram, calibrator)
    label, scores = np.array([e[0] for e in entities]), np.array([e[1] for e in entities], dtype=np.float32)
    calibrated = calibrate_scores(calibrator, scores, label, LABELS).tolist()
    exact = _collect([(e[0], score, e[2]) for e, score in zip(entities, calibrated, strict=True)], (2000, 1900, 5))
    assert moved.labels.keys() == exact.labels.keys()
    for name, bins in exact.labels.items():
        assert (moved.labels[name].gold, moved.labels[name].entities.sum()) == (bins.gold, bins.entities.sum())
        assert moved.labels[name].correct.sum() == bins.correct.sum()
        assert calibration_error(moved.labels[name]) == pytest.approx(calibration_error(bins), abs=0.01)
