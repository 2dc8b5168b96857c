"""The file that says what `spanmill cycle` does: a few keys, and a table of options for each job that it runs.

state = "cycle"
registry = "models"

[annotate]                                options of spanmill annotate, but for the model
input = ["incoming/*.jsonl"]
output = "entities"
[drift]                                   of spanmill drift, and which run to compare with
[adapt]                                   of spanmill train, and where labelled files arrive
labels = ["labels/*/train.conll"]
[promote]                                 of spanmill registry promote
gates = "gates.toml"
[beam]                                    Beam's own flags
"""

import dataclasses
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipelines.console.options import check_beam_flags, option, read_values, render_beam_flags
from pipelines.runs.options import AnnotateOptions
from pipelines.training.options import TrainOptions
from schemas.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

FIRST, PREVIOUS = "first", "previous"
NONE, LATEST, ALL = "none", "latest", "all"
_ANOTHER_MODEL = ("model", "base", "registry", "adapter", "tagger")
_SET_BY_CYCLE = ("train", "base", "registry", "output", "resume")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleSettings:
    """The keys that stand above the tables.

    Attributes:
      state: where what was done is kept.
      registry: where the champion is.
      work: where candidates are trained.
      reannotate: what is annotated again when the champion is another.
    """

    state: str = option("folder or URL that tells what cycles have done")
    registry: str = option("folder or URL of the registry")
    work: str = option("folder on this machine to train in (default: work in the state, where that is local)", "")
    reannotate: str = option("what a new champion annotates again", NONE, choices=(NONE, LATEST, ALL))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """How the run of a cycle is held against an earlier one.

    Attributes:
      reference: first or previous, for the run of that cycle, or folder or URL of a run.
      threshold: see `spanmill drift`.
      fail_on: see there.
      replicates: see there.
    """

    reference: str = option("first, previous, or folder or URL of a run", FIRST)
    threshold: tuple[str, ...] = option("as of spanmill drift", ())
    fail_on: str = option("as of spanmill drift", "never", choices=("never", "moderate", "drifted"))
    replicates: int = option("as of spanmill drift", 1000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromoteSettings:
    """How a candidate is judged.

    Attributes:
      gates: file of gates and test sets.
      device: what candidate and champion run on.
    """

    gates: str = option("file of gates and test sets")
    device: str = option("cpu or cuda", "cpu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleConfig:
    """All that the file says.

    Attributes:
      settings: the keys above the tables.
      annotate: options of the job, as they are but for input, output and model.
      beam_flags: Beam's own.
      drift: how drift is measured; None for not at all.
      labels: where labelled files arrive; empty where nothing is trained.
      train: options of training by name, without those that a cycle sets.
      promote: how a candidate is judged; None where nothing is trained.
      name: the file.
    """

    settings: CycleSettings
    annotate: AnnotateOptions
    beam_flags: tuple[str, ...] = ()
    drift: DriftSettings | None = None
    labels: tuple[str, ...] = ()
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    promote: PromoteSettings | None = None
    name: str = ""

    def name_key(self, key: str, table: str) -> str:
        """A key as messages name it."""
        return f"{key} of [{table}] in {self.name!r}"

    @property
    def work(self) -> Path:
        """Where candidates are trained."""
        return Path(self.settings.work or f"{self.settings.state.rstrip('/')}/work").expanduser()


def read_cycle_config(path: Path) -> CycleConfig:
    """A TOML file to what a cycle does.

    Raises:
      ConfigError: it cannot be read, or a key or value in it is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --config {str(path)!r}: {error}") from error
    tables = {name: _take_table(content, name, path) for name in ("annotate", "drift", "adapt", "promote", "beam")}
    where = f"[annotate] of {path}"
    if tables["annotate"] is None:
        raise ConfigError(f"expected a table [annotate] in {str(path)!r}, found none")
    settings = _read(content, CycleSettings, str(path))
    if "://" in settings.state and not settings.work:
        raise ConfigError(f"expected work, a folder on this machine, in {str(path)!r} with a URL as state, found none")
    _refuse(tables["annotate"], _ANOTHER_MODEL, where, "a cycle annotates with the champion of the registry")
    beam_flags = render_beam_flags(tables["beam"] or {})
    check_beam_flags(beam_flags, AnnotateOptions, has_beam=True, where=f" from [beam] in {str(path)!r}")
    drift = tables["drift"]
    return CycleConfig(
        settings=settings,
        annotate=_read(tables["annotate"], AnnotateOptions, where),
        beam_flags=tuple(beam_flags),
        drift=None if drift is None else _read(drift, DriftSettings, f"[drift] of {path}"),
        name=str(path),
        **_read_training(tables["adapt"], tables["promote"], path),
    )


def _read_training(adapt: dict[str, Any] | None, promote: dict[str, Any] | None, path: Path) -> dict[str, Any]:
    """What the tables of adapting and promoting say, which come together."""
    if adapt is None and promote is None:
        return {}
    if adapt is None or promote is None:
        there, missing = ("[promote]", "[adapt]") if adapt is None else ("[adapt]", "[promote]")
        raise ConfigError(f"expected a table {missing} with {there} in {str(path)!r}, found none")
    where = f"[adapt] of {path}"
    labels = adapt.pop("labels", None)
    labels = [labels] if isinstance(labels, str) else labels
    if not labels or not all(isinstance(pattern, str) for pattern in labels):
        raise ConfigError(f"expected labels, files or globs or folders, in {where!r}, found {labels!r}")
    _refuse(adapt, _SET_BY_CYCLE, where, "a cycle sets it")
    values = read_values(adapt, TrainOptions, where=where)
    options = TrainOptions(train=("-",), base="-", output="-", **values)
    if options.method != "full" and not options.merge:
        raise ConfigError(
            f"expected a whole checkpoint of {where!r}, from which the next cycle can train, found method "
            f"{options.method!r}; add merge = true"
        )
    _ = options.config  # Refuses what the trainer would, before anything is annotated.
    return {
        "labels": tuple(labels),
        "train": values,
        "promote": _read(promote, PromoteSettings, f"[promote] of {path}"),
    }


def _take_table(content: dict[str, Any], name: str, path: Path) -> dict[str, Any] | None:
    table = content.pop(name, None)
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"expected a table [{name}] in {str(path)!r}, found {type(table).__name__}")
    return table


def _read(content: Mapping[str, Any], options: type[T], where: str) -> T:
    values = read_values(content, options, where=where)
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and values.get(field.name) in (None, "", ()):
            raise ConfigError(f"expected {field.name.replace('_', '-')!r} in {where!r}, found none")
    return options(**values)


def _refuse(content: Mapping[str, Any], names: Collection[str], where: str, why: str) -> None:
    if found := [key for key in content if key.replace("-", "_") in names]:
        raise ConfigError(f"expected no {found[0]!r} in {where!r}, found it; {why}")
