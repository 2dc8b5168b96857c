"""Which sentences stand for many: by chance, so that rare labels are there too, or so that their mean is that of all.

Herding (Welling, 2009; Rebuffi et al., 2017, iCaRL) takes one sentence after the other, each the one that brings the
mean of the chosen vectors nearest to the mean of all. A prefix of what it chooses is what it would choose for less.
iCaRL herds within each class; a sentence has entities of several labels, so all of them are herded together.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from schemas.labels import OUTSIDE
from training.examples import LabelledSentence

CHOICES = ("random", "balanced", "herding")

Embed = Callable[[Sequence[LabelledSentence]], npt.NDArray[np.float32]]
"""Sentences to unit vectors (n_sentences, width)."""


def check_choice(choice: str, size: int, *, flag: str) -> None:
    """Refuses a choice that there is not, and a size below 1.

    Raises:
      ConfigError: naming what there is.
    """
    if choice not in CHOICES:
        raise ConfigError(f"expected choice of {flag} to be one of {CHOICES}, found {choice!r}")
    if size < 1:
        raise ConfigError(f"expected size of {flag} above 0, found {size}")


def choose_exemplars(
    sentences: Sequence[LabelledSentence], size: int, choice: str, *, seed: int, embed: Embed
) -> list[int]:
    """Places of at most `size` sentences, in order.

    Args:
      sentences: what to choose from; where there are no more than `size`, all are chosen.
      size: most of them.
      choice: random, balanced or herding.
      seed: of chance, where it has a part.
      embed: gives vectors, where herding needs them.
    """
    if len(sentences) <= size:
        return list(range(len(sentences)))
    draw = random.Random(f"{seed} exemplars")
    if choice == "herding":
        return sorted(herd(embed(sentences), size))
    if choice == "balanced":
        return sorted(balance(sentences, size, draw))
    return sorted(draw.sample(range(len(sentences)), size))


def balance(sentences: Sequence[LabelledSentence], size: int, draw: random.Random) -> list[int]:
    """Places of sentences, each drawn among those with the label that has fewest entities so far.

    Sentences without entities are a group of their own. A label whose sentences are used up is passed over.
    """
    by_label: dict[str, list[int]] = {}
    for at in draw.sample(range(len(sentences)), len(sentences)):
        for label in sorted({label for _, _, label in sentences[at].spans} or {OUTSIDE}):
            by_label.setdefault(label, []).append(at)
    counts: Counter[str] = Counter()
    chosen: dict[int, None] = {}
    while len(chosen) < size and by_label:
        label = min(by_label, key=lambda label: (counts[label], label))
        at = by_label[label].pop()
        if not by_label[label]:
            del by_label[label]
        if at not in chosen:
            chosen[at] = None
            counts.update([label for _, _, label in sentences[at].spans] or [OUTSIDE])
    return list(chosen)


def herd(vectors: npt.NDArray[np.float32], size: int) -> list[int]:
    """Places of vectors (n, width) whose mean comes nearest to that of all, in the order they are taken."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    total = np.zeros_like(mean)
    is_free = np.ones(len(vectors), dtype=bool)
    chosen: list[int] = []
    for count in range(1, min(size, len(vectors)) + 1):
        distances = np.linalg.norm(mean - (total + vectors) / count, axis=1)
        at = int(np.argmin(np.where(is_free, distances, np.inf)))
        is_free[at] = False
        total += vectors[at]
        chosen.append(at)
    return chosen
