"""Whether an entity's score is the chance that it is right, and what to do where it is not.

    scores, right or wrong --collect--> histogram ─┬─> reliability, calibration error, precision and recall
                                                   ├─ choose ──> thresholds for a wanted precision
                                                   └─ fit ─────> calibrator ──> calibrated scores

All of it comes from one histogram of narrow bins, which adds up over documents and workers. Bins begin at float32
numbers and scores are compared as float32, as they are when thresholds are applied: what the histogram says about a
threshold at the edge of a bin holds to the last entity.

Entities below the threshold of the run that found them are not in its output, so that lower thresholds cannot be
judged by it, unless they were kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.calibration import (
    LEAST_TEMPERATURE,
    MOST_TEMPERATURE,
    Calibrator,
    Curve,
    Isotonic,
    LabelCurve,
    Temperature,
    Thresholds,
)
from schemas.errors import ConfigError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
ScoreArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

N_BINS = 1000
EDGES: ScoreArray = (np.arange(N_BINS + 1) / N_BINS).astype(np.float32)
"""Bin k holds the scores from EDGES[k] up to EDGES[k + 1], exclusive; the last one also the score 1."""

LEAST_ENTITIES = 10
"""A label with fewer entities has no curve of its own."""

_UNIT = 2.0**-33
"""Scores are summed as whole numbers of these, so that order does not matter; float32 scores over 1/1024 are such."""

_RESOLUTION = 2.0**-24
"""The distance of 1 to the float32 before it; log-odds are taken of scores no closer than that to 0 and 1."""

_BISECTIONS = 60


def _no_counts() -> IntArray:
    return np.zeros(N_BINS, dtype=np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreBins:
    """Entities by score, of one label or of all: a commutative, associative sum whose neutral element is `ScoreBins()`.

    Attributes:
      entities: (N_BINS,) predicted entities.
      correct: (N_BINS,) how many of them are right.
      score_sum: (N_BINS,) sum of their scores, in whole units of 2**-33.
      gold: how many gold entities there are, found or not.
    """

    entities: IntArray = dataclasses.field(default_factory=_no_counts)
    correct: IntArray = dataclasses.field(default_factory=_no_counts)
    score_sum: IntArray = dataclasses.field(default_factory=_no_counts)
    gold: int = 0

    def __add__(self, other: "ScoreBins") -> "ScoreBins":
        return ScoreBins(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreBins):
            return NotImplemented
        return all(np.array_equal(a, b) for a, b in zip(self._values(), other._values(), strict=True))

    @property
    def mean_scores(self) -> FloatArray:
        """(N_BINS,) mean score of the entities in each bin; 0 where there are none."""
        return self.score_sum * _UNIT / np.maximum(self.entities, 1)

    def _values(self) -> tuple[Any, ...]:
        return self.entities, self.correct, self.score_sum, self.gold


@dataclasses.dataclass(frozen=True)
class ScoreHistogram:
    """Entities by label and score: a commutative, associative sum whose neutral element is `ScoreHistogram()`.

    Attributes:
      labels: the bins of each label that has predicted or gold entities, sorted by label.
    """

    labels: Mapping[str, ScoreBins] = dataclasses.field(default_factory=dict)

    def __add__(self, other: "ScoreHistogram") -> "ScoreHistogram":
        nothing = ScoreBins()
        return ScoreHistogram(
            {
                label: self.labels.get(label, nothing) + other.labels.get(label, nothing)
                for label in sorted({*self.labels, *other.labels})
            }
        )

    @property
    def overall(self) -> ScoreBins:
        """The bins of all labels together."""
        return sum(self.labels.values(), start=ScoreBins())

    @property
    def predicted_labels(self) -> dict[str, ScoreBins]:
        """The bins of the labels that have predicted entities."""
        return {label: bins for label, bins in self.labels.items() if bins.entities.any()}


def collect_scores(
    labels: Sequence[str], label: IntArray, scores: ScoreArray, is_right: BoolArray, gold: IntArray
) -> ScoreHistogram:
    """Entities of some documents to their histogram.

    Args:
      labels: names of the label numbers.
      label: (n,) label number of each predicted entity.
      scores: (n,) its score, 0 to 1.
      is_right: (n,) whether gold has it too.
      gold: (n_labels,) how many gold entities there are of each label.

    Raises:
      ConfigError: a score is not a number from 0 to 1.
    """
    scores = np.asarray(scores, dtype=np.float32)
    is_odd = ~((scores >= 0) & (scores <= 1))
    if is_odd.any():
        raise ConfigError(f"expected scores between 0 and 1, found {scores[is_odd.argmax()]}; rescale them")
    bins, units = _find_bins(scores), _count_units(scores)
    found = {}
    for index in np.union1d(label, np.flatnonzero(gold)).tolist():
        chosen = label == index
        found[labels[index]] = ScoreBins(
            entities=np.bincount(bins[chosen], minlength=N_BINS),
            correct=np.bincount(bins[chosen & is_right], minlength=N_BINS),
            score_sum=_sum_by_bin(bins[chosen], units[chosen]),
            gold=int(gold[index]),
        )
    return ScoreHistogram(dict(sorted(found.items())))


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """Entities whose scores lie in a bin, beside how many of them are right.

    Attributes:
      low: where the bin begins.
      high: where it ends, exclusive but for 1.
      entities: how many entities have such a score.
      correct: how many of them are right.
      mean_score: the mean of their scores.
    """

    low: float
    high: float
    entities: int
    correct: int
    mean_score: float


def reliability(bins: ScoreBins, n_bins: int = 10) -> list[ReliabilityBin]:
    """Entities by score to a reliability diagram, in order of score, empty bins left out.

    Args:
      bins: entities by score.
      n_bins: how many bins of equal width, a divisor of N_BINS.
    """
    columns = (bins.entities, bins.correct, bins.score_sum)
    entities, correct, score_sum = (column.reshape(n_bins, -1).sum(axis=1) for column in columns)
    mean = score_sum * _UNIT / np.maximum(entities, 1)
    return [
        ReliabilityBin(k / n_bins, (k + 1) / n_bins, int(entities[k]), int(correct[k]), float(mean[k]))
        for k in np.flatnonzero(entities).tolist()
    ]


def calibration_error(bins: ScoreBins, n_bins: int = 10) -> float:
    """Expected calibration error: how far the mean score of a bin is from the share that is right, on average.

    Bins have equal width and count by their entities (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated
    probabilities using Bayesian binning", 2015; Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural
    networks", 2017). Without entities there is no error.
    """
    diagram = reliability(bins, n_bins)
    gaps = [abs(each.correct - each.mean_score * each.entities) for each in diagram]
    return float(sum(gaps) / max(sum(each.entities for each in diagram), 1))


def precision_recall_curve(bins: ScoreBins, max_points: int = 100) -> list[tuple[float, float, float]]:
    """Entities by score to (threshold, precision, recall) of the entities at or above each threshold, rising.

    A point stands at the edge of each bin that has entities. Where there are more than `max_points`, some are left
    out, evenly, never the first or the last. Recall is 0 where there are no gold entities.
    """
    entities, correct = _from_top(bins)
    points = np.flatnonzero(bins.entities)
    if len(points) > max_points:
        points = points[np.linspace(0, len(points) - 1, max_points).astype(int)]
    return [
        (k / N_BINS, int(correct[k]) / int(entities[k]), int(correct[k]) / bins.gold if bins.gold else 0.0)
        for k in points.tolist()
    ]


def lowest_threshold(bins: ScoreBins, precision: float) -> float | None:
    """The lowest edge of a bin such that the entities at or above it have at least a wanted precision.

    Returns:
      The threshold, to be compared as float32, or None where there is no such edge with an entity at or above it.
    """
    entities, correct = _from_top(bins)
    is_precise = (entities > 0) & (correct / np.maximum(entities, 1) >= precision)
    return int(is_precise.argmax()) / N_BINS if is_precise.any() else None


def choose_thresholds(histogram: ScoreHistogram, precision: float, *, calibrator: str = "") -> Thresholds:
    """The lowest threshold of each label that gives a wanted precision.

    Args:
      histogram: entities by label and score; labels that were never predicted get no threshold.
      precision: the wanted precision.
      calibrator: digest of the calibrator that the scores had passed through, empty for none.
    """
    labels = {label: lowest_threshold(bins, precision) for label, bins in histogram.predicted_labels.items()}
    return Thresholds(precision=precision, labels=labels, calibrator=calibrator)


def summarise_scores(histogram: ScoreHistogram) -> dict[str, Any]:
    """What a report tells of scores, as JSON values: calibration error, reliability and curve of predicted labels."""
    return {
        "ece": calibration_error(histogram.overall),
        "labels": {
            label: {
                "ece": calibration_error(bins),
                "entities": int(bins.entities.sum()),
                "correct": int(bins.correct.sum()),
                "bins": [dataclasses.asdict(each) for each in reliability(bins)],
                "curve": [list(point) for point in precision_recall_curve(bins)],
            }
            for label, bins in histogram.predicted_labels.items()
        },
    }


def fit_calibrator(histogram: ScoreHistogram, kind: str, *, fitted_on: Mapping[str, Any]) -> Calibrator:
    """A calibrator with a curve for each label that has enough predicted entities, and one over all.

    Args:
      histogram: entities by label and score, as the model gave the scores.
      kind: temperature or isotonic.
      fitted_on: what the histogram was made from, as JSON values.

    Raises:
      ConfigError: the kind is unknown, or there are too few entities in all.
    """
    if kind not in _FITS:
        raise ConfigError(f"expected a calibrator of {sorted(_FITS)}, found {kind!r}")
    total = int(histogram.overall.entities.sum())
    if total < LEAST_ENTITIES:
        raise ConfigError(
            f"expected at least {LEAST_ENTITIES} predicted entities to fit a calibrator on, found {total}; "
            "give more documents"
        )
    fit = _FITS[kind]
    labels = {}
    for label, bins in histogram.predicted_labels.items():
        entities = int(bins.entities.sum())
        labels[label] = LabelCurve(entities, fit(bins) if entities >= LEAST_ENTITIES else None)
    return Calibrator(kind=kind, overall=fit(histogram.overall), labels=labels, fitted_on=fitted_on)


def fit_temperature(bins: ScoreBins) -> Temperature:
    """Entities by score to the temperature that makes their being right or wrong most likely.

    This is temperature scaling (Guo et al., 2017) of the log-odds of an entity's score. The negative log-likelihood is
    convex in 1 / temperature, so bisection of its slope finds its one minimum, held within the bounds of `Temperature`.
    """
    filled = bins.entities > 0
    entities, correct, odds = bins.entities[filled], bins.correct[filled], _log_odds(bins.mean_scores[filled])

    def slope(inverse: float) -> float:
        return float(np.sum((entities * _sigmoid(odds * inverse) - correct) * odds))

    low, high = 1 / MOST_TEMPERATURE, 1 / LEAST_TEMPERATURE
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return Temperature(min(max(2 / (low + high), LEAST_TEMPERATURE), MOST_TEMPERATURE))


def fit_isotonic(bins: ScoreBins) -> Isotonic:
    """Entities by score to the rising curve that is nearest to the share of them that is right.

    The shares of neighbouring bins are pooled until they rise (Zadrozny and Elkan, "Transforming classifier scores into
    accurate multiclass probability estimates", 2002). The curve runs straight through the pools' mean scores and
    shares, as in centred isotonic regression (Oron and Flournoy, 2017), so that between the first and the last of them
    unequal scores stay unequal, where steps would leave a threshold few places to cut.
    """
    filled = np.flatnonzero(bins.entities)
    entities, correct, score_sum = bins.entities[filled], bins.correct[filled], bins.score_sum[filled]
    first = pool_violators(correct, entities)
    counts = np.add.reduceat(entities, first)
    scores = np.add.reduceat(score_sum, first) * _UNIT / counts
    return Isotonic(tuple(scores.tolist()), tuple((np.add.reduceat(correct, first) / counts).tolist()))


def pool_violators(correct: IntArray, entities: IntArray) -> IntArray:
    """Pools neighbours until the shares of the pools rise (Ayer et al., 1955), in one pass.

    Args:
      correct: (n,) how many are right.
      entities: (n,) of how many, at least 1 each.

    Returns:
      (n_pools,) index of the first member of each pool.

    >>> pool_violators(np.array([0, 3, 1, 4]), np.array([1, 4, 4, 4])).tolist()
    [0, 1, 3]
    """
    pools: list[tuple[int, int, int]] = []
    for at, (right, count) in enumerate(zip(correct.tolist(), entities.tolist(), strict=True)):
        pool = (at, right, count)
        # Whole numbers: shares are compared without rounding.
        while pools and pools[-1][1] * pool[2] >= pool[1] * pools[-1][2]:
            before = pools.pop()
            pool = (before[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    return np.array([first for first, _, _ in pools], dtype=np.int64)


def calibrate_scores(calibrator: Calibrator, scores: ScoreArray, label: IntArray, labels: Sequence[str]) -> ScoreArray:
    """Scores (n,) to calibrated scores (n,); a higher score never gets a lower one within its label.

    Args:
      calibrator: the calibrator.
      scores: (n,) scores, 0 to 1.
      label: (n,) label number of each score.
      labels: names of the label numbers.
    """
    calibrated = np.empty(len(scores), dtype=np.float32)
    for index in np.unique(label).tolist():
        chosen = label == index
        calibrated[chosen] = _follow(calibrator.curve_of(labels[index]), scores[chosen])
    return calibrated


def calibrate_histogram(histogram: ScoreHistogram, calibrator: Calibrator) -> ScoreHistogram:
    """The histogram that calibrated scores would give, each bin moved as a whole by its mean score.

    On the histogram that the calibrator was fitted on, its error comes out smaller than on new documents.
    """
    moved = {}
    for label, bins in histogram.labels.items():
        filled = np.flatnonzero(bins.entities)
        scores = _follow(calibrator.curve_of(label), bins.mean_scores[filled])
        target, entities = _find_bins(scores), bins.entities[filled]
        moved[label] = ScoreBins(
            entities=_sum_by_bin(target, entities),
            correct=_sum_by_bin(target, bins.correct[filled]),
            score_sum=_sum_by_bin(target, entities * _count_units(scores)),
            gold=bins.gold,
        )
    return ScoreHistogram(moved)


_FITS: dict[str, Callable[[ScoreBins], Curve]] = {"temperature": fit_temperature, "isotonic": fit_isotonic}


def _find_bins(scores: ScoreArray) -> IntArray:
    bins: IntArray = np.searchsorted(EDGES[1:-1], scores, side="right")
    return bins


def _count_units(scores: ScoreArray) -> IntArray:
    units: IntArray = np.rint(scores / _UNIT).astype(np.int64)
    return units


def _sum_by_bin(bins: IntArray, values: IntArray) -> IntArray:
    total = _no_counts()
    np.add.at(total, bins, values)
    return total


def _follow(curve: Curve, scores: npt.NDArray[Any]) -> ScoreArray:
    values = scores.astype(np.float64)
    if isinstance(curve, Temperature):
        return _sigmoid(_log_odds(values) / curve.temperature).astype(np.float32)
    return np.interp(values, curve.scores, curve.calibrated).astype(np.float32)


def _log_odds(scores: FloatArray) -> FloatArray:
    clipped = np.clip(scores, _RESOLUTION, 1 - _RESOLUTION)
    odds: FloatArray = np.log(clipped / (1 - clipped))
    return odds


def _sigmoid(odds: FloatArray) -> FloatArray:
    probability: FloatArray = 1 / (1 + np.exp(-odds))
    return probability


def _from_top(bins: ScoreBins) -> tuple[IntArray, IntArray]:
    """Entities at or above the edge of each bin, (N_BINS,), and how many of them are right."""
    return np.cumsum(bins.entities[::-1])[::-1], np.cumsum(bins.correct[::-1])[::-1]
