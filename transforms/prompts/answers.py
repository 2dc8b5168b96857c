"""What is read out of an answer before the document is looked at: mentions, and how sure the model was of each."""

import bisect
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.prompts import Answer

T = TypeVar("T")

_SHORTEST_PREFIX = 3


@dataclasses.dataclass(frozen=True)
class Mention:
    """An entity as an answer names it.

    Attributes:
      text: its words.
      label: one of the labels that were asked for.
      first: where in the answer the characters begin that its score is taken from.
      last: where they end.
      near: where in the text it should begin, if the answer tells; then no other place is meant.
    """

    text: str
    label: str
    first: int
    last: int
    near: int | None = None


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A readable answer.

    Attributes:
      mentions: what it names, in its order.
      repairs: names of the repairs that were needed; none for an answer that is as the format wants it.
    """

    mentions: tuple[Mention, ...]
    repairs: tuple[str, ...] = ()


def apply_repairs(value: T, repairs: Sequence[tuple[str, Callable[[T], T]]]) -> tuple[T, tuple[str, ...]]:
    """What is left after all repairs, and the names of those that changed something."""
    used = []
    for name, mend in repairs:
        mended = mend(value)
        if mended != value:
            used.append(name)
        value = mended
    return value, tuple(used)


def match_label(name: str, labels: Sequence[str]) -> str | None:
    """The label that a model meant: the same but for case and punctuation, or the only one that is its beginning.

    >>> match_label("person", ["PER", "ORG"]), match_label("Orgs.", ["PER", "ORG"]), match_label("x", ["PER", "ORG"])
    ('PER', 'ORG', None)
    """
    folded = {label: _fold_name(label) for label in labels}
    wanted = _fold_name(name)
    same = [label for label, own in folded.items() if own == wanted]
    if not same and len(wanted) >= _SHORTEST_PREFIX:
        same = [
            label
            for label, own in folded.items()
            if len(own) >= _SHORTEST_PREFIX and (own.startswith(wanted) or wanted.startswith(own))
        ]
    return same[0] if len(same) == 1 else None


def score_mention(answer: Answer, first: int, last: int) -> float:
    """How sure the model was of some characters of its answer.

    It is the geometric mean of the probabilities of the tokens that hold them, so that long names are not worth less
    than short ones. A model that does not tell probabilities gives 1.0 to everything.

    Args:
      answer: the answer.
      first: the first character.
      last: one past the last.

    Returns:
      A number between 0 and 1.
    """
    if not answer.pieces:
        return 1.0
    bounds = list(itertools.accumulate(map(len, answer.pieces), initial=0))
    # A token without characters holds the first bytes of the next one's; it stands where that begins.
    begin = bisect.bisect_left(bounds, first)
    if begin == len(bounds) or bounds[begin] > first:
        begin -= 1
    end = bisect.bisect_left(bounds, last)
    spelled = answer.log_probs[begin:end]
    if not spelled:
        return 1.0
    mean = sum(spelled) / len(spelled)
    return 0.0 if math.isnan(mean) else math.exp(min(0.0, mean))


def _fold_name(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
