"""Several taggers on the same documents, as one: each with a name, which stands before its labels.

    texts ──> tagger a ──> PER ──> a/PER ─┐
      └─────> tagger b ──> PER ──> b/PER ─┴─> one tagging, by document and position

Whoever writes annotations takes them apart again, a column per tagger (see schemas.annotations). A text that one of
them cannot tag has failed for all, so that a row is never half done.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from schemas.annotations import join_label
from schemas.errors import ConfigError, RecordError
from transforms.models.members import Member, load_members
from transforms.models.tagger import Tagger, Tagging

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class PanelTagger:
    """Tags texts with several taggers.

    Args:
      taggers: the taggers by name.
    """

    def __init__(self, taggers: Mapping[str, Tagger]) -> None:
        self.names = tuple(taggers)
        self.labels = tuple(join_label(name, label) for name, tagger in taggers.items() for label in tagger.labels)
        self._taggers = tuple(taggers.values())
        sizes = [len(tagger.labels) for tagger in self._taggers]
        self._shifts = np.cumsum([0, *sizes[:-1]])

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities of all taggers out."""
        return self.begin(texts)()

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts; see `Tagger.begin`."""
        waits = [tagger.begin(texts) for tagger in self._taggers]
        return lambda: self._merge([wait() for wait in waits])

    def _merge(self, taggings: Sequence[Tagging]) -> Tagging:
        """Taggings of the same texts to one; tokens, known or not, and windows are the first tagger's."""
        failures: dict[int, RecordError] = {}
        seconds: dict[str, float] = {}
        counts: dict[str, int] = {}
        for name, tagging in zip(self.names, taggings, strict=True):
            counts.update({join_label(name, count): number for count, number in tagging.counts.items()})
            failures.update({at: error for at, error in tagging.failures.items() if at not in failures})
            for stage, spent in tagging.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        columns = {
            name: np.concatenate([getattr(tagging, name) for tagging in taggings])
            for name in ("document", "start", "end", "score")
        }
        label = np.concatenate([tagging.label + shift for tagging, shift in zip(taggings, self._shifts, strict=True)])
        order = np.lexsort((columns["end"], columns["start"], columns["document"]))
        order = order[~np.isin(columns["document"][order], list(failures))]
        return Tagging(
            document=columns["document"][order],
            start=columns["start"][order],
            end=columns["end"][order],
            label=label[order],
            score=columns["score"][order],
            tokens=taggings[0].tokens,
            windows=taggings[0].windows,
            failures=failures,
            computed_tokens=sum(tagging.computed_tokens for tagging in taggings),
            seconds=seconds,
            counts=counts,
            unknown=taggings[0].unknown,
        )


@dataclasses.dataclass(frozen=True)
class PanelConfig:
    """Several taggers under one roof; see `TaggerConfig`.

    Attributes:
      members: (name, tagger) of each, in the order of their columns.
    """

    members: tuple[Member, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over names and digests of the members, hex."""
        return hashlib.sha256(
            "".join(f"{name} {tagger.digest}\n" for name, tagger in self.members).encode()
        ).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all members, each behind its member's name."""
        return tuple(join_label(name, label) for name, tagger in self.members for label in tagger.labels)

    @property
    def is_remote(self) -> bool:
        """Whether servers do all the work."""
        return all(tagger.is_remote for _, tagger in self.members)

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": "panel",
            "model": self.digest,
            "labels": list(self.labels),
            "members": {name: tagger.describe() for name, tagger in self.members},
        }

    def load(self) -> "LoadedPanel":
        """Loads every member."""
        return LoadedPanel(load_members(self.members))

    def build(self, shared: "LoadedPanel") -> Tagger:
        """A tagger for one thread, around what `load` gave."""
        return PanelTagger({name: tagger.build(shared.members[name]) for name, tagger in self.members})


@dataclasses.dataclass(eq=False)
class LoadedPanel:
    """What the threads of a process share: the models by name."""

    members: dict[str, Any]


def check_names(names: Sequence[str], *, flag: str, example: str) -> None:
    """Refuses names that cannot be a column's.

    Args:
      names: names of the taggers.
      flag: the flag that gave the names.
      example: a value of the flag with a name in it, for errors.

    Raises:
      ConfigError: a name comes twice or is no word.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"expected {flag} with different names, found {twice} twice; name them, as in {flag} {example}"
        )
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"expected a name of letters, digits, _, . or - for {flag}, found {name!r}; name it, as in {example}"
            )
