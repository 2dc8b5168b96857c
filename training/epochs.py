"""What the trainer reads in a pass: the windows that are always there, and those that are drawn for it."""

import dataclasses
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from training.examples import LabelledSentence
from training.objectives.steps import Term

Feature = dict[str, list[int]]


def add_nothing(epoch: int) -> list[LabelledSentence]:  # noqa: ARG001
    """No further sentences for any pass."""
    return []


@dataclasses.dataclass(frozen=True)
class TrainingText:
    """What a model is trained on.

    Attributes:
      sentences: sentences of every pass.
      augment: the number of a pass, from 0, to its further sentences.
      terms: what is added to the loss of a batch, beside the objectives.
    """

    sentences: Sequence[LabelledSentence]
    augment: Callable[[int], list[LabelledSentence]] = add_nothing
    terms: Sequence[Term] = ()


class EpochFeatures:
    """A dataset whose last items are others in each pass; transformers' Trainer tells it which pass begins.

    A schedule needs to know its steps, so all passes are as long as the first: what a later one has more is left out,
    and what it lacks is repeated. Trainer reads the lengths of the items once, to batch like with like; drawn ones
    stand in order of length, so that the one in a place is about as long in every pass.

    Args:
      fixed: items of every pass.
      draw: the number of a pass, from 0, to its further items.
    """

    def __init__(self, fixed: Sequence[Feature], draw: Callable[[int], Sequence[Feature]]) -> None:
        self._fixed, self._draw = list(fixed), draw
        self._drawn = _sort_by_length(draw(0))
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draws the items of a pass."""
        if epoch == self._epoch:
            return
        found = self._draw(epoch)
        self._drawn = _sort_by_length(list(islice(cycle(found or self._fixed), len(self._drawn))))
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._fixed) + len(self._drawn)

    def __getitem__(self, place: int) -> Feature:
        n_fixed = len(self._fixed)
        return self._fixed[place] if place < n_fixed else self._drawn[place - n_fixed]


def _sort_by_length(features: Sequence[Feature]) -> list[Feature]:
    return sorted(features, key=lambda feature: len(feature["input_ids"]))
