"""The labelled files of a training: read, mapped, split, and held against each other."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.console.options import parse_pairs
from pipelines.training.options import TrainOptions
from schemas.errors import ConfigError
from training.continual.continual import read_labels
from training.continual.memory import BUFFER_NAME
from training.encoders import open_encoder
from training.examples import LabelledFile, check_label_map, collect_labels, map_labels, read_files
from training.splits import ROLES, parse_shares, split_files

if TYPE_CHECKING:
    pass


@dataclasses.dataclass(frozen=True)
class TrainData:
    """What is trained on and scored on.

    Attributes:
      train: files to train on, or the part of them that `split` left.
      dev: files to choose the best epoch on.
      test: files to score only.
      label_map: old name to new name, "O" for a label that is dropped.
      labels: labels of the model to be.
      split: how the files were cut; empty where they were not.
      teacher: who labelled the training files, where that was a tagger.
      pinned: digests of checkpoints of a registry by option.
      old: files of earlier trainings.
      is_kept: whether labels of the base are kept that the training files lack.
    """

    train: list[LabelledFile]
    dev: list[LabelledFile]
    test: list[LabelledFile]
    label_map: dict[str, str]
    labels: tuple[str, ...]
    split: dict[str, Any] = dataclasses.field(default_factory=dict)
    teacher: dict[str, Any] = dataclasses.field(default_factory=dict)
    pinned: dict[str, str] = dataclasses.field(default_factory=dict)
    old: list[LabelledFile] = dataclasses.field(default_factory=list)
    is_kept: bool = False

    @property
    def counted(self) -> tuple[str, ...]:
        """Labels that scores count wherever they are found; empty for all."""
        return collect_labels(self.train, ()) if self.is_kept else ()

    @property
    def roles(self) -> list[tuple[str, LabelledFile]]:
        """Each file with what it is for."""
        return [(role, file) for role in ROLES for file in getattr(self, role)]


def read_data(options: TrainOptions) -> TrainData:
    """Reads all labelled files, maps their labels and cuts them where that is asked for.

    Raises:
      ConfigError: a file is wrong, no file is there to choose on, or one is both trained and scored on.
    """
    label_map = parse_pairs(options.map, flag="--map")
    if bool(options.dev) == bool(options.split):
        raise ConfigError(f"expected --dev or --split, found {'both' if options.dev else 'neither'}")
    shares = parse_shares(options.split) if options.split else None
    groups = {role: read_files(getattr(options, role), flag=f"--{role}") for role in ROLES}
    old = _read_old(options)
    check_label_map([file for files in groups.values() for file in files], label_map)
    mapped = {role: map_labels(files, label_map) for role, files in groups.items()}
    kept = _find_kept(options, old)
    labels = collect_labels(mapped["train"], mapped["dev"] + mapped["test"], kept=kept)
    past: dict[str, Any] = {"old": old, "is_kept": bool(kept)}
    trained = {file.digest for file in mapped["train"]}
    if seen := [file.name for file in mapped["dev"] + mapped["test"] if file.digest in trained]:
        raise ConfigError(f"expected --dev and --test files that are not trained on, found {seen} in --train too")
    if not shares:
        _check_dev(mapped["dev"])
        return TrainData(mapped["train"], mapped["dev"], mapped["test"], label_map, labels, **past)
    split = split_files(mapped["train"], shares, seed=options.seed)
    _check_dev(split.dev)
    about = {
        "given": list(shares),
        "found": list(split.shares),
        "sentences": list(split.sizes),
        "left_out": split.left_out,
    }
    return TrainData(split.train, split.dev, split.test + mapped["test"], label_map, labels, about, **past)


def describe_split(data: TrainData) -> str:
    """A line on how large the parts became."""
    sides = zip(ROLES, *(data.split[name] for name in ("sentences", "found", "given")), strict=True)
    parts = (
        f"{role} {n:,} ({100 * found:.1f} %, asked for {100 * given:g} %)" for role, n, found, given in sides if given
    )
    left_out = data.split["left_out"]
    rest = f"; {left_out:,} left out, whose words stand on an earlier side" if left_out else ""
    return f"sentences: {', '.join(parts)}{rest}"


def _check_dev(dev: Sequence[LabelledFile]) -> None:
    """Refuses files to choose the best epoch on that hold nothing to be found: they score 0 whatever is learned."""
    if empty := [file.name for file in dev if not file.entities]:
        raise ConfigError(
            f"expected entities to choose the best epoch by, found none in {empty}; "
            "give other --dev files or a larger share of --split"
        )


def _read_old(options: TrainOptions) -> list[LabelledFile]:
    """Labelled files of earlier trainings: those given, or the buffer of the base where something asks for one."""
    if options.old:
        return read_files(options.old, flag="--old")
    asked = {spec.partition(":")[0] for spec in (*options.continual, *options.remember)} & {"replay", "buffer"}
    buffer = Path(options.base) / BUFFER_NAME
    return read_files([str(buffer)], flag="--old") if asked and buffer.is_file() else []


def _find_kept(options: TrainOptions, old: Sequence[LabelledFile]) -> set[str]:
    """Labels that the model keeps beside those of the training files."""
    if not (options.continual or options.keep_labels):
        return set()
    taggers = {"--base": options.base, **({"--teacher": options.teacher} if options.teacher else {})}
    labels = {label for flag, name in taggers.items() for label in read_labels(open_encoder(name), flag=flag)}
    for file in old:
        # Those of before stay as the base knows them; --map is for new files.
        if strange := sorted(set(file.entities) - labels):
            raise ConfigError(f"expected labels of --base, {sorted(labels)}, in --old {file.name!r}, found {strange}")
    return labels
