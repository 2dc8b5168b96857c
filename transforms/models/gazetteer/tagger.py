"""Dictionaries of names as a tagger, without weights: alone, as weak labels or as a baseline."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from schemas.errors import ConfigError
from transforms.models.gazetteer.dictionaries import Dictionary, read_dictionary
from transforms.models.gazetteer.matcher import Matcher
from transforms.models.gazetteer.options import GazetteerOptions
from transforms.models.tagger import Tagger, Tagging


class GazetteerTagger:
    """Tags texts with the names of a dictionary.

    A name has no probability, so every score is 1. Each text is one window, read to its end, and its tokens are its
    words; in a script without spaces these are its characters.

    Args:
      matcher: finds the names; threads may share it.
      labels: the dictionary's labels.
    """

    def __init__(self, matcher: Matcher, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.names = ("",)
        self._matcher = matcher

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, names out."""
        started = time.perf_counter()
        found = self._matcher.match(texts)
        return Tagging(
            document=found.document,
            start=found.start,
            end=found.end,
            label=found.label,
            score=np.ones(len(found.document), dtype=np.float32),
            tokens=found.words,
            windows=np.ones(len(texts), dtype=np.int64),
            failures={},
            computed_tokens=int(found.words.sum()),
            seconds={"match": time.perf_counter() - started},
        )

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts when they are waited for: there is nothing that could work meanwhile."""
        return lambda: self.tag(texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GazetteerConfig:
    """Dictionaries on their way to the workers; see `TaggerConfig`.

    Attributes:
      options: the files, and how names are looked for.
      digest: what the content of the files and the options must come to.
      labels: the labels in the files, sorted.
      n_names: names that are looked for.
      n_conflicts: entries left out because an earlier one gives their name another label.
      n_short: entries left out because they are too short.
    """

    options: GazetteerOptions
    digest: str
    labels: tuple[str, ...]
    n_names: int
    n_conflicts: int
    n_short: int

    @property
    def is_remote(self) -> bool:
        """Whether a server does the work: no."""
        return False

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name, and how many names there are."""
        return {
            "tagger": "gazetteer",
            "model": self.digest,
            "labels": list(self.labels),
            "names": self.n_names,
            "conflicts": self.n_conflicts,
            "short": self.n_short,
            "case": self.options.case,
            "words": self.options.words,
        }

    def load(self) -> Matcher:
        """Reads the files and builds the automaton.

        Raises:
          ConfigError: the files are not what they were when the run was planned.
        """
        dictionary = read_dictionary(self.options)
        digest = _digest(dictionary, self.options)
        if digest != self.digest:
            raise ConfigError(
                f"expected the gazetteer's files with digest {self.digest[:16]}, found {digest[:16]}; they changed "
                "since the run was planned"
            )
        return Matcher(dictionary, self.options)

    def build(self, shared: Matcher) -> Tagger:
        """A tagger for one thread, around the automaton that all share."""
        return GazetteerTagger(shared, self.labels)


def configure_gazetteer(options: GazetteerOptions) -> GazetteerConfig:
    """Options to a config; the files are read, and read again where they are used.

    Raises:
      ConfigError: a file is not there or has a bad line, or there is no name in them.
    """
    dictionary = read_dictionary(options)
    return GazetteerConfig(
        options=options,
        digest=_digest(dictionary, options),
        labels=dictionary.labels,
        n_names=len(dictionary.exact) + len(dictionary.folded),
        n_conflicts=dictionary.conflicts,
        n_short=dictionary.short,
    )


def _digest(dictionary: Dictionary, options: GazetteerOptions) -> str:
    """SHA-256 over the names with their labels, in any order, and the options that change what is found; hex."""
    total = hashlib.sha256(json.dumps([options.case, options.words]).encode())
    for names in (dictionary.exact, dictionary.folded):
        for name in sorted(names):
            total.update(f"{name}\t{names[name]}\n".encode())
        total.update(b"\n")
    return total.hexdigest()
