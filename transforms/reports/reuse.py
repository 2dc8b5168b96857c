"""What a run copied from earlier ones, and what that saved."""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.costs import Prices
from schemas.receipts import Tally
from transforms.reports.costs import format_price
from transforms.reports.figures import format_duration, format_share


def report_reuse(tally: Tally, earlier: Mapping[str, Tally | None], prices: Prices | None) -> dict[str, Any] | None:
    """The `reused` of a report; None where no earlier run was asked for.

    What was saved is what the tokens that were copied would have taken in the model, at the pace that an earlier run
    has measured; else at that of this run; None where neither has.

    Args:
      tally: what the run has counted.
      earlier: earlier runs, with what they have counted.
      prices: what an hour costs, where that is known.
    """
    nothing = {"documents": 0, "tokens": 0, "windows": 0}
    runs = {name: dict(tally.reused.get(name, nothing)) for name in sorted({*tally.reused, *earlier})}
    if not runs:
        return None
    total = {what: sum(counts[what] for counts in runs.values()) for what in nothing}
    measured = [other for other in (*earlier.values(), tally) if other and _is_measure(other)]
    return {
        "runs": runs,
        **total,
        "documents_fraction": total["documents"] / tally.documents if tally.documents else None,
        "tokens_fraction": total["tokens"] / tally.tokens if tally.tokens else None,
        "saved": _estimate(total["tokens"], measured[0], prices) if measured else None,
    }


def describe_reuse(reused: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """The `reused` of a report in, names and readable figures out; none where nothing was asked for.

    >>> list(describe_reuse(None))
    []
    """
    if not reused:
        return
    for run, counts in reused["runs"].items():
        yield "copied from", f"{run} ({counts['documents']:,} documents)"
    for what in ("documents", "tokens"):
        yield f"{what} that met no model", f"{reused[what]:,} ({format_share(reused[f'{what}_fraction'])})"
    if saved := reused["saved"]:
        for name, what in (("model time saved", "model"), ("core time saved", "core"), ("GPU time saved", "gpu")):
            if saved[f"{what}_seconds"] or what != "gpu":
                yield name, format_duration(saved[f"{what}_seconds"])
        if saved["cost"] is not None:
            yield "cost saved", format_price(saved["cost"])


def _is_measure(tally: Tally) -> bool:
    return tally.read_tokens > 0 and tally.seconds.get("forward", 0.0) > 0


def _estimate(n_tokens: int, measure: Tally, prices: Prices | None) -> dict[str, Any]:
    """What tokens take in the model, at a measured pace; of cores and GPUs the share of the time in the model."""
    model_s, worker_s = measure.seconds["forward"], measure.used.get("worker", 0.0)
    share = min(1.0, model_s / worker_s) if worker_s else 0.0
    scale = n_tokens / measure.read_tokens
    used = {"worker": min(model_s, worker_s) * scale}
    used |= {what: measure.used.get(what, 0.0) * share * scale for what in ("core", "gpu")}
    return {
        "model_seconds": model_s * scale,
        **{f"{what}_seconds": seconds for what, seconds in used.items()},
        "cost": prices.cost(used) if prices else None,
    }
