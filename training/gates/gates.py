"""The gates that there are, how they are asked for, and what they say of a candidate.

    [improve]
    set = "tweets"
    min_gain = 0.5

A gate is a table of a TOML file. To add one, add a file with a config that has `check` and `judge`, and a row here.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from schemas.errors import ConfigError, suggest
from schemas.registry import GateResult
from training.gates.calibration import CalibrationGate
from training.gates.improve import ImproveGate
from training.gates.measurements import Measurements
from training.gates.retain import RetainGate
from training.gates.throughput import ThroughputGate


class Gate(Protocol):
    """What a candidate must pass."""

    def check(self, supports: Mapping[str, Mapping[str, int]], new: str) -> None:
        """Makes sure before anything is measured that there will be something to judge.

        Args:
          supports: gold entities by test set and label.
          new: name of the new test set; empty for none.

        Raises:
          ConfigError: there will not be.
        """

    def judge(self, measured: Measurements, new: str) -> Iterator[GateResult]:
        """What is found, beside the champion; arguments as above."""


GATES: dict[str, type[Any]] = {
    "retain": RetainGate,
    "improve": ImproveGate,
    "calibration": CalibrationGate,
    "throughput": ThroughputGate,
}


@dataclasses.dataclass(frozen=True)
class Gates:
    """The gates of a file.

    Attributes:
      gates: their configs by name.
    """

    gates: Mapping[str, Gate]

    @property
    def new(self) -> str:
        """The new test set; empty for none."""
        gate = self.gates.get("improve")
        return gate.set if isinstance(gate, ImproveGate) else ""

    @property
    def need_speed(self) -> bool:
        """Whether throughput has to be measured."""
        return "throughput" in self.gates

    def check(self, supports: Mapping[str, Mapping[str, int]]) -> None:
        """Makes sure that every gate will have something to judge.

        Args:
          supports: gold entities by test set and label.

        Raises:
          ConfigError: one will not.
        """
        for name, labels in supports.items():
            if not any(labels.values()):
                raise ConfigError(f"expected gold entities in test set {name!r}, found none; check its columns and map")
        for gate in self.gates.values():
            gate.check(supports, self.new)

    def judge(self, measured: Measurements) -> tuple[GateResult, ...]:
        """What every gate says of the candidate, beside the champion."""
        return tuple(result for gate in self.gates.values() for result in gate.judge(measured, self.new))

    def welcome(self) -> tuple[GateResult, ...]:
        """What they say of the first candidate, which has no champion beside it."""
        return tuple(
            GateResult(
                name=name,
                measured=None,
                interval=None,
                limit=0.0,
                passed=True,
                sentence="there is no champion to compare with",
            )
            for name in self.gates
        )


def parse_gates(content: Mapping[str, Any], *, where: str) -> Gates:
    """Tables of a TOML file to gates.

    Args:
      content: the tables, without that of the test sets.
      where: the file, for messages.

    Raises:
      ConfigError: there is none, one is unknown, or a key of it is, or a value has the wrong type.
    """
    if not content:
        raise ConfigError(f"expected a gate of {sorted(GATES)} in {where!r}, found none")
    gates: dict[str, Gate] = {}
    for name, values in content.items():
        if name not in GATES:
            raise ConfigError(
                f"expected [sets] and gates of {sorted(GATES)} in {where!r}, found {name!r}{suggest(name, GATES)}"
            )
        if not isinstance(values, dict):
            raise ConfigError(f"expected a table [{name}] in {where!r}, found {type(values).__name__}")
        gates[name] = _build(GATES[name], values, f"[{name}] in {where!r}")
    return Gates(gates)


def _build(config: type[Any], values: Mapping[str, Any], where: str) -> Gate:
    hints = typing.get_type_hints(config)
    read = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in hints:
            raise ConfigError(f"expected keys {sorted(hints)} of {where}, found {key!r}{suggest(name, hints)}")
        is_whole = type(value) is int and hints[name] is float
        if type(value) is not hints[name] and not is_whole:
            raise ConfigError(f"expected {hints[name].__name__} for {key!r} of {where}, found {value!r}")
        read[name] = float(value) if is_whole else value
    for field in dataclasses.fields(config):
        if field.default is dataclasses.MISSING and field.name not in read:
            raise ConfigError(f"expected {field.name!r} in {where}, found none")
    gate: Gate = config(**read)
    return gate
