"""Ways of choosing documents: names, their options, and what scores a document.

`diverse` scores no document alone, and `mixed` takes shares of the others; `choosing` knows how.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import ConfigError
from schemas.selections import RANDOM
from transforms.selection import disagreement, margin, novelty, uncertainty
from transforms.selection.disagreement import DisagreementConfig
from transforms.selection.diversity import DiverseConfig
from transforms.selection.margin import MarginConfig
from transforms.selection.novelty import NoveltyConfig
from transforms.selection.setting import Scorer
from transforms.selection.uncertainty import UncertaintyConfig

DIVERSE, MIXED = "diverse", "mixed"
DEFAULT_MIXTURE = {"uncertainty": 0.4, "novelty": 0.3, DIVERSE: 0.3}

SCORERS: Mapping[str, tuple[type[Any], Callable[..., Scorer]]] = {
    "uncertainty": (UncertaintyConfig, uncertainty.build),
    "margin": (MarginConfig, margin.build),
    "disagreement": (DisagreementConfig, disagreement.build),
    "novelty": (NoveltyConfig, novelty.build),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedConfig:
    """Shares of the ways that are mixed, in proportion, each with its default options; without any, DEFAULT_MIXTURE.

    Attributes:
      uncertainty: share chosen by uncertainty.
      margin: share chosen by margin.
      disagreement: share chosen by disagreement.
      novelty: share chosen by novelty.
      diverse: share that is spread among random documents, and away from the others.
    """

    uncertainty: float = 0.0
    margin: float = 0.0
    disagreement: float = 0.0
    novelty: float = 0.0
    diverse: float = 0.0

    def __post_init__(self) -> None:
        if min(dataclasses.astuple(self)) < 0:
            raise ConfigError(f"expected shares of --by mixed of 0 or more, found {dataclasses.asdict(self)}")

    @property
    def weights(self) -> dict[str, float]:
        """The ways that are mixed and their shares."""
        return {name: share for name, share in dataclasses.asdict(self).items() if share} or dict(DEFAULT_MIXTURE)


WAYS: Mapping[str, type[Any]] = {
    **{name: config for name, (config, _) in SCORERS.items()},
    DIVERSE: DiverseConfig,
    MIXED: MixedConfig,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """How many documents are chosen in one way.

    Attributes:
      way: its name.
      config: its options; None for RANDOM.
      n: how many.
    """

    way: str
    config: Any
    n: int


def plan_shares(way: str, config: Any, n: int, random_share: float) -> list[Share]:
    """How many documents each way chooses: chance first, so that nothing else has a say in what it draws.

    Args:
      way: the way that was asked for.
      config: its options.
      n: documents in all.
      random_share: share of them that chance chooses.

    >>> [(share.way, share.n) for share in plan_shares("mixed", MixedConfig(), 10, 0.2)]
    [('random', 2), ('uncertainty', 3), ('novelty', 3), ('diverse', 2)]
    """
    n_random = round(n * random_share)
    if way != MIXED:
        return _drop_empty([Share(way=RANDOM, config=None, n=n_random), Share(way=way, config=config, n=n - n_random)])
    numbers = _apportion(n - n_random, config.weights)
    shares = [Share(way=name, config=WAYS[name](), n=number) for name, number in numbers.items()]
    return _drop_empty([Share(way=RANDOM, config=None, n=n_random), *shares])


def _apportion(n: int, weights: Mapping[str, float]) -> dict[str, int]:
    """A number in proportion to weights, what is left over to the largest remainders."""
    total = sum(weights.values())
    exact = {name: n * weight / total for name, weight in weights.items()}
    numbers = {name: int(value) for name, value in exact.items()}
    left = n - sum(numbers.values())
    for name in sorted(exact, key=lambda name: numbers[name] - exact[name])[:left]:
        numbers[name] += 1
    return numbers


def _drop_empty(shares: list[Share]) -> list[Share]:
    return [share for share in shares if share.n]
