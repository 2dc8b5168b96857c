"""Letters change case: whole sentences or their mentions in lower, upper or title case.

    Anna went to Rome    ->    ANNA WENT TO ROME

Models that tell case apart lean on it, and lose most of their entities in headlines, speech and chat, where case says
something else or nothing (Mayhew et al., 2019, "ner and pos when nothing is capitalized"). A model that lower-cases
its input learns nothing from such copies.
"""

import dataclasses
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.augmentation.copies import Copies, CopiesConfig, Material, check_kinds, draw_each_pass, is_in_mention
from training.examples import LabelledSentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)
_KINDS: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "title": str.capitalize}
_WORDS = ("all", "mentions")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CasingConfig(CopiesConfig):
    """How case is changed.

    Attributes:
      kinds: cases to choose from for each copy: lower, upper, title.
      words: all, or mentions for those of entities only.
    """

    kinds: tuple[str, ...] = tuple(_KINDS)
    words: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kinds(self.kinds, tuple(_KINDS), "kinds of --augment casing")
        if self.words not in _WORDS:
            raise ConfigError(f"expected words of --augment casing to be one of {_WORDS}, found {self.words!r}")


def prepare(config: CasingConfig, material: Material) -> Copies:
    """Copies in another case."""
    if _ignores_case(material.tokenizer):
        _LOG.warning("casing: the base model reads all text in lower case, so the copies tell it nothing new")

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        write = _KINDS[chance.choice(config.kinds)]
        is_changed = is_in_mention(sentence) if config.words == "mentions" else [True] * len(sentence.words)
        words = (write(word) if changed else word for word, changed in zip(sentence.words, is_changed, strict=True))
        return dataclasses.replace(sentence, words=tuple(words))

    return draw_each_pass("casing", config.share, change, material)


def _ignores_case(tokenizer: "PreTrainedTokenizerBase") -> bool:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("A") == normalizer.normalize_str("a")
