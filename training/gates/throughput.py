"""The candidate must not be much slower."""

import dataclasses
from collections.abc import Iterator, Mapping

from schemas.errors import ConfigError
from schemas.registry import GateResult
from training.gates.measurements import Measurements, middle


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughputGate:
    """Speed on texts of the test sets, beside the champion's on the same machine at the same time.

    Attributes:
      min_ratio: the least that it may be of the champion's, by the median over rounds.
    """

    min_ratio: float = 0.9

    def __post_init__(self) -> None:
        if not self.min_ratio > 0:
            raise ConfigError(f"expected min_ratio of [throughput] above 0, found {self.min_ratio}")

    def check(self, supports: Mapping[str, Mapping[str, int]], new: str) -> None:
        """Every set will do."""

    def judge(self, measured: Measurements, new: str) -> Iterator[GateResult]:  # noqa: ARG002 - all texts count
        """One result; its interval is the range over rounds."""
        ratio = middle(measured.ratios)
        yield GateResult(
            name="throughput",
            measured=ratio,
            interval=(min(measured.ratios), max(measured.ratios)),
            limit=self.min_ratio,
            passed=ratio >= self.min_ratio,
            sentence=f"the candidate is {ratio:.2f} times as fast as the champion, {min(measured.ratios):.2f} to "
            f"{max(measured.ratios):.2f} over rounds, where {self.min_ratio:g} or more is wanted",
        )
