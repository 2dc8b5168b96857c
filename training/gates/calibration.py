"""Scores must mean what they meant."""

import dataclasses
from collections.abc import Iterator, Mapping

from schemas.errors import ConfigError
from schemas.registry import GateResult
from training.gates.measurements import Measurements


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationGate:
    """Expected calibration error on each test set.

    Attributes:
      max_ece_increase: most that it may grow by.
    """

    max_ece_increase: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.max_ece_increase <= 1:
            raise ConfigError(
                f"expected max_ece_increase of [calibration] between 0 and 1, found {self.max_ece_increase}"
            )

    def check(self, supports: Mapping[str, Mapping[str, int]], new: str) -> None:
        """Every set will do."""

    def judge(self, measured: Measurements, new: str) -> Iterator[GateResult]:  # noqa: ARG002 - all sets count
        """A result for each test set."""
        for name, measurement in measured.sets.items():
            candidate, champion = measurement.measure_ece()
            yield GateResult(
                name=f"calibration {name}",
                measured=candidate - champion,
                interval=None,
                limit=self.max_ece_increase,
                passed=candidate - champion <= self.max_ece_increase,
                sentence=f"the calibration error on {name} goes from {champion:.4f} to {candidate:.4f}, where it may "
                f"grow by {self.max_ece_increase:g}",
            )
