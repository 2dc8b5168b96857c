"""Drift between made-up runs: none where there is none, the right measure where something was changed."""

import dataclasses
import json
import random

import pytest

from schemas.errors import ConfigError
from schemas.receipts import Tally
from schemas.sketches import FormSketch
from tests.transforms.scoring.slices import Trait, make_slices
from transforms.scoring.drift import KINDS, DriftConfig, count_slices, find_labels, measure_drift

QUICK = DriftConfig(replicates=100)


def _drift(a, b, config=QUICK):
    labels = find_labels(a, b)
    return measure_drift(count_slices(a, labels), count_slices(b, labels), config)


def _make(trait=None, n_slices=24, seed=0, **options):
    return make_slices(trait or Trait(), n_slices, seed=seed, **options)


def _measure_of(drift, name, label=""):
    return next(row for row in drift["measures"] if (row["name"], row["label"]) == (name, label))


def test_a_run_has_not_drifted_from_itself():
    slices = _make()
    drift = _drift(slices, slices)
    assert drift["verdict"] == "stable"
    for measure in drift["measures"]:
        if measure["name"] != "new_forms":
            assert measure["change"] == pytest.approx(0, abs=1e-12)
            for statistic in measure["statistics"].values():
                assert statistic["low"] == pytest.approx(statistic["high"]) == pytest.approx(statistic["value"])
    assert _measure_of(drift, "new_forms")["verdict"] == "stable"
    assert drift["forms"]["new"] == 0


@pytest.mark.parametrize(("n_a", "n_b", "mood"), [(24, 24, 0.1), (24, 24, 0.4), (30, 12, 0.2), (60, 4, 0.2)])
def test_runs_of_the_same_text_seldom_drift(n_a, n_b, mood):
    trait = Trait(mood=mood)
    verdicts = [
        _drift(_make(trait, n_a, 2 * trial), _make(trait, n_b, 2 * trial + 1), DriftConfig(replicates=0))["verdict"]
        for trial in range(20)
    ]
    assert verdicts.count("stable") >= 18
    assert "drifted" not in verdicts


@pytest.mark.parametrize(
    ("change", "name", "labels"),
    [
        ({"rate": 0.12}, "entity_rate", [""]),
        ({"labels": (("LOC", 0.1), ("ORG", 0.5), ("PER", 0.4))}, "label_shares", [""]),
        ({"surety": 3.0}, "scores", ["LOC", "ORG", "PER"]),
        ({"words": 30.0}, "document_lengths", [""]),
        ({"dead": 0.1}, "dead_letters", [""]),
        ({"unknown": 0.08}, "unknown_pieces", [""]),
        ({"first_name": 100_000}, "new_forms", [""]),
    ],
)
def test_what_changes_in_the_text_is_what_drifts(change, name, labels):
    drift = _drift(_make(), _make(dataclasses.replace(Trait(), **change), seed=1))
    drifted = [(row["name"], row["label"]) for row in drift["measures"] if row["verdict"] == "drifted"]
    assert drifted == [(name, label) for label in labels]
    assert drift["verdict"] == "drifted"
    for label in labels:
        assert not _measure_of(drift, name, label)["reason"]


def test_a_change_between_the_thresholds_is_moderate_and_thresholds_can_be_set():
    a, b = _make(), _make(Trait(rate=0.095), seed=1)
    assert _measure_of(_drift(a, b), "entity_rate")["verdict"] == "moderate"
    strict = DriftConfig(replicates=0, thresholds={"entity_rate": (0.05, 0.1)})
    assert _measure_of(_drift(a, b, strict), "entity_rate")["verdict"] == "drifted"
    loose = DriftConfig(replicates=0, thresholds={"entity_rate": (0.5, 1.0)})
    assert _drift(a, b, loose)["verdict"] == "stable"


def test_a_change_that_slices_bring_about_by_themselves_is_no_drift():
    moody = Trait(mood=1.0)
    a, b = _make(moody, 12, 0), _make(dataclasses.replace(moody, rate=0.13), 12, 1)
    measure = _measure_of(_drift(a, b), "entity_rate")
    assert measure["change"] > 0.1
    assert measure["null"]["high"] > measure["change"] > measure["chance"]
    assert (measure["verdict"], measure["reason"]) == ("stable", "within_variation")


def test_the_result_does_not_depend_on_the_order_of_slices():
    a, b = _make(), _make(Trait(rate=0.1), 15, 1)
    shuffled = [list(slices.items()) for slices in (a, b)]
    for items in shuffled:
        random.Random(0).shuffle(items)
    assert json.dumps(_drift(a, b)) == json.dumps(_drift(*map(dict, shuffled)))


def test_estimates_do_not_depend_on_how_a_run_is_cut_into_slices():
    a, b = _make(), _make(Trait(rate=0.1, surety=5.0), 24, 1)
    ids = sorted(b)
    merged = {ids[at]: sum((b[id_] for id_ in ids[at : at + 4]), Tally()) for at in range(0, 24, 4)}
    fine, coarse = _drift(a, b), _drift(a, merged)
    for one, other in zip(fine["measures"], coarse["measures"], strict=True):
        if one["name"] != "new_forms":
            assert (one["change"], one["n"], one["a"], one["b"]) == (
                other["change"],
                other["n"],
                other["a"],
                other["b"],
            )
    assert (fine["labels"], fine["totals"]) == (coarse["labels"], coarse["totals"])


def test_numbers_by_hand():
    a = {"1": Tally(documents=9, dead_rows=1, tokens=1000, entities={"PER": 30, "LOC": 10}, pieces=_pieces(1000, 2))}
    b = {"1": Tally(documents=16, dead_rows=4, tokens=500, entities={"PER": 10, "ORG": 10}, pieces=_pieces(500, 9))}
    drift = _drift(a, b)
    rate = _measure_of(drift, "entity_rate")
    assert (rate["a"], rate["b"]) == (40, 40)
    assert rate["statistics"]["difference"] == {"value": 0, "low": None, "high": None}
    assert rate["statistics"]["ratio"]["value"] == pytest.approx((20.5 / 500) / (40.5 / 1000))
    dead = _measure_of(drift, "dead_letters")
    assert (dead["a"], dead["b"], dead["n"]) == (0.1, 0.2, {"a": 10, "b": 20})
    assert dead["change"] == pytest.approx(0.1)
    unknown = _measure_of(drift, "unknown_pieces")
    assert (unknown["a"], unknown["b"]) == (0.002, 0.018)
    assert drift["labels"]["PER"]["a"]["share"] == 0.75
    assert drift["labels"]["ORG"]["b"]["rate"] == 20
    assert drift["totals"]["a"] == {"documents": 9, "dead_rows": 1, "entities": 40, "tokens": 1000}


def _pieces(whole, unknown):
    return {"known": whole - unknown, "unknown": unknown}


def test_intervals_hold_the_estimate_and_narrow_with_more_slices():
    widths = []
    for n_slices in (12, 108):
        drift = _drift(_make(n_slices=n_slices), _make(Trait(rate=0.1, surety=5), n_slices, 1))
        for measure in drift["measures"]:
            for statistic in measure["statistics"].values():
                assert statistic["low"] <= statistic["value"] <= statistic["high"]
        ratio = _measure_of(drift, "entity_rate")["statistics"]["ratio"]
        widths.append(ratio["high"] - ratio["low"])
    assert widths[1] < 0.5 * widths[0]


def test_few_slices_have_no_intervals_and_no_natural_variation():
    drift = _drift(_make(n_slices=9), _make(n_slices=12, seed=1))
    assert drift["replicates"] == 0
    rate = _measure_of(drift, "entity_rate")
    assert (rate["null"], rate["statistics"]["ratio"]["low"]) == (None, None)
    assert rate["chance"] > 0
    novelty = _measure_of(drift, "new_forms")
    assert (novelty["verdict"], novelty["reason"]) == (None, "too_few_slices")


def test_too_few_counts_have_no_verdict():
    drift = _drift(_make(n_slices=1, documents=3), _make(n_slices=1, documents=3, seed=1))
    lengths = _measure_of(drift, "document_lengths")
    assert (lengths["verdict"], lengths["reason"]) == (None, "too_few")


def test_what_was_not_recorded_is_said_and_the_rest_is_measured():
    recorded = _make()
    first = min(recorded)
    old = recorded | {first: dataclasses.replace(recorded[first], pieces={}, forms=FormSketch())}
    drift = _drift(old, _make(seed=1))
    for name in ("unknown_pieces", "new_forms"):
        measure = _measure_of(drift, name)
        assert (measure["verdict"], measure["reason"], measure["statistics"]) == (None, "not_recorded", {})
    assert drift["recorded"] == {
        "a": {"unknown_pieces": 23, "new_forms": 23},
        "b": {"unknown_pieces": 24, "new_forms": 24},
    }
    assert drift["forms"] is None
    assert drift["verdict"] == "stable"


def test_runs_without_anything_in_them_have_no_verdict():
    empty = {"1": Tally()}
    drift = _drift(empty, empty)
    assert drift["verdict"] is None
    assert {measure["reason"] for measure in drift["measures"]} == {"too_few", "too_few_slices"}
    json.dumps(drift, allow_nan=False)
    assert _drift({}, _make(n_slices=12))["verdict"] is None


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"entity_rates": (0.1, 0.2)}, "found 'entity_rates'; did you mean 'entity_rate'"),
        ({"scores": (0.3, 0.2)}, "expected thresholds of scores from 0 on and in order, found 0.3 and 0.2"),
        ({"scores": (-1, 0.2)}, "found -1 and 0.2"),
        ({"scores": (0.1, float("nan"))}, "found 0.1 and nan"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(thresholds, message):
    with pytest.raises(ConfigError, match=message):
        DriftConfig(thresholds=thresholds)
    with pytest.raises(ConfigError, match="expected 0 replicates or more"):
        DriftConfig(replicates=-1)


def test_every_measure_is_told_once():
    names = [measure["name"] for measure in _drift(_make(), _make(seed=1))["measures"] if measure["name"] != "scores"]
    assert names == [name for name in KINDS if name != "scores"]
