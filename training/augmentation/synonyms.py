"""Words outside of entities are replaced by synonyms from the user's file.

    Anna bought a car    ->    Anna purchased a car

(Synonym replacement in Dai & Adel, 2020, after Zhang et al., 2015.) The file has a line per word, in lower case:

    bought<TAB>purchased<TAB>got hold of

spanmill brings no thesaurus: WordNet's come as downloads of their own, and no list holds for every language and
domain. Where there is no such file, `token-swap` replaces words with the corpus alone.
"""

import dataclasses
import random
from pathlib import Path

from schemas.errors import ConfigError
from training.augmentation.copies import (
    Copies,
    CopiesConfig,
    Material,
    check_rate,
    draw_each_pass,
    is_in_mention,
    path_option,
    replace_words,
)
from training.examples import LabelledSentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynonymsConfig(CopiesConfig):
    """Which synonyms, and how often.

    Attributes:
      file: the synonyms, UTF-8: a word, a tab, and its synonyms with tabs between them; one may have several words.
      rate: chance of each word of a copy that has synonyms to be replaced.
    """

    file: str = path_option()
    rate: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.rate, "rate of --augment synonyms")
        if not self.file:
            raise ConfigError("expected file=PATH in --augment synonyms, found none")


def check(config: SynonymsConfig, tokenizer: object) -> None:  # noqa: ARG001
    """Refuses a file that holds no synonyms.

    Raises:
      ConfigError: naming the line.
    """
    read_synonyms(Path(config.file))


def prepare(config: SynonymsConfig, material: Material) -> Copies:
    """Copies with synonyms."""
    synonyms = read_synonyms(Path(config.file))

    def change(sentence: LabelledSentence, chance: random.Random) -> LabelledSentence:
        pieces: list[tuple[str, ...]] = []
        for word, is_inside in zip(sentence.words, is_in_mention(sentence), strict=True):
            known = () if is_inside else synonyms.get(word.lower(), ())
            is_replaced = known and chance.random() < config.rate
            pieces.append(_keep_case(word, chance.choice(known)) if is_replaced else (word,))
        return replace_words(sentence, pieces)

    return draw_each_pass("synonyms", config.share, change, material)


def read_synonyms(path: Path) -> dict[str, tuple[tuple[str, ...], ...]]:
    """A file of synonyms to the synonyms of each word, each as its words.

    Raises:
      ConfigError: it cannot be read, a line has no synonym, or there are no lines.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(
            f"cannot read file of --augment synonyms {path.name!r}: {error.strerror or type(error).__name__}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected UTF-8 in {path.name!r}, found a bad byte at {error.start}") from None
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, *others = line.split("\t")
        synonyms = tuple(tuple(other.split()) for other in others if other.strip())
        if not synonyms or len(word.split()) != 1:
            raise ConfigError(
                f"expected a word, a tab and its synonyms in {path.name!r} line {number}, found {len(word.split())} "
                f"words and {len(synonyms)} synonyms"
            )
        key = word.strip().lower()
        found[key] = found.get(key, ()) + synonyms
    if not found:
        raise ConfigError(f"expected synonyms in {path.name!r}, found none")
    return found


def _keep_case(old: str, new: tuple[str, ...]) -> tuple[str, ...]:
    if len(old) > 1 and old.isupper():
        return tuple(word.upper() for word in new)
    if old[:1].isupper():
        return (new[0][:1].upper() + new[0][1:], *new[1:])
    return new
