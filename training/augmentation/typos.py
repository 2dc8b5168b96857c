"""Slips of the keyboard within words: a neighbouring key, two letters swapped, one dropped, one doubled.

    Anna went to Rome    ->    Anna wnet to Romw

Text that people type in haste has them, and a wordpiece vocabulary breaks a misspelt word into pieces that it has
rarely seen (Karpukhin et al., 2019, "Training on Synthetic Noise Improves Robustness to Natural Noise in Machine
Translation"). Only letters are touched, so that a word stays one word of the tokenizer, and no word loses its last.
"""

import dataclasses
import random

from training.augmentation.copies import Copies, CopiesConfig, Material, check_kinds, check_rate, draw_each_pass
from training.examples import LabelledSentence

_KINDS = ("neighbour", "swap", "drop", "double")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TyposConfig(CopiesConfig):
    """How often slips happen.

    Attributes:
      rate: chance of each letter of a copy to be mistyped.
      kinds: slips to choose from: neighbour (on a QWERTY keyboard, for basic Latin letters), swap, drop, double.
    """

    rate: float = 0.05
    kinds: tuple[str, ...] = _KINDS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.rate, "rate of --augment typos")
        check_kinds(self.kinds, _KINDS, "kinds of --augment typos")


def prepare(config: TyposConfig, material: Material) -> Copies:
    """Copies with slips."""

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        words = tuple(mistype(word, config, chance) for word in sentence.words)
        return dataclasses.replace(sentence, words=words)

    return draw_each_pass("typos", config.share, change, material)


def mistype(word: str, config: TyposConfig, chance: random.Random) -> str:
    """A word to one with slips, never to one without letters.

    >>> mistype("Rome", TyposConfig(rate=1.0, kinds=("swap",)), random.Random(0))
    'oRem'
    """
    typed: list[str] = []
    at = 0
    while at < len(word):
        letter = word[at]
        at += 1
        if not letter.isalpha() or chance.random() >= config.rate:
            typed.append(letter)
            continue
        kind = chance.choice(config.kinds)
        if kind == "swap" and word[at : at + 1].isalpha():
            typed += [word[at], letter]
            at += 1
        else:
            typed.append(_strike(letter, kind, chance))
    return "".join(typed) if any(map(str.isalpha, typed)) else word


def _strike(letter: str, kind: str, chance: random.Random) -> str:
    if kind == "drop":
        return ""
    if kind == "double":
        return letter * 2
    if kind == "neighbour" and (near := _NEIGHBOURS.get(letter.lower())):
        key = chance.choice(near)
        return key.upper() if letter.isupper() else key
    return letter


def _find_neighbours() -> dict[str, str]:
    """Keys beside, above and below each key; a row is shifted to the right of the one above by half a key."""
    places = {key: (2 * column + row, row) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    return {
        key: "".join(
            other
            for other, (a, b) in places.items()
            if other != key and abs(a - x) + abs(b - y) <= 2 and abs(b - y) < 2
        )
        for key, (x, y) in places.items()
    }


_NEIGHBOURS = _find_neighbours()
