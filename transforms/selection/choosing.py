"""From the candidates of a run to the documents that are to be labelled.

    candidates ──> a ranking per way ──> chance takes its share, then each way the best that nobody took
                                                                        │
               texts of a pool ──> vectors ──> those far from each other and from what was taken

A run of any size goes by once; what is kept are the rankings, and for diversity a vector per document of the pool.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from schemas.errors import ConfigError
from schemas.selections import RANDOM
from transforms.selection.candidates import Candidate
from transforms.selection.diversity import VECTOR_SIZE, DiverseConfig, hash_words, spread, weight_vectors
from transforms.selection.rankings import Ranking
from transforms.selection.setting import Scorer, Setting
from transforms.selection.texts import TextReader
from transforms.selection.ways import DIVERSE, SCORERS, Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A candidate that was chosen.

    Attributes:
      candidate: the candidate.
      way: how it was chosen.
      rank: its place among those chosen that way, from 1.
      score: what it was ranked by; None where chance chose.
    """

    candidate: Candidate
    way: str
    rank: int
    score: float | None


class Chooser:
    """Chooses documents.

    Args:
      shares: how many in each way, in the order in which they choose.
      setting: what is known beside a document.
      seed: the same seed chooses the same documents.

    Raises:
      ConfigError: a way cannot be had in this setting, or a pool is filled in a way that is not known.
    """

    def __init__(self, shares: Sequence[Share], setting: Setting, *, seed: int) -> None:
        self._shares = shares
        total = sum(share.n for share in shares)
        self._rankings: dict[str, Ranking] = {}
        self._scorers: dict[str, Scorer | None] = {}
        for share in shares:
            ranked_by, capacity = share.way, total
            if share.way == DIVERSE:
                ranked_by, capacity = share.config.among, share.config.pool_size(share.n) + total
            self._rankings[share.way] = Ranking(capacity, f"{seed} {share.way}")
            self._scorers[share.way] = _build(ranked_by, share, setting)

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Ranks candidates; those that score nothing in a way are not chosen in it."""
        for candidate in candidates:
            for way, ranking in self._rankings.items():
                scorer = self._scorers[way]
                score = scorer(candidate) if scorer else 1.0
                if score > 0:
                    ranking.add(candidate, score)

    def choose(self, texts: TextReader) -> list[Choice]:
        """The documents, in an order of which every beginning has about the same mix of ways; fewer if there are fewer.

        Args:
          texts: reads what diversity compares.
        """
        taken: dict[str, Choice] = {}
        for share in self._shares:
            ranked = [
                (score, candidate)
                for score, candidate in self._rankings[share.way].best()
                if candidate.document.digest not in taken
            ]
            if share.way == DIVERSE:
                ranked = _spread(ranked, list(taken.values()), share, texts)
            for rank, (score, candidate) in enumerate(ranked[: share.n], 1):
                told = None if share.way == RANDOM else round(score, 6)
                taken[candidate.document.digest] = Choice(candidate=candidate, way=share.way, rank=rank, score=told)
        numbers = {share.way: share.n for share in self._shares}
        return sorted(taken.values(), key=lambda choice: choice.rank / numbers[choice.way])


def _build(way: str, share: Share, setting: Setting) -> Scorer | None:
    if way == RANDOM:
        return None
    if way not in SCORERS:
        raise ConfigError(f"expected option among of --by diverse to be one of {[RANDOM, *SCORERS]}, found {way!r}")
    config, build = SCORERS[way]
    return build(share.config if way == share.way else config(), setting)


def _spread(
    ranked: Sequence[tuple[float, Candidate]], taken: Sequence[Choice], share: Share, texts: TextReader
) -> list[tuple[float, Candidate]]:
    """The candidates of a pool that are far from each other and from what was taken, with their distances."""
    config: DiverseConfig = share.config
    pool = [candidate for _, candidate in ranked[: config.pool_size(share.n)]]
    candidates = [*(choice.candidate for choice in taken), *pool]
    vectors = np.zeros((len(candidates), VECTOR_SIZE), dtype=np.float32)
    places: Mapping[str, int] = {candidate.document.digest: at for at, candidate in enumerate(candidates)}
    is_there = np.zeros(len(candidates), dtype=bool)
    for candidate, sample in texts.read(candidates):
        if not sample.problem:
            at = places[candidate.document.digest]
            vectors[at], is_there[at] = hash_words(sample.text), True
    weight_vectors(vectors)
    n_taken = len(taken)
    rows = np.flatnonzero(is_there[n_taken:])
    chosen = spread(vectors[n_taken:][rows], share.n, vectors[:n_taken][is_there[:n_taken]])
    return [(distance, pool[int(rows[row])]) for row, distance in chosen]
