"""`first`: the spans of the first voter count, and of each later one what does not overlap them."""

import dataclasses
from collections.abc import Iterator, Sequence

from transforms.combining.ballots import Claim, Electorate, Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstConfig:
    """`first` has no settings."""


def judge_by_order(config: FirstConfig, claims: Sequence[Claim], electorate: Electorate) -> Iterator[Verdict]:  # noqa: ARG001
    """Verdicts on the claims of a document; the score of a span is that which its first voter gave it."""
    for claim in claims:
        first = min(claim.scores)
        agreement = len(claim.scores) / len(electorate.present)
        yield Verdict(claim, agreement, claim.scores[first], is_kept=True, priority=first)
