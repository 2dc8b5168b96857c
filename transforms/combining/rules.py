"""The rules by which voters become one: a file and a row each."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from transforms.combining.ballots import Verdict
from transforms.combining.first import FirstConfig, judge_by_order
from transforms.combining.vote import VoteConfig, judge_by_vote
from transforms.combining.weighted import WeightedConfig, judge_by_weight


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
      config: its settings, a frozen dataclass.
      judge: gives verdicts, from settings, the claims of a document and its electorate.
      has_weights: whether the weights of voters matter to it.
    """

    config: type[Any]
    judge: Callable[[Any, Any, Any], Iterable[Verdict]]
    has_weights: bool = False


RULES = {
    "vote": Rule(VoteConfig, judge_by_vote),
    "weighted": Rule(WeightedConfig, judge_by_weight, has_weights=True),
    "first": Rule(FirstConfig, judge_by_order),
}
