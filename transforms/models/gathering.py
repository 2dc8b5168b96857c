"""Taggings of different texts as one, in the order of the texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.models.tagger import FloatArray, IntArray, Tagging


def gather_taggings(n_texts: int, parts: Sequence[tuple[IntArray, Tagging]]) -> Tagging:
    """Taggings to one; labels are numbered alike in all.

    Args:
      n_texts: how many texts there are.
      parts: taggings, each with the places of its texts among all; every text is in one.
    """
    taggings = [tagging for _, tagging in parts]
    document = _concatenate([places[tagging.document] for places, tagging in parts], np.int64)
    order = np.argsort(document, kind="stable")
    per_text = {name: np.zeros(n_texts, dtype=np.int64) for name in ("tokens", "windows", "unknown")}
    chosen = np.full(n_texts, "", dtype=object)
    probabilities: dict[int, FloatArray] = {}
    for places, tagging in parts:
        for name, numbers in per_text.items():
            if (own := getattr(tagging, name)) is not None:
                numbers[places] = own
        if tagging.chosen is not None:
            chosen[places] = tagging.chosen
        probabilities.update(zip(places.tolist(), tagging.probabilities or (), strict=False))
    return Tagging(
        document=document[order],
        start=_concatenate([tagging.start for tagging in taggings], np.int64)[order],
        end=_concatenate([tagging.end for tagging in taggings], np.int64)[order],
        label=_concatenate([tagging.label for tagging in taggings], np.int64)[order],
        score=_concatenate([tagging.score for tagging in taggings], np.float32)[order],
        tokens=per_text["tokens"],
        windows=per_text["windows"],
        failures={int(places[at]): error for places, one in parts for at, error in one.failures.items()},
        computed_tokens=sum(tagging.computed_tokens for tagging in taggings),
        seconds=_add_up([tagging.seconds for tagging in taggings]),
        counts=_add_up([tagging.counts for tagging in taggings]),
        unknown=None if any(tagging.unknown is None for tagging in taggings) else per_text["unknown"],
        chosen=None if any(tagging.chosen is None for tagging in taggings) else tuple(chosen.tolist()),
        probabilities=None
        if not taggings or any(tagging.probabilities is None for tagging in taggings)
        else tuple(probabilities[at] for at in range(n_texts)),
    )


def _add_up(numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for own in numbers:
        for name, number in own.items():
            total[name] = total.get(name, 0) + number
    return total


def _concatenate(arrays: Sequence[Any], dtype: type) -> Any:
    return np.concatenate([np.empty(0, dtype=dtype), *arrays]).astype(dtype, copy=False)
