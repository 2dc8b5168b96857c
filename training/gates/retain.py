"""No label may get worse on what was learned before."""

import dataclasses
from collections.abc import Iterator, Mapping

from schemas.errors import ConfigError
from schemas.registry import GateResult
from training.gates.measurements import Measurements


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetainGate:
    """F1 of each label on each past test set, by the lower end of the interval of what it gains.

    So a loss must be ruled out, not merely unseen: a set with few entities of a label cannot let much pass.

    Attributes:
      max_label_loss: most points of F1 that a label may lose.
      min_support: labels with fewer gold entities in a set are not judged on it.
    """

    max_label_loss: float = 1.0
    min_support: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.max_label_loss <= 100:
            raise ConfigError(f"expected max_label_loss of [retain] from 0 to 100 points, found {self.max_label_loss}")
        if self.min_support < 1:
            raise ConfigError(f"expected min_support of [retain] of 1 or more, found {self.min_support}")

    def check(self, supports: Mapping[str, Mapping[str, int]], new: str) -> None:
        """Makes sure that there is something to judge on each past test set.

        Raises:
          ConfigError: there is no past test set, or one has too few entities of every label.
        """
        past = {name: labels for name, labels in supports.items() if name != new}
        if not past:
            raise ConfigError("expected a past test set in [sets] for [retain], found none; name one, or leave it out")
        for name, labels in past.items():
            if max(labels.values(), default=0) < self.min_support:
                raise ConfigError(
                    f"expected {self.min_support} entities or more of a label in test set {name!r} for [retain], found "
                    f"{max(labels.values(), default=0)} at most; give more documents, or set min_support"
                )

    def judge(self, measured: Measurements, new: str) -> Iterator[GateResult]:
        """A result for each label on each test set but the new one; without a number where it has too few entities."""
        for name, measurement in measured.sets.items():
            if name == new:
                continue
            for label, support in sorted(measurement.support.items()):
                if support < self.min_support:
                    # Nobody shall take a label for kept that was never looked at.
                    yield self._leave_out(name, label, support)
                    continue
                gain = measurement.compare_label(label)
                passed = gain.low >= -self.max_label_loss
                yield GateResult(
                    name=f"retain {name} {label}",
                    measured=gain.value,
                    interval=(gain.low, gain.high),
                    limit=-self.max_label_loss,
                    passed=passed,
                    sentence=f"{label} on {name} changes by {gain.value:+.2f} points of F1 and {_rule_out(passed)} a "
                    f"loss of more than {self.max_label_loss:g}, with {gain.low:+.2f} at the lower end",
                )

    def _leave_out(self, name: str, label: str, support: int) -> GateResult:
        return GateResult(
            name=f"retain {name} {label}",
            measured=None,
            interval=None,
            limit=-self.max_label_loss,
            passed=True,
            sentence=f"not judged, {label} has {support} entities on {name}, fewer than min_support {self.min_support}",
        )


def _rule_out(passed: bool) -> str:  # noqa: FBT001
    return "rules out" if passed else "does not rule out"
