"""What voters found in one document, and the flat set of spans that comes of it.

    entities of each voter ──> claims ──> verdicts of a rule ──> spans that do not overlap, and the rest

A span is a start, an end and a label; voters agree on it where all three are the same.
"""

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from transforms.scoring.comparison import Entity


@dataclasses.dataclass(frozen=True)
class Claim:
    """A span that some of the voters found.

    Attributes:
      start: where it begins.
      end: one past its end, in the same unit.
      label: its label.
      text: its surface.
      scores: the score that each of those voters gave it, by the voter's position.
    """

    start: int
    end: int
    label: str
    text: str
    scores: Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Electorate:
    """Who votes on a document.

    Attributes:
      present: positions of the voters that have it, rising; at least one.
      weights: the weight of every voter, by position.
    """

    present: tuple[int, ...]
    weights: tuple[Fraction, ...]

    def share(self, voters: Iterable[int]) -> Fraction:
        """The share of the weight of those present that some of them have."""
        return self._weigh(voters) / self._weigh(self.present)

    def _weigh(self, voters: Iterable[int]) -> Fraction:
        return sum((self.weights[at] for at in voters), Fraction(0))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a rule makes of a claim.

    Attributes:
      claim: the claim.
      agreement: share of the voters that found it, within 0 and 1.
      score: its score, within 0 and 1.
      is_kept: whether it is written, unless it overlaps a better one.
      priority: of two that overlap, that with the lower number is better, whatever their scores.
    """

    claim: Claim
    agreement: float
    score: float
    is_kept: bool
    priority: int = 0

    @property
    def rank(self) -> tuple[int, float, int, int, str]:
        """What the better of two that overlap has less of: then the score decides, the length, and the place."""
        claim = self.claim
        return self.priority, -self.score, claim.start - claim.end, claim.start, claim.label

    @property
    def place(self) -> tuple[int, int, str]:
        """What it is sorted by in a document."""
        return self.claim.start, self.claim.end, self.claim.label

    def to_entity(self) -> Entity:
        """The span as it is written."""
        return Entity(self.claim.start, self.claim.end, self.claim.label, self.score, self.claim.text)


@dataclasses.dataclass(frozen=True)
class Result:
    """The verdicts on a document, each in one of three lists and in the order of the text.

    Attributes:
      kept: spans that do not overlap.
      overlapped: spans that would have been kept, had they not overlapped a better one.
      outvoted: spans that were not kept.
    """

    kept: tuple[Verdict, ...]
    overlapped: tuple[Verdict, ...]
    outvoted: tuple[Verdict, ...]


def gather_claims(ballots: Mapping[int, Sequence[Entity]]) -> list[Claim]:
    """Entities by position of their voter to the distinct spans among them, in the order of the text.

    Of a span that one voter gave twice, the higher score counts.

    >>> anna = Entity(0, 4, "PER", 0.5, "Anna")
    >>> gather_claims({0: [anna], 2: [anna._replace(score=1.0)]})
    [Claim(start=0, end=4, label='PER', text='Anna', scores={0: 0.5, 2: 1.0})]
    """
    scores: defaultdict[tuple[int, int, str], dict[int, float]] = defaultdict(dict)
    texts: dict[tuple[int, int, str], str] = {}
    for voter, entities in ballots.items():
        for start, end, label, score, text in entities:
            span = start, end, label
            scores[span][voter] = max(score, scores[span].get(voter, 0.0))
            texts[span] = text
    return [Claim(*span, texts[span], scores[span]) for span in sorted(scores)]


def settle_overlaps(verdicts: Iterable[Verdict]) -> Result:
    """Verdicts of one document to spans that do not overlap, the best taken first, and the rest."""
    verdicts = sorted(verdicts, key=lambda verdict: verdict.place)
    outvoted = tuple(verdict for verdict in verdicts if not verdict.is_kept)
    kept: list[Verdict] = []
    overlapped: list[Verdict] = []
    for verdict in sorted((verdict for verdict in verdicts if verdict.is_kept), key=lambda verdict: verdict.rank):
        at = bisect.bisect(kept, verdict.claim.start, key=lambda other: other.claim.start)
        touches_left = at > 0 and kept[at - 1].claim.end > verdict.claim.start
        touches_right = at < len(kept) and kept[at].claim.start < verdict.claim.end
        if touches_left or touches_right:
            overlapped.append(verdict)
        else:
            kept.insert(at, verdict)
    return Result(tuple(kept), tuple(sorted(overlapped, key=lambda verdict: verdict.place)), outvoted)
