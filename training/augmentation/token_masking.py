"""Words are hidden behind the tokenizer's mask token, or its unknown token where it has no mask.

    Anna went to Rome    ->    Anna [MASK] to Rome

The word dropout of Iyyer et al. (2015) with the token that encoders know from pretraining: a model that cannot count
on any one word uses more of the sentence. With mentions hidden too, it learns to tell an entity by its context alone.
"""

import dataclasses
import random
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.augmentation.copies import Copies, CopiesConfig, Material, check_rate, draw_each_pass, is_in_mention
from training.examples import LabelledSentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenMaskingConfig(CopiesConfig):
    """Which words are hidden.

    Attributes:
      rate: chance of each word of a copy to be hidden.
      mentions: whether words of entities are hidden too.
    """

    rate: float = 0.15
    mentions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.rate, "rate of --augment token-masking")


def check(config: TokenMaskingConfig, tokenizer: "PreTrainedTokenizerBase") -> None:  # noqa: ARG001
    """Refuses a tokenizer without a token to hide words behind.

    Raises:
      ConfigError: it has neither.
    """
    if not (tokenizer.mask_token or tokenizer.unk_token):
        raise ConfigError("expected a mask or unknown token in the tokenizer for --augment token-masking, found none")


def prepare(config: TokenMaskingConfig, material: Material) -> Copies:
    """Copies with words hidden."""
    mask = str(material.tokenizer.mask_token or material.tokenizer.unk_token)

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        words = (
            mask if chance.random() < config.rate and (config.mentions or not is_inside) else word
            for word, is_inside in zip(sentence.words, is_in_mention(sentence), strict=True)
        )
        return dataclasses.replace(sentence, words=tuple(words))

    return draw_each_pass("token-masking", config.share, change, material)
