"""`weighted`: a span counts that voters of enough weight found."""

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction

from schemas.errors import ConfigError
from transforms.combining.ballots import Claim, Electorate, Verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedConfig:
    """Settings of `weighted`.

    Attributes:
      agreement: least share of the weight of the voters that have the document.
    """

    agreement: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.agreement <= 1:
            raise ConfigError(f"expected agreement above 0 and up to 1 for --by weighted, found {self.agreement}")


def judge_by_weight(config: WeightedConfig, claims: Sequence[Claim], electorate: Electorate) -> Iterator[Verdict]:
    """Verdicts on the claims of a document.

    The score is the mean over all voters present by their weights, those that did not find the span having given it 0.
    Weights are added as fractions, so that a share on the limit is on the right side of it.
    """
    limit = Fraction(str(config.agreement))
    shares = {at: electorate.share([at]) for at in electorate.present}
    for claim in claims:
        agreement = sum((shares[at] for at in claim.scores), Fraction(0))
        score = sum((shares[at] * Fraction(score) for at, score in claim.scores.items()), Fraction(0))
        yield Verdict(claim, float(agreement), min(1.0, float(score)), agreement >= limit)
