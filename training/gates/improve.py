"""What the candidate was made for must get better."""

import dataclasses
from collections.abc import Iterator, Mapping

from schemas.errors import ConfigError, suggest
from schemas.registry import GateResult
from schemas.scores import MICRO
from training.gates.measurements import Measurements


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImproveGate:
    """F1 over all labels on the new test set.

    Attributes:
      set: name of the new test set; the others are past ones.
      min_gain: fewest points of F1 to gain.
      sure: judge by the lower end of the interval of the gain, and not by the gain itself.
    """

    set: str
    min_gain: float = 0.0
    sure: bool = False

    def __post_init__(self) -> None:
        if not -100 <= self.min_gain <= 100:
            raise ConfigError(f"expected min_gain of [improve] between -100 and 100 points, found {self.min_gain}")

    def check(self, supports: Mapping[str, Mapping[str, int]], new: str) -> None:  # noqa: ARG002 - new is its own
        """Makes sure that there is such a set, with entities.

        Raises:
          ConfigError: there is none.
        """
        if self.set not in supports:
            raise ConfigError(
                f"expected set of [improve] to be one of {sorted(supports)}, found {self.set!r}"
                f"{suggest(self.set, supports)}"
            )

    def judge(self, measured: Measurements, new: str) -> Iterator[GateResult]:  # noqa: ARG002 - new is its own
        """One result."""
        gain = measured.sets[self.set].compare_label(MICRO)
        passed = (gain.low if self.sure else gain.value) >= self.min_gain
        by = "by the lower end" if self.sure else "by what was measured"
        yield GateResult(
            name=f"improve {self.set}",
            measured=gain.value,
            interval=(gain.low, gain.high),
            limit=self.min_gain,
            passed=passed,
            sentence=f"F1 on {self.set} changes by {gain.value:+.2f} points, {gain.low:+.2f} to {gain.high:+.2f}, "
            f"where {self.min_gain:+g} or more are wanted {by}",
        )
