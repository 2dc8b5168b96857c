"""Slices of made-up runs: what a tagger would have counted of a text whose traits are known."""

import dataclasses

import numpy as np

from schemas.receipts import LENGTH_BINS, SCORE_BINS, Tally
from schemas.sketches import FormSketch


@dataclasses.dataclass(frozen=True)
class Trait:
    """What a text is like.

    Attributes:
      rate: entities per token.
      labels: share of each label.
      surety: first parameter of the beta distribution of scores.
      words: mean length of a document in tokens.
      dead: share of documents that fail.
      unknown: share of unknown pieces.
      names: names that entities are drawn from, commonest first.
      first_name: number of the first of them.
      mood: how much slices differ in rate and labels.
    """

    rate: float = 0.08
    labels: tuple[tuple[str, float], ...] = (("LOC", 0.3), ("ORG", 0.2), ("PER", 0.5))
    surety: float = 8.0
    words: float = 120.0
    dead: float = 0.001
    unknown: float = 0.002
    names: int = 4000
    first_name: int = 0
    mood: float = 0.1


def make_slices(trait: Trait, n_slices: int, *, seed: int, documents: int = 60, prefix: str = "") -> dict[str, Tally]:
    """Tallies of slices by id."""
    rng = np.random.default_rng(seed)
    return {f"{prefix}{at:020d}": _make_slice(trait, rng, documents) for at in range(n_slices)}


def _make_slice(trait: Trait, rng: np.random.Generator, documents: int) -> Tally:
    dead = int(rng.binomial(documents, trait.dead))
    lengths = 1 + rng.poisson(rng.gamma(2.0, trait.words / 2, documents - dead))
    tokens = int(lengths.sum())
    n = int(rng.poisson(trait.rate * np.exp(trait.mood * rng.normal()) * tokens))
    shares = np.array([share for _, share in trait.labels]) * np.exp(trait.mood * rng.normal(size=len(trait.labels)))
    counts = rng.multinomial(n, shares / shares.sum())
    scores = {}
    for (label, _), count in zip(trait.labels, counts, strict=True):
        bins = np.minimum((rng.beta(trait.surety, 1.0, count) * SCORE_BINS).astype(int), SCORE_BINS - 1)
        scores[label] = np.bincount(bins, minlength=SCORE_BINS).tolist()
    names = trait.first_name + np.minimum(rng.zipf(1.3, n), 10**6) % trait.names
    unknown = int(rng.binomial(tokens, trait.unknown))
    bins = np.minimum(np.ceil(np.log2(lengths + 1)).astype(int), LENGTH_BINS - 1)
    return Tally(
        documents=documents - dead,
        dead_rows=dead,
        entities={label: int(count) for (label, _), count in zip(trait.labels, counts, strict=True)},
        scores=scores,
        lengths=tuple(np.bincount(bins, minlength=LENGTH_BINS).tolist()),
        tokens=tokens,
        pieces={"known": tokens - unknown, "unknown": unknown},
        forms=FormSketch.of(f"name {name}" for name in names),
    )
