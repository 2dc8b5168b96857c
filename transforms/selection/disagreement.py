"""Disagreement: documents that several taggers, or two runs, annotate differently.

    one      [Ada Lovelace]PER met [Babbage]PER       in common 1, all 3: 2 of 3 differ
    other    [Ada]PER Lovelace met [Babbage]PER

Query by committee (Seung, Opper and Sompolinsky, 1992), for taggers as in Engelson and Dagan ("Minimizing manual
annotation cost in supervised training from corpora", 1996): the share of spans that not both have, exact in place and
label, as the mean over all pairs of readings. As with other means, one span that both have is added.
"""

import dataclasses
from itertools import combinations

from schemas.errors import ConfigError
from schemas.selections import Span
from transforms.scoring.matching import count_matches
from transforms.selection.candidates import Candidate
from transforms.selection.setting import Scorer, Setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DisagreementConfig:
    """Disagreement has no options."""


def build(config: DisagreementConfig, setting: Setting) -> Scorer:  # noqa: ARG001
    """A scorer of candidates.

    Raises:
      ConfigError: there is one reading only.
    """
    if setting.n_readings < 2:
        raise ConfigError("expected --other RUN or a run of several taggers for disagreement, found one tagger")

    def score(candidate: Candidate) -> float:
        shares = [_share_apart(a, b) for a, b in combinations(candidate.readings, 2)]
        return sum(shares) / len(shares)

    return score


def _share_apart(a: frozenset[Span], b: frozenset[Span]) -> float:
    counts = list(count_matches(a, b).values())
    found = sum(row[0] for row in counts)
    apart = sum(row[1] + row[2] for row in counts)
    return apart / (found + apart + 1)
