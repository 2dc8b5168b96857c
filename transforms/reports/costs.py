"""What a run used and cost, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from transforms.reports.figures import format_duration, format_rate, format_share

_NAMES = {"worker": "worker time", "core": "core time", "gpu": "GPU time"}


def describe_costs(costs: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """The `costs` of a report in, names and readable figures out; none where a run did not count them.

    >>> list(describe_costs(None))
    []
    """
    if not costs:
        return
    for what, name in _NAMES.items():
        if costs[f"{what}_seconds"] or what != "gpu":
            yield name, format_duration(costs[f"{what}_seconds"])
    measured = costs["model_seconds"] + costs["other_seconds"]
    share = costs["model_seconds"] / measured if measured else None
    yield "model", f"{format_duration(costs['model_seconds'])} ({format_share(share)})"
    yield (
        "everything else",
        f"{format_duration(costs['other_seconds'])}, loading {format_duration(costs['load_seconds'])}",
    )
    yield "tokens per core-second", format_rate(costs["tokens_per_core_s"])
    if costs["cost"] is not None:
        yield "estimated cost", format_price(costs["cost"])
        for of in ("tokens", "documents"):
            if costs[f"cost_per_million_{of}"] is not None:
                yield f"cost of a million {of}", format_price(costs[f"cost_per_million_{of}"])


def format_price(price: float) -> str:
    """An amount of money in, the same with the digits that matter out.

    >>> format_price(1234.5), format_price(0.000123), format_price(0)
    ('1,234.50', '0.00012', '0.00')
    """
    return f"{price:,.2f}" if not 0 < price < 0.1 else f"{price:.2g}"
