"""Which sentences get a changed copy, and in which pass.

All augmentations draw from the original sentences, which stay as they are; copies come on top. Chance has no memory:
what happens to a sentence follows from the seed, the pass, the augmentation's name and the sentence's place, so that
training which was interrupted goes on with the same copies.
"""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.errors import ConfigError
from training.examples import LabelledSentence
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Change = Callable[[LabelledSentence, random.Random], LabelledSentence]
"""A sentence to a changed one; to an equal one where there is nothing to change."""


class Copies(NamedTuple):
    """Sentences that an augmentation adds.

    Attributes:
      draw: the number of a pass, from 0, to the copies of that pass.
      counts: what else a card should tell of them.
    """

    draw: Callable[[int], list[LabelledSentence]]
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Material:
    """What augmentations work on.

    Attributes:
      sentences: training sentences, in the tokenizer's own words.
      tokenizer: the model's tokenizer.
      splitter: the same, for splitting texts into words.
      seed: of all that is drawn.
      work: folder for what should outlive an interruption.
    """

    sentences: Sequence[LabelledSentence]
    tokenizer: "PreTrainedTokenizerBase"
    splitter: ColumnTokenizer
    seed: int
    work: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopiesConfig:
    """What all augmentations have to choose.

    Attributes:
      share: copies to add in a pass, as a share of the training sentences: 0.5 adds one to every second sentence. A
        sentence gets at most one, or with a share above 1 at most the share rounded up; one that an augmentation
        leaves as it is gets none, and another takes its turn.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share < math.inf:
            raise ConfigError(f"expected share of --augment of at least 0, found {self.share}")


def draw_each_pass(name: str, share: float, change: Change, material: Material) -> Copies:
    """Copies that are drawn anew in each pass."""

    def draw(epoch: int) -> list[LabelledSentence]:
        return draw_copies(material.sentences, change, share=share, key=f"{material.seed}/{epoch}/{name}")

    return Copies(draw, {})


def draw_copies(
    sentences: Sequence[LabelledSentence], change: Change, *, share: float, key: str
) -> list[LabelledSentence]:
    """Changed copies of some of the sentences, as many as the share asks for and the sentences give.

    Args:
      sentences: the sentences.
      change: makes a copy.
      share: copies per sentence.
      key: all that chance depends on.
    """
    n_wanted = round(share * len(sentences))
    copies: list[LabelledSentence] = []
    for turn in range(math.ceil(share)):
        for number in order_sentences(len(sentences), f"{key}/{turn}"):
            if len(copies) == n_wanted:
                return copies
            copy = change(sentences[number], random.Random(f"{key}/{turn}/{number}"))
            if copy != sentences[number]:
                copies.append(copy)
    return copies


def order_sentences(n_sentences: int, key: str) -> list[int]:
    """Places of sentences in an order of chance."""
    places = list(range(n_sentences))
    random.Random(key).shuffle(places)
    return places


def replace_words(sentence: LabelledSentence, pieces: Sequence[Sequence[str]]) -> LabelledSentence:
    """Puts any number of words in the place of each word, and moves the spans along.

    >>> anna = LabelledSentence(("Anna", "slept"), ((0, 1, "PER"),))
    >>> replace_words(anna, [("Otto", "Braun"), ("slept",)])
    LabelledSentence(words=('Otto', 'Braun', 'slept'), spans=((0, 2, 'PER'),), opens_document=False)
    """
    place = [0, *accumulate(len(words) for words in pieces)]
    return dataclasses.replace(
        sentence,
        words=tuple(word for words in pieces for word in words),
        spans=tuple((place[first], place[last], label) for first, last, label in sentence.spans),
    )


def is_in_mention(sentence: LabelledSentence) -> list[bool]:
    """For each word whether it is part of an entity."""
    return [tag != "O" for tag in sentence.tags]


def check_rate(value: float, what: str) -> None:
    """Refuses a chance that is none.

    Raises:
      ConfigError: naming the option.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"expected {what} between 0 and 1, found {value}")


def check_kinds(kinds: Sequence[str], known: Sequence[str], what: str) -> None:
    """Refuses a choice of kinds that is empty or holds an unknown one.

    Raises:
      ConfigError: naming the option.
    """
    if not kinds or not set(kinds) <= set(known):
        raise ConfigError(f"expected {what} of {'+'.join(known)}, found {'+'.join(kinds)!r}")


def path_option() -> Any:
    """A field for a file or folder that the user must name."""
    return dataclasses.field(default="", metadata={"is_path": True})
