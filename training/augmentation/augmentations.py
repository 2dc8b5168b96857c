"""The augmentations by name. One is a file with a config and `prepare(config, material)`, and a row here."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.specs import render_spec
from training.augmentation import (
    back_translation,
    casing,
    concatenation,
    mention_swap,
    synonyms,
    token_masking,
    token_swap,
    typos,
)
from training.augmentation.copies import Copies, Material
from training.examples import LabelledSentence, shorten_path, split_sentences
from transforms.models.checkpoint import digest_file, digest_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)


class Augmentation(NamedTuple):
    """A way to make further sentences.

    Attributes:
      config: its options, a frozen dataclass.
      prepare: takes the options and the training sentences; returns what draws copies.
      check: takes the options and the tokenizer; raises ConfigError where they cannot work.
    """

    config: type[Any]
    prepare: Callable[[Any, Material], Copies]
    check: "Callable[[Any, PreTrainedTokenizerBase], None]" = lambda _config, _tokenizer: None


AUGMENTATIONS = {
    "mention-swap": Augmentation(mention_swap.MentionSwapConfig, mention_swap.prepare),
    "token-swap": Augmentation(token_swap.TokenSwapConfig, token_swap.prepare),
    "synonyms": Augmentation(synonyms.SynonymsConfig, synonyms.prepare, synonyms.check),
    "casing": Augmentation(casing.CasingConfig, casing.prepare),
    "typos": Augmentation(typos.TyposConfig, typos.prepare),
    "token-masking": Augmentation(token_masking.TokenMaskingConfig, token_masking.prepare, token_masking.check),
    "concatenation": Augmentation(concatenation.ConcatenationConfig, concatenation.prepare),
    "back-translation": Augmentation(
        back_translation.BackTranslationConfig, back_translation.prepare, back_translation.check
    ),
}


class Augmenter:
    """Draws the copies of a pass; each augmentation works on the original sentences.

    Args:
      configs: options by name of augmentation.
      material: the training sentences.
    """

    def __init__(self, configs: Mapping[str, Any], material: Material) -> None:
        self._material = material
        self._copies = {name: AUGMENTATIONS[name].prepare(config, material) for name, config in configs.items()}
        self._added: dict[int, dict[str, int]] = {}

    def draw(self, epoch: int) -> list[LabelledSentence]:
        """The copies of a pass, counted from 0, in the tokenizer's own words."""
        drawn = self._draw_all(epoch)
        if drawn:
            _LOG.info("augmentation: %s", ", ".join(f"{len(own)} {name}" for name, own in drawn.items()))
        return list(split_sentences([one for own in drawn.values() for one in own], self._material.splitter))

    def describe(self, epochs: int) -> dict[str, dict[str, float]]:
        """What each augmentation added: sentences per pass, on average over some passes, and its own counts."""
        for epoch in set(range(epochs)) - set(self._added):
            # Those before an interruption added what they would add now.
            self._draw_all(epoch)
        return {
            name: {"per_pass": sum(self._added[epoch][name] for epoch in range(epochs)) / epochs, **copies.counts}
            for name, copies in self._copies.items()
        }

    def _draw_all(self, epoch: int) -> dict[str, list[LabelledSentence]]:
        drawn = {name: copies.draw(epoch) for name, copies in self._copies.items()}
        self._added[epoch] = {name: len(sentences) for name, sentences in drawn.items()}
        return drawn


def check_augmentations(configs: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuses augmentations that cannot work, before anything large is loaded.

    Raises:
      ConfigError: a file is missing or wrong, or the tokenizer lacks something.
    """
    for name, config in configs.items():
        AUGMENTATIONS[name].check(config, tokenizer)


def describe_augmentations(configs: Mapping[str, Any]) -> dict[str, Any]:
    """All that their copies depend on, with the digests of files and folders for their paths."""
    return {
        name: {
            **dataclasses.asdict(config),
            **{option: _digest_path(Path(getattr(config, option))) for option in _find_paths(config)},
        }
        for name, config in configs.items()
    }


def render_augmentation(name: str, config: Any) -> str:
    """The spec of an augmentation, without what only this machine knows."""
    shown = {option: shorten_path(str(Path(getattr(config, option)))) for option in _find_paths(config)}
    return render_spec(name, dataclasses.replace(config, **shown))


def _find_paths(config: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(config) if field.metadata.get("is_path")]


def _digest_path(path: Path) -> str:
    return digest_folder(path) if path.is_dir() else digest_file(path)
