"""Made-up reports of drift, made by the code that makes real ones, from made-up slices."""

from typing import Any

from schemas.receipts import Tally
from tests.transforms.scoring.slices import Trait, make_slices
from transforms.scoring.drift import DriftConfig, count_slices, find_labels, measure_drift


def describe_drift(a: dict[str, Tally], b: dict[str, Tally], *, name: str = "out", caveat: str = "") -> Any:
    """The report of two runs."""
    labels = find_labels(a, b)
    drift = measure_drift(count_slices(a, labels), count_slices(b, labels), DriftConfig(replicates=50))
    return {
        "report_version": 1,
        "kind": "drift",
        **drift,
        "measures": [{**measure, "caveat": caveat} for measure in drift["measures"]],
        "runs": {side: {"name": f"{name}/run={side}", "model": "ab12" * 16} for side in "ab"},
        "differences": [{"name": "entities.threshold", "a": 0.0, "b": None}] if caveat else [],
        "shared_inputs": 2 if caveat else 0,
        "settings": {"thresholds": {"scores": "0.1/0.25"}, "replicates": 50},
        "versions": {"python": "3.11.2", "spanmill": "0.2.0"},
    }


def make_drift(label: str = "PER") -> Any:
    """A report of two runs that differ in most things, by an earlier version in part, with one label of any name."""
    a = make_slices(Trait(labels=(("LOC", 0.4), (label, 0.6))), 12, seed=0)
    later = Trait(labels=(("LOC", 0.7), ("ORG", 0.1), (label, 0.2)), rate=0.1, surety=4.0, words=40.0, dead=0.1)
    b = make_slices(later, 14, seed=1) | {"old": Tally(documents=1, tokens=9)}
    return describe_drift(a, b, name=label, caveat="other model")
