"""`vote`: a span counts that enough voters found."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from schemas.errors import ConfigError
from transforms.combining.ballots import Claim, Electorate, Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """Settings of `vote`.

    Attributes:
      least: how many voters have to find a span; 0 for more than half of those that have the document.
    """

    least: int = 0

    def __post_init__(self) -> None:
        if self.least < 0:
            raise ConfigError(f"expected least of 0 or more for --by vote, found {self.least}")


def judge_by_vote(config: VoteConfig, claims: Sequence[Claim], electorate: Electorate) -> Iterator[Verdict]:
    """Verdicts on the claims of a document.

    The score is the mean over all voters present, those that did not find the span having given it 0; that is the mean
    score of the others by their share.
    """
    n_present = len(electorate.present)
    least = config.least or n_present // 2 + 1
    for claim in claims:
        n_votes = len(claim.scores)
        score = math.fsum(claim.scores.values()) / n_present
        yield Verdict(claim, n_votes / n_present, min(1.0, score), n_votes >= least)
