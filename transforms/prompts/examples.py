"""Labelled examples that a prompt shows, and how they are chosen for each document.

    examples ──> rank by nearness to the text ──> leave out the text itself ──> balance over labels ──> n shots

See `rankings` for the ways to rank.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

from schemas.errors import ConfigError

Ranking = Callable[[str], Iterator[int]]
"""A text to the positions of examples, the best one first."""


@dataclasses.dataclass(frozen=True)
class Example:
    """A text with its entities.

    Attributes:
      text: the text.
      spans: start, end and label of each entity; start and end are code points, half-open. They are kept in order.
    """

    text: str
    spans: tuple[tuple[int, int, str], ...]

    def __post_init__(self) -> None:
        for start, end, _ in self.spans:
            if not 0 <= start < end <= len(self.text):
                raise ConfigError(
                    f"expected spans within an example's {len(self.text)} characters, found {start} to {end}; "
                    "mend the labelled file"
                )
        object.__setattr__(self, "spans", tuple(sorted(self.spans, key=lambda span: (span[0], -span[1], span[2]))))

    @property
    def labels(self) -> frozenset[str]:
        """The labels of its entities."""
        return frozenset(label for _, _, label in self.spans)


class ExamplePool:
    """Chooses examples for texts.

    Args:
      examples: the examples, with no other labels than those that are asked for.
      rank: which of them suit a text best.
      is_balanced: whether each label is to be shown before one is shown again, as far as there are examples.
      is_nearest_last: whether the best one stands next to the document rather than at the beginning; models lean on
        what they read last (Zhao et al., 2021, "Calibrate Before Use").
    """

    def __init__(
        self, examples: Sequence[Example], rank: Ranking, *, is_balanced: bool = False, is_nearest_last: bool = False
    ) -> None:
        self._examples = tuple(examples)
        self._keys = [_fold_space(example.text) for example in examples]
        self._all_labels = {label for at in range(len(self._examples)) for label in self._labels(at)}
        self._rank = rank
        self._is_balanced = is_balanced
        self._is_nearest_last = is_nearest_last

    @property
    def digest(self) -> str:
        """SHA-256 of the examples in their order, hex."""
        rows = [[example.text, example.spans] for example in self._examples]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def select(self, text: str, n: int) -> list[Example]:
        """Up to n examples for a text; none that holds it or that it holds, and no text twice."""
        suitable = self._find_suitable(_fold_space(text))
        chosen = self._balance(suitable, n) if self._is_balanced else _take(suitable, n)
        return [self._examples[at] for at in (reversed(chosen) if self._is_nearest_last else chosen)]

    def _find_suitable(self, key: str) -> Iterator[int]:
        """Positions of the examples that may be shown, the best first."""
        seen: set[str] = set()
        for at in self._rank(key):
            own = self._keys[at]
            if own and own not in seen and own not in key and key not in own:
                seen.add(own)
                yield at

    def _balance(self, ranked: Iterator[int], n: int) -> list[int]:
        """Takes the best of those that show a label which was not shown yet, until all are; then begins anew.

        To have no entity at all counts as a label, so that models see that there need not be any.
        """
        chosen: list[int] = []
        shown: set[str] = set()
        looked_at: list[int] = []
        while len(chosen) < n:
            candidates = (at for at in _replay(looked_at, ranked) if at not in chosen)
            best = next((at for at in candidates if not self._labels(at) <= shown), None)
            if best is None and not shown:
                break
            if best is not None:
                chosen.append(best)
                shown |= self._labels(best)
            if best is None or shown >= self._all_labels:
                shown = set()
        return chosen

    def _labels(self, at: int) -> frozenset[str]:
        return self._examples[at].labels or frozenset({""})


def _take(positions: Iterator[int], n: int) -> list[int]:
    return [at for _, at in zip(range(n), positions, strict=False)]


def _replay(known: list[int], rest: Iterator[int]) -> Iterator[int]:
    """What is known of an iterator, then the rest of it, which is known from then on."""
    yield from known
    for item in rest:
        known.append(item)
        yield item


def _fold_space(text: str) -> str:
    return " ".join(text.split())
