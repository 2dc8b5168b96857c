"""Beginnings that prompts share, computed once.

Prompts of one job begin alike: the instructions, and often the examples. What attention keeps of a token (its keys and
values) depends on the tokens before it alone, so that of a shared beginning is computed once and used by every prompt
that begins with it (Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
PagedAttention", section 4.4). It is kept between calls.

Which beginning is worth it: the one that saves most tokens, its length times the prompts that share it, less the one
that pays. Prompts without it are then looked at anew, so that an odd one shortens nobody's.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

SHORTEST = 16
"""Fewest tokens of a beginning that is kept apart."""

_MOST_REMEMBERED = 16

Ids = tuple[int, ...]
Layers = list[tuple[Any, Any]]
"""Keys and values of each layer, (1, heads, tokens, size)."""


class Group(NamedTuple):
    """Prompts that begin alike.

    Attributes:
      prefix: what they begin with; empty where they share too little.
      prompts: their indices.
    """

    prefix: Ids
    prompts: list[int]


class Shared(NamedTuple):
    """A beginning that was computed.

    Attributes:
      n_tokens: its length.
      layers: its keys and values.
      n_reused: tokens of it that were known from an earlier call.
    """

    n_tokens: int
    layers: Layers
    n_reused: int


NOTHING = Shared(0, [], 0)


def group_prompts(prompts: Sequence[Ids], earlier: Sequence[Ids] = ()) -> list[Group]:
    """Prompts to groups with a common beginning; each is in one.

    A beginning leaves at least one token of each prompt to be computed.

    Args:
      prompts: ids of each.
      earlier: ids of prompts of earlier calls, which speak for a beginning without being in a group.

    >>> a, b = tuple(range(20)), tuple(range(30, 60))
    >>> [(len(g.prefix), g.prompts) for g in group_prompts([(*a, 1, 2), (*b, 3), (*a, 4), (5, 6), (*b, 7)])]
    [(30, [1, 4]), (20, [0, 2]), (0, [3])]
    """
    texts = [ids[:-1] for ids in (*prompts, *earlier)]
    left = sorted(range(len(texts)), key=texts.__getitem__)
    groups = []
    while left and (found := _find_best([texts[at] for at in left])):
        begin, end, length = found
        members = sorted(at for at in left[begin:end] if at < len(prompts))
        if members:
            groups.append(Group(texts[left[begin]][:length], members))
        del left[begin:end]
    if rest := sorted(at for at in left if at < len(prompts)):
        groups.append(Group((), rest))
    return groups


def _find_best(texts: Sequence[Ids]) -> tuple[int, int, int] | None:
    """The run of sorted texts whose common beginning saves most tokens: its begin, end and the beginning's length."""
    common = np.array([count_common(a, b) for a, b in itertools.pairwise(texts)], dtype=np.int64)
    common[common < SHORTEST] = 0
    best, found = 0, None
    for begin in range(len(common)):
        least = np.minimum.accumulate(common[begin:])
        saved = least * np.arange(1, len(least) + 1)
        at = int(saved.argmax())
        if saved[at] > best:
            best, found = int(saved[at]), (begin, begin + at + 2, int(least[at]))
    return found


def count_common(one: Ids, other: Ids) -> int:
    """Ids that two prompts begin with in common.

    >>> count_common((1, 2, 3), (1, 2, 4, 5))
    2
    """
    if one == other[: len(one)]:
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(other))


class PrefixStore:
    """Keys and values of the beginnings that were used last.

    Args:
      extend: keys and values of some ids, given those of the ids before them, to those of both.
      most_tokens: most tokens that are kept, but for the last beginning.
    """

    def __init__(self, extend: Callable[[Layers, Ids], Layers], *, most_tokens: int) -> None:
        self._extend = extend
        self._most_tokens = most_tokens
        self._entries: dict[Ids, Layers] = {}
        self._prompts: list[Ids] = []

    def group(self, prompts: Sequence[Ids]) -> list[Group]:
        """Prompts to groups (see `group_prompts`), with a look at those that came before."""
        groups = group_prompts(prompts, self._prompts)
        self._prompts = [*self._prompts, *prompts][-_MOST_REMEMBERED:]
        return groups

    def compute(self, prefix: Ids) -> Shared:
        """What attention keeps of a beginning; only what none of the kept ones begins with is computed."""
        if not prefix:
            return NOTHING
        nearest = max(self._entries, key=lambda ids: count_common(ids, prefix), default=())
        n_known = count_common(nearest, prefix)
        known = _cut(self._entries[nearest], n_known) if n_known else []
        if n_known < len(prefix):
            layers = self._extend(known, prefix[n_known:])
            if n_known == len(nearest):
                self._entries.pop(nearest, None)
            nearest = prefix
        else:
            layers = self._entries.pop(nearest)
        self._entries[nearest] = layers
        while len(self._entries) > 1 and sum(map(len, self._entries)) > self._most_tokens:
            del self._entries[next(iter(self._entries))]
        return Shared(len(prefix), _cut(layers, len(prefix)), n_known)

    def clear(self) -> None:
        """Forgets everything, where memory ran out."""
        self._entries.clear()


def _cut(layers: Layers, n_tokens: int) -> Layers:
    return [(keys[:, :, :n_tokens], values[:, :, :n_tokens]) for keys, values in layers]
