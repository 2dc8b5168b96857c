"""Several taggers of which one is chosen for each text, as one.

    texts ──> router ──┬─> texts for a ──> tagger a ──┐
                       └─> texts for b ──> tagger b ──┴─> one tagging, in the order of the texts

Texts of one tagger stay together, so that its batches are as full as they can be. With adapters on a base that stays
as it is, nothing that was learned changes, so nothing is forgotten (Rusu et al., 2016; for adapters, Pfeiffer et al.,
2021); what can go wrong is the choice.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from transforms.models.gathering import gather_taggings
from transforms.models.members import Member, load_members
from transforms.models.tagger import IntArray, Tagger, Tagging


class Router(Protocol):
    """Chooses a tagger for each text; threads share it."""

    def route(self, texts: Sequence[str]) -> list[str]:
        """Texts to names of taggers."""


class RouterConfig(Protocol):
    """What travels to the workers in place of a router."""

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes a choice, by name."""

    def load(self) -> Router:
        """Loads what threads share; called once per process."""


class RoutedTagger:
    """Tags each text with the tagger that is chosen for it.

    Args:
      router: chooses.
      taggers: the taggers by name.
    """

    def __init__(self, router: Router, taggers: Mapping[str, Tagger]) -> None:
        self._router, self._taggers = router, dict(taggers)
        self.labels = _join_labels(tagger.labels for tagger in taggers.values())
        # Places of a tagger's labels among all.
        self._labels = {
            name: np.array([self.labels.index(label) for label in tagger.labels], dtype=np.int64)
            for name, tagger in taggers.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """There is one column of entities, whoever found them."""
        return ("",)

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out."""
        return self.begin(texts)()

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts; see `Tagger.begin`."""
        started = time.perf_counter()
        chosen = tuple(self._router.route(texts))
        seconds = time.perf_counter() - started
        begun = []
        for name, tagger in self._taggers.items():
            if places := [at for at, one in enumerate(chosen) if one == name]:
                begun.append((name, np.array(places), tagger.begin([texts[at] for at in places])))
        return lambda: self._merge(chosen, [(name, places, wait()) for name, places, wait in begun], seconds)

    def _merge(
        self, chosen: tuple[str, ...], taggings: Sequence[tuple[str, IntArray, Tagging]], seconds: float
    ) -> Tagging:
        """Taggings of different texts, whose places among all are told, to one."""
        parts = [
            (places, dataclasses.replace(tagging, label=self._labels[name][tagging.label]))
            for name, places, tagging in taggings
        ]
        gathered = gather_taggings(len(chosen), parts)
        return dataclasses.replace(gathered, seconds={"route": seconds, **gathered.seconds}, chosen=chosen)


@dataclasses.dataclass(frozen=True)
class RoutedConfig:
    """Several taggers of which one is chosen for each text; see `TaggerConfig`.

    Attributes:
      members: (name, tagger) of each.
      router: who chooses.
    """

    members: tuple[Member, ...]
    router: RouterConfig

    @property
    def digest(self) -> str:
        """SHA-256 over the router, and over names and digests of the members, hex."""
        router = json.dumps(self.router.describe(), sort_keys=True)
        members = "".join(f"{name} {tagger.digest}\n" for name, tagger in self.members)
        return hashlib.sha256(f"{router}\n{members}".encode()).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all members, each once."""
        return _join_labels(tagger.labels for _, tagger in self.members)

    @property
    def is_remote(self) -> bool:
        """Whether servers do all the work."""
        return all(tagger.is_remote for _, tagger in self.members)

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": "routed",
            "model": self.digest,
            "labels": list(self.labels),
            "route": self.router.describe(),
            "adapters": {name: tagger.describe() for name, tagger in self.members},
        }

    def load(self) -> "LoadedRoutes":
        """Loads the router and every member."""
        return LoadedRoutes(self.router.load(), load_members(self.members))

    def build(self, shared: "LoadedRoutes") -> Tagger:
        """A tagger for one thread, around what `load` gave."""
        return RoutedTagger(shared.router, {name: tagger.build(shared.members[name]) for name, tagger in self.members})


@dataclasses.dataclass(eq=False)
class LoadedRoutes:
    """What the threads of a process share.

    Attributes:
      router: the router.
      members: the models by name.
    """

    router: Router
    members: dict[str, Any]


def _join_labels(labels: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for own in labels for label in own))
