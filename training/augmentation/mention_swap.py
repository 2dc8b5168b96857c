"""Mentions change places: an entity's words are replaced by those of another mention with its label.

    Anna went to Rome    ->    Otto Braun went to Rome

The model sees more names in each context and learns to read the context (mention replacement in Dai & Adel, 2020,
"An Analysis of Simple Data Augmentation for Named Entity Recognition"). Every name of a label is as likely as any
other, however often it occurs: rare names are what is wanted.
"""

import dataclasses
import random

from training.augmentation.copies import Copies, CopiesConfig, Material, check_rate, draw_each_pass, replace_words
from training.examples import LabelledSentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class MentionSwapConfig(CopiesConfig):
    """How mentions are swapped.

    Attributes:
      rate: chance of each mention of a copy to be replaced.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.rate, "rate of --augment mention-swap")


def prepare(config: MentionSwapConfig, material: Material) -> Copies:
    """Copies with mentions from elsewhere in the training files."""
    names: dict[str, dict[tuple[str, ...], None]] = {}
    for sentence in material.sentences:
        for first, last, label in sentence.spans:
            names.setdefault(label, {})[sentence.words[first:last]] = None
    choices = {label: list(own) for label, own in names.items()}

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        pieces: list[tuple[str, ...]] = [(word,) for word in sentence.words]
        for first, last, label in sentence.spans:
            if chance.random() < config.rate and len(choices[label]) > 1:
                pieces[first:last] = [_choose_other(choices[label], sentence.words[first:last], chance)] + [()] * (
                    last - first - 1
                )
        return replace_words(sentence, pieces)

    return draw_each_pass("mention-swap", config.share, change, material)


def _choose_other(names: list[tuple[str, ...]], old: tuple[str, ...], chance: random.Random) -> tuple[str, ...]:
    while (new := chance.choice(names)) == old:
        pass
    return new
