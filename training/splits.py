"""Labelled files cut into parts to train, to choose and to test on.

    file ─┬─ documents, where they are marked ──┐
          └─ sentences, where they are not ─────┴─ shuffled by seed and words ──> train │ dev │ test

Sentences of one document speak of the same things, and a sentence that stands on two sides is no test, so a file is cut
between documents, and the same words never come on two sides: equal units fall together, and a sentence
of a document whose words an earlier side has is left out of the later one. A unit's place in the shuffle is a hash of
its words, so that the order of the lines changes nothing about it. Every file is cut on its own, so that each has its
share on every side as far as it has the documents for that.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

from schemas.errors import ConfigError
from training.examples import LabelledFile, LabelledSentence
from transforms.corpora.conll import group_documents

ROLES = ("train", "dev", "test")
_TOLERANCE = 1e-6

Unit = list[LabelledSentence]
Words = tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Split:
    """Files in parts.

    Attributes:
      train: parts to train on.
      dev: parts to choose the best epoch on.
      test: parts that are only scored.
      left_out: how many sentences are on no side, for their words stand on an earlier one.
    """

    train: list[LabelledFile]
    dev: list[LabelledFile]
    test: list[LabelledFile]
    left_out: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many sentences each side got."""
        return tuple(sum(len(file.sentences) for file in files) for files in (self.train, self.dev, self.test))

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the sentences that each side got, of those that are on one."""
        return tuple(size / sum(self.sizes) for size in self.sizes)


def parse_shares(text: str) -> tuple[float, float, float]:
    """`TRAIN/DEV` or `TRAIN/DEV/TEST` to three shares.

    Raises:
      ConfigError: they are no shares, do not sum to 1, or leave nothing to train or to choose on.

    >>> parse_shares("0.8/0.1/0.1"), parse_shares("0.9/0.1")
    ((0.8, 0.1, 0.1), (0.9, 0.1, 0.0))
    """
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) not in (2, 3):
        raise ConfigError(f"expected --split of two or three shares such as 0.8/0.1/0.1, found {text!r}")
    train, dev, test = (*shares, 0.0)[:3]
    if not (train > 0 and dev > 0 and test >= 0):
        raise ConfigError(f"expected --split with shares above 0 to train and to choose on, found {text!r}")
    if not abs(train + dev + test - 1) <= _TOLERANCE:
        raise ConfigError(f"expected --split with shares that sum to 1, found {text!r}, which sums to {sum(shares):g}")
    return train, dev, test


def split_files(files: Sequence[LabelledFile], shares: Sequence[float], *, seed: int) -> Split:
    """Files to their parts, called `NAME#train` and so on; sentences keep their order.

    Args:
      files: what to cut.
      shares: share of the sentences of each file to train, to choose and to test on.
      seed: decides which units go where, together with their words.

    Raises:
      ConfigError: there are too few documents, or too few different sentences, for every side to get one.
    """
    sides: dict[tuple[str, ...], int] = {}
    cut: list[list[tuple[int, Unit]]] = []
    for file in files:
        units = list(_cut_units(file.sentences))
        cut.append(list(zip(_choose_sides(units, shares, sides, seed), units, strict=True)))
        for side, unit in cut[-1]:
            for sentence in unit:
                sides[sentence.words] = min(side, sides.get(sentence.words, side))
    parts: list[list[LabelledFile]] = [[], [], []]
    for file, units_by_side in zip(files, cut, strict=True):
        for side, role in enumerate(ROLES):
            kept = _keep(file, [unit for own, unit in units_by_side if own == side], sides, side)
            if kept:
                parts[side].append(LabelledFile(f"{file.name}#{role}", digest_sentences(kept), kept))
    _check_sides(files, parts, shares)
    split = Split(train=parts[0], dev=parts[1], test=parts[2], left_out=0)
    return dataclasses.replace(split, left_out=sum(len(file.sentences) for file in files) - sum(split.sizes))


def digest_sentences(sentences: Sequence[LabelledSentence]) -> str:
    """SHA-256 of sentences as two columns of words and BIO tags, hex."""
    total = hashlib.sha256()
    for sentence in sentences:
        rows = (f"{word}\t{tag}\n" for word, tag in zip(sentence.words, sentence.tags, strict=True))
        total.update(("".join(rows) + "\n").encode())
    return total.hexdigest()


def _is_marked(sentences: Sequence[LabelledSentence]) -> bool:
    return any(sentence.opens_document for sentence in sentences)


def _cut_units(sentences: Sequence[LabelledSentence]) -> Iterator[Unit]:
    return group_documents(sentences, is_marked=_is_marked(sentences))


def _choose_sides(
    units: Sequence[Unit], shares: Sequence[float], taken: dict[tuple[str, ...], int], seed: int
) -> list[int]:
    """A side per unit: where its middle lies in the shuffle, unless one of the same words has a side already.

    Args:
      units: the units.
      shares: share of each side.
      taken: sides of the sentences of earlier files.
      seed: decides about the shuffle.
    """
    total = sum(map(len, units))
    ends = [total * (shares[0] + _TOLERANCE), total * (shares[0] + shares[1] + _TOLERANCE)]
    chosen: dict[Words, int] = {(words,): side for words, side in taken.items()}
    done = 0
    for unit in sorted(units, key=lambda unit: (_rank(unit, seed), _words(unit))):
        middle = done + len(unit) / 2
        chosen.setdefault(_words(unit), sum(middle > end for end in ends))
        done += len(unit)
    return [chosen[_words(unit)] for unit in units]


def _words(unit: Unit) -> Words:
    return tuple(sentence.words for sentence in unit)


def _rank(unit: Unit, seed: int) -> bytes:
    text = "\n\n".join("\n".join(words) for words in _words(unit))
    return hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=16).digest()


def _keep(
    file: LabelledFile, units: Sequence[Unit], sides: dict[tuple[str, ...], int], side: int
) -> tuple[LabelledSentence, ...]:
    """The sentences of a side whose words stand on no earlier one; where documents are marked, each has its mark."""
    kept: Unit = []
    for unit in units:
        own = [sentence for sentence in unit if sides[sentence.words] == side]
        if own and _is_marked(file.sentences):
            own[0] = dataclasses.replace(own[0], opens_document=True)
        kept += own
    return tuple(kept)


def _check_sides(
    files: Sequence[LabelledFile], parts: Sequence[Sequence[LabelledFile]], shares: Sequence[float]
) -> None:
    if empty := [role for role, share, part in zip(ROLES, shares, parts, strict=True) if share and not part]:
        units = {_words(unit) for file in files for unit in _cut_units(file.sentences)}
        raise ConfigError(
            f"expected enough documents, or different sentences where none are marked, for every part of --split, "
            f"found {len(units)} and none for {' and '.join(empty)}; give larger shares, or files with --dev"
        )
