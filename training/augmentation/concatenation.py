"""Sentences from anywhere in the training files are joined into one example.

    Anna slept   +   to Rome    ->    Anna slept to Rome

Documents to annotate hold many sentences and a model trained on single ones has never seen a boundary; random
neighbours also keep it from counting on a topic (compare Nguyen et al., 2021, "Data Augmentation by Concatenation for
Low-Resource Translation"). `--chain-fraction` joins true neighbours instead of adding copies.
"""

import dataclasses
import random

from schemas.errors import ConfigError
from training.augmentation.copies import Copies, CopiesConfig, Material, draw_each_pass
from training.examples import LabelledSentence, join_sentences


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConcatenationConfig(CopiesConfig):
    """How much is joined.

    Attributes:
      max_sentences: most sentences in an example; each number from two up is as likely.
      max_words: most words in an example; a sentence that does not fit is left out.
    """

    max_sentences: int = 3
    max_words: int = 96

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_sentences", "max_words"):
            if getattr(self, name) < 2:
                raise ConfigError(
                    f"expected {name} of --augment concatenation of at least 2, found {getattr(self, name)}"
                )


def prepare(config: ConcatenationConfig, material: Material) -> Copies:
    """Examples of several sentences."""

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        run, n_words = [sentence], len(sentence.words)
        for _ in range(chance.randint(2, config.max_sentences) - 1):
            other = chance.choice(material.sentences)
            if n_words + len(other.words) <= config.max_words:
                run.append(other)
                n_words += len(other.words)
        return join_sentences(run)

    return draw_each_pass("concatenation", config.share, change, material)
