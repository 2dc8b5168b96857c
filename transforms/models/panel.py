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
from schemas.labels import OUTSIDE, split_tag
from transforms.models.catalog import CheckpointTaggerConfig, LoadedModel
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
        """Taggings of the same texts to one; tokens and windows are the first tagger's."""
        failures: dict[int, RecordError] = {}
        seconds: dict[str, float] = {}
        for tagging in taggings:
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
        )


@dataclasses.dataclass(frozen=True)
class PanelConfig:
    """Several taggers under one roof; see `TaggerConfig`.

    Attributes:
      members: (name, tagger) of each, in the order of their columns.
    """

    members: tuple[tuple[str, CheckpointTaggerConfig], ...]

    @property
    def digest(self) -> str:
        """SHA-256 over names and digests of the members, hex."""
        return hashlib.sha256(
            "".join(f"{name} {tagger.digest}\n" for name, tagger in self.members).encode()
        ).hexdigest()

    @property
    def scheme(self) -> str:
        """The scheme of `tags`."""
        return "BIO"

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags in BIO of the labels of all members, each behind its member's name."""
        labels = [
            join_label(name, label)
            for name, tagger in self.members
            for label in dict.fromkeys(filter(None, (split_tag(tag)[1] for tag in tagger.tags)))
        ]
        return (OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI"))

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": "panel",
            "model": self.digest,
            "tags": list(self.tags),
            "members": {name: tagger.describe() for name, tagger in self.members},
        }

    def load(self) -> "LoadedPanel":
        """Loads every member."""
        return LoadedPanel({name: tagger.load() for name, tagger in self.members})

    def build(self, shared: "LoadedPanel") -> Tagger:
        """A tagger for one thread, around what `load` gave."""
        return PanelTagger({name: tagger.build(shared.members[name]) for name, tagger in self.members})


@dataclasses.dataclass(eq=False)
class LoadedPanel:
    """What the threads of a process share: the models by name."""

    members: dict[str, LoadedModel]


def check_names(names: Sequence[str], *, flag: str) -> None:
    """Refuses names that cannot be a column's.

    Args:
      names: names of the taggers.
      flag: the flag that gave the names.

    Raises:
      ConfigError: a name comes twice or is no word.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"expected {flag} with different names, found {twice} twice; name them, as in {flag} a=FOLDER"
        )
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"expected a name of letters, digits, _, . or - for {flag}, found {name!r}; use NAME=FOLDER"
            )
