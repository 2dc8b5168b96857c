"""What an evaluation learns about scores and annotating makes use of: a calibrator, and thresholds for a precision.

Both are JSON files that are made once, on labelled documents, and read back strictly. A calibrator turns the scores of
one model's entities into the share of such entities that are right; thresholds say from which score on the entities of
a label are right often enough. Thresholds hold for the scores they were chosen on, so they name the calibrator that
these had passed through.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from schemas.errors import ConfigError

CALIBRATOR_VERSION = 1
THRESHOLDS_VERSION = 1
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 10.0

_OVERALL = "overall"


@dataclasses.dataclass(frozen=True)
class Temperature:
    """A curve with one parameter: the log-odds of a score are divided by it.

    Attributes:
      temperature: above 1 for a model that is too sure of itself, below 1 for one that is not sure enough.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check_number(self.temperature, "a temperature", LEAST_TEMPERATURE, MOST_TEMPERATURE)


@dataclasses.dataclass(frozen=True)
class Isotonic:
    """A curve through points, straight between them and flat beyond the first and the last.

    Attributes:
      scores: where the points are, rising.
      calibrated: the calibrated scores there, never falling.
    """

    scores: tuple[float, ...]
    calibrated: tuple[float, ...]

    def __post_init__(self) -> None:
        for values in (self.scores, self.calibrated):
            if not isinstance(values, tuple):
                raise ConfigError(f"expected a list of scores, found {_show(values)}")
        if not self.scores or len(self.scores) != len(self.calibrated):
            raise ConfigError(
                f"expected as many calibrated scores as scores, found {len(self.calibrated)} and {len(self.scores)}"
            )
        for value in (*self.scores, *self.calibrated):
            _check_number(value, "a score", 0, 1)
        if any(left >= right for left, right in itertools.pairwise(self.scores)):
            raise ConfigError("expected scores that rise, found one that is not above the one before it")
        if any(left > right for left, right in itertools.pairwise(self.calibrated)):
            raise ConfigError("expected calibrated scores that never fall, found one below the one before it")


Curve = Temperature | Isotonic
KINDS: dict[str, type[Temperature] | type[Isotonic]] = {"temperature": Temperature, "isotonic": Isotonic}


@dataclasses.dataclass(frozen=True)
class LabelCurve:
    """How the scores of one label are calibrated.

    Attributes:
      entities: how many entities of the label there were to fit a curve on.
      curve: the label's own curve; None where they were too few, and the curve over all labels is used.
    """

    entities: int
    curve: Curve | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Turns the scores of one model's entities into the share of such entities that are right.

    Attributes:
      kind: one of KINDS.
      overall: the curve fitted on the entities of all labels; also that of labels which are not among `labels`.
      labels: the curves by label.
      fitted_on: what it was fitted on: names of files, digest of the model, and the like, as JSON values.
    """

    kind: str
    overall: Curve
    labels: Mapping[str, LabelCurve]
    fitted_on: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"expected a kind of {sorted(KINDS)}, found {self.kind!r}")
        curves = [self.overall, *(fit.curve for fit in self.labels.values() if fit.curve is not None)]
        if odd := [type(curve).__name__ for curve in curves if not isinstance(curve, KINDS[self.kind])]:
            raise ConfigError(f"expected only curves of kind {self.kind!r}, found {odd[0]}")

    def curve_of(self, label: str) -> Curve:
        """The curve that the scores of a label pass through."""
        fit = self.labels.get(label)
        return self.overall if fit is None or fit.curve is None else fit.curve

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the content, however its file is laid out."""
        return hashlib.sha256(json.dumps(self._to_values(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The calibrator as indented JSON."""
        return json.dumps(self._to_values(), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, file: str) -> "Calibrator":
        """The inverse of `to_json`.

        Args:
          text: content of the file.
          file: its name, for errors.

        Raises:
          ConfigError: the text is no calibrator of this version.
        """
        with _reading(file, "a calibrator"):
            value = _read_object(text, "calibrator_version", CALIBRATOR_VERSION)
            _check_keys(value, ("kind", _OVERALL, "labels", "fitted_on"), "a calibrator")
            kind = value["kind"]
            if not isinstance(kind, str) or kind not in KINDS:
                raise ConfigError(f"expected a kind of {sorted(KINDS)}, found {_show(kind)}")
            labels = _check_mapping(value["labels"], "labels")
            return cls(
                kind=kind,
                overall=_read_curve(value[_OVERALL], kind),
                labels={label: _read_label_curve(label, fit, kind) for label, fit in labels.items()},
                fitted_on=_check_mapping(value["fitted_on"], "fitted_on"),
            )

    def _to_values(self) -> dict[str, Any]:
        return {
            "calibrator_version": CALIBRATOR_VERSION,
            "kind": self.kind,
            _OVERALL: dataclasses.asdict(self.overall),
            "labels": {
                label: {
                    "entities": fit.entities,
                    "curve": _OVERALL if fit.curve is None else dataclasses.asdict(fit.curve),
                }
                for label, fit in sorted(self.labels.items())
            },
            "fitted_on": dict(self.fitted_on),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The least score that gives the entities of a label a wanted precision.

    Attributes:
      precision: the wanted precision.
      labels: the threshold of each label, compared as float32; None where no threshold reaches the precision.
      calibrator: digest of the calibrator that the scores had passed through; empty for scores as the model gave them.
    """

    precision: float
    labels: Mapping[str, float | None]
    calibrator: str = ""

    def __post_init__(self) -> None:
        _check_number(self.precision, "a precision", 0, 1)
        for label, threshold in self.labels.items():
            if threshold is not None:
                _check_number(threshold, f"a threshold of label {label!r}", 0, 1)
        if not isinstance(self.calibrator, str) or not re.fullmatch("([0-9a-f]{64})?", self.calibrator):
            raise ConfigError(f"expected the calibrator's digest or '', found {_show(self.calibrator)}")

    def to_json(self) -> str:
        """The thresholds as indented JSON."""
        value = {
            "thresholds_version": THRESHOLDS_VERSION,
            "precision": self.precision,
            "labels": dict(sorted(self.labels.items())),
            "calibrator": self.calibrator,
        }
        return json.dumps(value, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, file: str) -> "Thresholds":
        """The inverse of `to_json`.

        Args:
          text: content of the file.
          file: its name, for errors.

        Raises:
          ConfigError: the text holds no thresholds of this version.
        """
        with _reading(file, "thresholds"):
            value = _read_object(text, "thresholds_version", THRESHOLDS_VERSION)
            _check_keys(value, ("precision", "labels", "calibrator"), "thresholds")
            return cls(**{**value, "labels": _check_mapping(value["labels"], "labels")})


@contextmanager
def _reading(file: str, kind: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"cannot read {kind} from {file!r}: {error}; make the file anew") from error


def _read_object(text: str, version_key: str, version: int) -> dict[str, Any]:
    """JSON of a version to its other values."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected JSON, found something else ({error})") from error
    found = _check_mapping(value, "the file").get(version_key)
    if found != version or isinstance(found, bool):
        raise ConfigError(f"expected {version_key} {version}, found {_show(found)}")
    return {key: other for key, other in value.items() if key != version_key}


def _read_label_curve(label: str, value: Any, kind: str) -> LabelCurve:
    fit = _check_mapping(value, f"label {label!r}")
    _check_keys(fit, ("entities", "curve"), f"label {label!r}")
    entities = fit["entities"]
    if not isinstance(entities, int) or isinstance(entities, bool) or entities < 0:
        raise ConfigError(f"expected a number of entities for label {label!r}, found {_show(entities)}")
    return LabelCurve(entities, None if fit["curve"] == _OVERALL else _read_curve(fit["curve"], kind))


def _read_curve(value: Any, kind: str) -> Curve:
    curve: type[Any] = KINDS[kind]
    numbers = _check_mapping(value, "a curve")
    _check_keys(numbers, [field.name for field in dataclasses.fields(curve)], f"a curve of kind {kind!r}")
    given = {key: tuple(number) if isinstance(number, list) else number for key, number in numbers.items()}
    found: Curve = curve(**given)
    return found


def _check_mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"expected an object for {where}, found {_show(value)}")
    return value


def _check_keys(value: Mapping[str, Any], keys: Collection[str], where: str) -> None:
    if value.keys() != set(keys):
        raise ConfigError(f"expected the keys {sorted(keys)} for {where}, found {_show(sorted(value))}")


def _check_number(value: Any, what: str, least: float, most: float) -> None:
    # The comparison refuses NaN too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"expected {what} between {least} and {most}, found {_show(value)}")


def _show(value: Any) -> str:
    """A value of a file, short and on one line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
