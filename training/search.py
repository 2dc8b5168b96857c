"""Which options suit best: a training for each of many combinations, chosen by the mean F1 over the dev files.

    [grid]                             [optuna]
    learning-rate = [1e-4, 3e-4]       trials = 20
    objective = [[], ["rdrop"]]        learning-rate = {low = 1e-5, high = 1e-3, log = true}
                                       method = ["full", "lora:rank=8"]

A grid is all combinations; optuna (Akiba et al., 2019) draws trials from ranges and lists, by a tree-structured Parzen
estimator that learns from those before (Bergstra et al., 2011). Each trial is a line of `trials.jsonl` once it is done,
and done trials are not redone. What the next one is depends on those lines and the seed alone, so a search that was
interrupted goes on as it would have.
"""

import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TRIALS_NAME = "trials.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A training of a search.

    Attributes:
      number: which one, from 0.
      options: the options it was tried with, beyond those that all share.
      f1: mean entity F1 over the dev files, and over seeds.
      files: the same by file.
      steps: optimizer steps taken.
      seconds: time that it took.
    """

    number: int
    options: dict[str, Any]
    f1: float
    files: dict[str, float]
    steps: int
    seconds: float


class Search(Protocol):
    """Says what to try next."""

    def propose(self, done: Sequence[Trial]) -> dict[str, Any] | None:
        """The options of the next trial, given those done, or None when that is enough."""

    def samples(self) -> list[dict[str, Any]]:
        """Options that show whether all that may be proposed is allowed."""


@dataclasses.dataclass(frozen=True)
class GridSearch:
    """All combinations.

    Attributes:
      values: values by option.
    """

    values: Mapping[str, Sequence[Any]]

    def propose(self, done: Sequence[Trial]) -> dict[str, Any] | None:
        """The first combination that was not tried."""
        return next((options for options in self.samples() if options not in [trial.options for trial in done]), None)

    def samples(self) -> list[dict[str, Any]]:
        """All combinations, the last option changing fastest."""
        return [dict(zip(self.values, chosen, strict=True)) for chosen in itertools.product(*self.values.values())]


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers to draw from.

    Attributes:
      low: the least.
      high: the largest.
      log: whether their logarithms are drawn alike.
    """

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class OptunaSearch:
    """Trials drawn by optuna.

    Attributes:
      space: a range or a list of values by option.
      trials: how many trials.
      seed: of the draws.
    """

    space: Mapping[str, Range | Sequence[Any]]
    trials: int
    seed: int

    def propose(self, done: Sequence[Trial]) -> dict[str, Any] | None:
        """What optuna makes of the trials done."""
        if len(done) >= self.trials:
            return None
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # A sampler per trial, so that nothing but the trials done has to be remembered.
        sampler = optuna.samplers.TPESampler(seed=self.seed + len(done))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = self._distributions()
        for trial in done:
            params = {name: self._encode(name, value) for name, value in trial.options.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.f1))
        asked = study.ask(distributions)
        return {name: self._decode(name, value) for name, value in asked.params.items()}

    def samples(self) -> list[dict[str, Any]]:
        """Every end of a range and every value of a list, each beside first ones of the others."""
        ends = {name: [s.low, s.high] if isinstance(s, Range) else list(s) for name, s in self.space.items()}
        first = {name: values[0] for name, values in ends.items()}
        return [{**first, name: value} for name, values in ends.items() for value in values]

    def _distributions(self) -> dict[str, Any]:
        from optuna import distributions as kinds

        found: dict[str, Any] = {}
        for name, space in self.space.items():
            if not isinstance(space, Range):
                # Optuna takes no lists as values, so it chooses their places.
                found[name] = kinds.CategoricalDistribution(list(range(len(space))))
            elif isinstance(space.low, int) and isinstance(space.high, int):
                found[name] = kinds.IntDistribution(space.low, space.high, log=space.log)
            else:
                found[name] = kinds.FloatDistribution(float(space.low), float(space.high), log=space.log)
        return found

    def _encode(self, name: str, value: Any) -> Any:
        space = self.space[name]
        return value if isinstance(space, Range) else list(space).index(value)

    def _decode(self, name: str, value: Any) -> Any:
        space = self.space[name]
        return value if isinstance(space, Range) else space[value]


def read_search(path: Path) -> Search:
    """A TOML file to a search.

    Raises:
      ConfigError: it is no TOML, holds anything but one of the two tables, or a value is neither list nor range; or
        optuna is asked for and not installed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --search {str(path)!r}: {error}") from error
    kind = next(iter(content), "nothing")
    table = content.get(kind)
    if len(content) != 1 or kind not in ("grid", "optuna") or not isinstance(table, dict):
        raise ConfigError(f"expected a table [grid] or [optuna] alone in {str(path)!r}, found {sorted(content)}")
    if kind == "grid":
        values = {name: _read_list(name, value) for name, value in table.items()}
        return GridSearch(_refuse_empty(values, path))
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("expected optuna for --search with [optuna], found none; pip install 'spanmill[search]'")
    numbers = {"trials": table.pop("trials", 20), "seed": table.pop("seed", 0)}
    for name, number in numbers.items():
        if type(number) is not int or number < (name == "trials"):
            raise ConfigError(f"expected {name} of --search to be a whole number above 0, found {number!r}")
    space = {name: _read_range(name, value) for name, value in table.items()}
    return OptunaSearch(_refuse_empty(space, path), **numbers)


def run_trials(search: Search, train: Callable[[int, dict[str, Any], Path], Trial], work: Path) -> list[Trial]:
    """Runs what is left of a search, and returns all trials.

    Args:
      search: what to try.
      train: takes number, options and a folder; trains there and says how well.
      work: has `trials.jsonl` and a folder per trial, of which that of the best stays.
    """
    log = work / TRIALS_NAME
    done = read_trials(log)
    while (options := search.propose(done)) is not None:
        trial = train(len(done), options, trial_folder(work, len(done)))
        done.append(trial)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        best = find_best(done)
        for other in done:
            if other.number != best.number:
                shutil.rmtree(trial_folder(work, other.number), ignore_errors=True)
    return done


def read_trials(path: Path) -> list[Trial]:
    """The trials of a file, without a last line that was cut off, which goes."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines[-1]:
        path.write_text("".join(line + "\n" for line in lines[:-1]), encoding="utf-8")
    return [Trial(**json.loads(line)) for line in lines[:-1]]


def find_best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest F1, the first of them."""
    return max(trials, key=lambda trial: (trial.f1, -trial.number))


def trial_folder(work: Path, number: int) -> Path:
    """Where a trial trains, and leaves its checkpoint."""
    return work / f"trial={number}"


def _read_list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"expected a list of values for {name!r} in --search, found {value!r}")
    return value


def _read_range(name: str, value: Any) -> Range | list[Any]:
    if not isinstance(value, dict):
        values = _read_list(name, value)
        if len(values) == 2 and all(type(each) in (int, float) for each in values):
            low, high = sorted(values)
            raise ConfigError(
                f"expected a range such as {{low = {low}, high = {high}}} for {name!r} in [optuna] of --search, found "
                "two numbers, between which nothing would be tried; give a range, or try both in a [grid]"
            )
        return values
    if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise ConfigError(f"expected low, high and perhaps log for {name!r} in --search, found {sorted(value)}")
    found = Range(**value)
    if not all(type(number) in (int, float) for number in (found.low, found.high)) or not found.low < found.high:
        raise ConfigError(f"expected low below high for {name!r} in --search, found {found.low!r} and {found.high!r}")
    if found.log and not found.low > 0:
        raise ConfigError(f"expected low above 0 for {name!r} in --search with log, found {found.low!r}")
    return found


def _refuse_empty(values: dict[str, Any], path: Path) -> dict[str, Any]:
    if not values:
        raise ConfigError(f"expected options to try in {str(path)!r}, found none")
    return values
