"""What a run uses and what that costs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import ConfigError

RESOURCES = ("worker", "core", "gpu")


@dataclasses.dataclass(frozen=True)
class Prices:
    """What an hour costs, in a currency that nobody here knows.

    Attributes:
      worker: of a worker process.
      core: of a core that computes.
      gpu: of a GPU that a worker holds.
    """

    worker: float = 0.0
    core: float = 0.0
    gpu: float = 0.0

    @classmethod
    def parse(cls, values: Sequence[str], *, flag: str = "--price-per-hour") -> "Prices | None":
        """`[WHAT=]PRICE` arguments to prices; None where there are none.

        Raises:
          ConfigError: one is no price, or of nothing known, or given twice.

        >>> Prices.parse(["0.19", "gpu=2.5"])
        Prices(worker=0.19, core=0.0, gpu=2.5)
        """
        prices: dict[str, float] = {}
        for value in values:
            left, mark, right = value.rpartition("=")
            what = left if mark else "worker"
            try:
                price = float(right)
            except ValueError:
                price = math.nan
            if what not in RESOURCES or not 0 <= price < math.inf:
                raise ConfigError(f"expected {flag} PRICE or WHAT=PRICE with WHAT of {RESOURCES}, found {value!r}")
            if what in prices:
                raise ConfigError(f"expected one {flag} of a {what}, found {prices[what]:g} and {right}")
            prices[what] = price
        return cls(**prices) if prices else None

    def cost(self, seconds: Mapping[str, float]) -> float:
        """What seconds of each resource cost.

        >>> Prices(worker=3.6, gpu=36.0).cost({"worker": 1000.0, "gpu": 100.0})
        2.0
        """
        prices = dataclasses.asdict(self)
        return math.fsum(prices[what] * seconds.get(what, 0.0) for what in RESOURCES) / 3600

    def to_json(self) -> dict[str, Any]:
        """The prices that are known."""
        return {what: price for what, price in dataclasses.asdict(self).items() if price}
