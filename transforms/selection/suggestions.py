"""Entities of a run as suggestions to an annotator."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.annotations import join_label
from schemas.selections import Suggestion


def suggest_entities(entities: Iterable[Mapping[str, Any]], tagger: str) -> tuple[tuple[Suggestion, ...], int]:
    """The kept entities of one tagger, by position, and how many were left out because they overlap a surer one.

    Labelling tools and BIO tags have one entity in one place.

    Args:
      entities: entities in code points, those under their threshold marked by `is_below`.
      tagger: name of the tagger; empty where there is one only.
    """
    prefix = join_label(tagger, "")
    own = [
        Suggestion(each["start"], each["end"], each["label"].removeprefix(prefix), round(each["score"], 6))
        for each in entities
        if not each.get("is_below") and each["label"].startswith(prefix)
    ]
    kept: list[Suggestion] = []
    for each in sorted(own, key=lambda each: (-each.score, each.start, each.end, each.label)):
        if all(each.end <= other.start or other.end <= each.start for other in kept):
            kept.append(each)
    return tuple(sorted(kept, key=lambda each: each.start)), len(own) - len(kept)
