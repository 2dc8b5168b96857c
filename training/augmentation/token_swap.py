"""Words are replaced by words with the same tag from the training files, each as likely as it is frequent.

    Anna went to Rome    ->    Anna slept to Oslo

Labels stay true by construction, sense does not always; it needs nothing but the corpus, in any language (label-wise
token replacement in Dai & Adel, 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition").
"""

import dataclasses
import random

from training.augmentation.copies import Copies, CopiesConfig, Material, check_rate, draw_each_pass
from training.examples import LabelledSentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSwapConfig(CopiesConfig):
    """How often words are replaced.

    Attributes:
      rate: chance of each word of a copy to be replaced.
    """

    rate: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.rate, "rate of --augment token-swap")


def prepare(config: TokenSwapConfig, material: Material) -> Copies:
    """Copies with words of the same tags."""
    words_of: dict[str, list[str]] = {}
    for sentence in material.sentences:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            words_of.setdefault(tag, []).append(word)

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        words = (
            chance.choice(words_of[tag]) if chance.random() < config.rate else word
            for word, tag in zip(sentence.words, sentence.tags, strict=True)
        )
        return dataclasses.replace(sentence, words=tuple(words))

    return draw_each_pass("token-swap", config.share, change, material)
