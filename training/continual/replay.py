"""Replay: sentences of earlier trainings are trained on again, a part of every pass.

The oldest way, and hard to beat (Robins, 1995; Chaudhry et al., 2019). A small buffer of labelled sentences is kept,
and each pass draws from it: all of it before any of it twice. It needs the right to keep those sentences. Where the
old sentences know nothing of new labels, distillation beside it keeps them from teaching that there are none.
"""

import dataclasses
import random

from schemas.errors import ConfigError
from training.continual.exemplars import check_choice, choose_exemplars
from training.continual.past import Added, Past
from training.examples import LabelledSentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What is kept, and how much of it is trained on.

    Attributes:
      share: part of the sentences of a pass that are old ones.
      size: most old sentences to draw from.
      choice: how they are chosen: random, balanced over labels, or herding.
    """

    share: float = 0.3
    size: int = 500
    choice: str = "random"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"expected share of --continual replay above 0 and below 1, found {self.share}")
        check_choice(self.choice, self.size, flag="--continual replay")


def build(config: ReplayConfig, past: Past) -> Added:
    """The options to what draws old sentences for a pass."""
    places = choose_exemplars(past.old, config.size, config.choice, seed=past.seed, embed=past.embed)
    buffer = [past.old[at] for at in places]
    n_drawn = count_drawn(len(past.sentences), config.share)

    def draw(epoch: int) -> list[LabelledSentence]:
        chance = random.Random(f"{past.seed} replay {epoch}")
        whole, rest = divmod(n_drawn, len(buffer))
        return buffer * whole + chance.sample(buffer, rest)

    return Added(draw=draw)


def count_drawn(n_sentences: int, share: float) -> int:
    """How many old sentences make up that share of a pass, beside the new ones; one at least.

    >>> count_drawn(70, 0.3)
    30
    """
    return max(1, round(n_sentences * share / (1 - share)))
