"""Taggers that live in one process: loaded one after another, with weights that they have alike held once."""

from collections.abc import Iterable
from typing import Any

from transforms.models.catalog import LoadedModel
from transforms.models.tagger import TaggerConfig
from transforms.models.torch_classifier import TorchClassifier

Member = tuple[str, TaggerConfig]


def load_members(members: Iterable[Member]) -> dict[str, Any]:
    """Loads taggers by name.

    Adapters of one base differ in little of it once they are folded in, and not at all where they stand beside it: the
    rest of the base is in memory once, however many there are.
    """
    loaded: dict[str, Any] = {}
    classifiers: list[TorchClassifier] = []
    for name, tagger in members:
        loaded[name] = tagger.load()
        if isinstance(loaded[name], LoadedModel) and isinstance(loaded[name].classifier, TorchClassifier):
            for other in classifiers:
                loaded[name].classifier.share_weights(other)
            classifiers.append(loaded[name].classifier)
    return loaded
