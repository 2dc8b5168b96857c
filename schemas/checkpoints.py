"""Checkpoint cards: what a trained model was made from, and how well it does."""

import dataclasses
import json
from typing import Any

from schemas.errors import CheckpointError
from schemas.scores import LabelScore

CARD_VERSION = 1
CARD_NAME = "card.json"
HISTORY_NAME = "history.json"
UNFINISHED = ".training"
"""Folder with the state of a training, where its checkpoint will be."""
MEMORY_FOLDER = "memory"
"""What a checkpoint keeps beside its weights, and does not answer with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFile:
    """A labelled file as it was read.

    Attributes:
      role: train, dev or test.
      name: its folder and file name.
      digest: SHA-256 of its decompressed bytes, hex.
      sentences: how many it holds.
      words: how many words they hold.
      entities: how many entities of each label, after the label map.
    """

    role: str
    name: str
    digest: str
    sentences: int
    words: int
    entities: dict[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileScore:
    """Scores on one labelled file, before and after training.

    Attributes:
      role: dev or test.
      name: its folder and file name.
      before: scores of the model as it was before the first step; empty where they were not taken.
      after: scores of the checkpoint.
      intervals: where the F1 of each label of `after` lies, with a chance of 95 %; empty where that was not computed.
      intervals_before: the same of `before`.
    """

    role: str
    name: str
    before: tuple[LabelScore, ...]
    after: tuple[LabelScore, ...]
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    intervals_before: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch of training.

    Attributes:
      epoch: its number, from 1.
      step: optimizer steps taken by its end.
      loss: mean loss over it.
      learning_rate: highest rate at its last step.
      f1: entity F1 on each dev file at its end.
      seconds: time that it took, with the scoring; of no account when two trainings are compared.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    f1: tuple[float, ...]
    seconds: float = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """How one training went.

    Attributes:
      seed: its seed.
      epochs: its epochs.
    """

    seed: int
    epochs: tuple[Epoch, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """How a checkpoint came about: what learning curves are drawn from.

    Attributes:
      files: names of the dev files.
      curves: a curve per seed.
    """

    files: tuple[str, ...]
    curves: tuple[Curve, ...]

    def to_json(self) -> str:
        """The history as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "History":
        """The inverse of `to_json`.

        Raises:
          CheckpointError: the text is no history.
        """
        try:
            value = json.loads(text)
            return cls(files=tuple(value["files"]), curves=tuple(map(_curve, value["curves"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"expected a history of training, found something else: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedScore:
    """What training with one seed came to.

    Attributes:
      seed: the seed.
      f1: entity F1 on each file of the card's scores, in their order.
    """

    seed: int
    f1: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointCard:
    """What a checkpoint was made from; everything but the weights.

    Attributes:
      base: name of the model that training began from.
      base_digest: SHA-256 of its weights, hex.
      method: name of the training method.
      labels: labels, sorted.
      tags: a tag per output of the model.
      label_map: labels of the data that were renamed, or dropped where the value is O.
      data: the files read.
      options: options of training and of the method.
      steps: optimizer steps taken.
      best_step: the step whose weights were kept.
      trained_parameters: how many weights were trained.
      parameters: how many there are.
      scores: scores by file.
      weights_digest: SHA-256 of the checkpoint's weights, hex.
      versions: versions of the libraries.
      seeds: scores by seed where there were several; the checkpoint is the one that does best on the dev files.
      trials: how many combinations of options it was chosen from; 0 without a search.
    """

    base: str
    base_digest: str
    method: str
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    label_map: dict[str, str]
    data: tuple[DataFile, ...]
    options: dict[str, Any]
    steps: int
    best_step: int
    trained_parameters: int
    parameters: int
    scores: tuple[FileScore, ...]
    weights_digest: str
    versions: dict[str, str]
    seeds: tuple[SeedScore, ...] = ()
    trials: int = 0

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps({"card_version": CARD_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CheckpointCard":
        """The inverse of `to_json`.

        Raises:
          CheckpointError: the text is no card of this version.
        """
        try:
            value = json.loads(text)
            version = value.pop("card_version")
            if version != CARD_VERSION:
                raise CheckpointError(f"expected a card of version {CARD_VERSION}, found {version!r}")
            return cls(
                **{
                    **value,
                    "labels": tuple(value["labels"]),
                    "tags": tuple(value["tags"]),
                    "data": tuple(DataFile(**file) for file in value["data"]),
                    "scores": tuple(_file_score(score) for score in value["scores"]),
                    "seeds": tuple(SeedScore(seed=s["seed"], f1=tuple(s["f1"])) for s in value.get("seeds", ())),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"expected a checkpoint card, found something else: {error}") from error


def _file_score(value: dict[str, Any]) -> FileScore:
    before, after = (tuple(LabelScore(**score) for score in value[key]) for key in ("before", "after"))
    # Cards of older checkpoints have no intervals.
    intervals, intervals_before = (
        {label: (low, high) for label, (low, high) in value.get(key, {}).items()}
        for key in ("intervals", "intervals_before")
    )
    return FileScore(
        role=value["role"],
        name=value["name"],
        before=before,
        after=after,
        intervals=intervals,
        intervals_before=intervals_before,
    )


def _curve(value: dict[str, Any]) -> Curve:
    epochs = tuple(Epoch(**{**epoch, "f1": tuple(epoch["f1"])}) for epoch in value["epochs"])
    return Curve(seed=value["seed"], epochs=epochs)
