"""Ways to rank examples for a text; each is a function that returns a `Ranking`, and a row in RANKINGS.

| ranking    | the best example                                                                                  |
|------------|---------------------------------------------------------------------------------------------------|
| fixed      | the first                                                                                         |
| random     | any, anew for each text; the same for the same text and seed                                      |
| bm25       | that with the most words in common, rare ones above all (Robertson and Zaragoza, 2009)            |
| embeddings | that whose sentence embedding has the highest cosine with the text's (Liu et al., 2022, "What     |
|            | Makes Good In-Context Examples for GPT-3?")                                                       |
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.prompts.examples import Example, Ranking
from transforms.text.words import find_words

Encoder = Callable[[Sequence[str]], npt.NDArray[np.floating[Any]]]
"""Texts to (n_texts, size) sentence embeddings."""


class RankingKind(NamedTuple):
    """What a way to rank needs, beside the examples.

    Attributes:
      rank: makes the ranking.
      needs: names of its further arguments: seed, encode.
      is_by_text: whether the text decides, so that the best example belongs next to it.
    """

    rank: Callable[..., Ranking]
    needs: tuple[str, ...] = ()
    is_by_text: bool = False


def rank_fixed(examples: Sequence[Example]) -> Ranking:
    """Examples in their own order, the same for all texts."""
    return lambda _text: iter(range(len(examples)))


def rank_random(examples: Sequence[Example], *, seed: int) -> Ranking:
    """Examples in an order that depends on the seed and the text alone."""

    def rank(text: str) -> Iterator[int]:
        digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
        chance = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
        return iter(chance.permutation(len(examples)).tolist())

    return rank


def rank_bm25(examples: Sequence[Example]) -> Ranking:
    """Examples by BM25 over words in lower case, those without a word in common in their own order."""
    import bm25s

    words = [_find_words(example.text) for example in examples]
    if not any(words):
        return rank_fixed(examples)
    index = bm25s.BM25()
    index.index(words, show_progress=False)

    def rank(text: str) -> Iterator[int]:
        query = _find_words(text)
        return _descend(index.get_scores(query)) if query else iter(range(len(examples)))

    return rank


def rank_embeddings(examples: Sequence[Example], *, encode: Encoder) -> Ranking:
    """Examples by the cosine of embeddings; those of the examples are computed once."""
    vectors = _normalize(encode([example.text for example in examples])) if examples else np.zeros((0, 1))

    def rank(text: str) -> Iterator[int]:
        return _descend(vectors @ _normalize(encode([text]))[0]) if len(vectors) else iter(())

    return rank


RANKINGS = {
    "fixed": RankingKind(rank_fixed),
    "random": RankingKind(rank_random, needs=("seed",)),
    "bm25": RankingKind(rank_bm25, is_by_text=True),
    "embeddings": RankingKind(rank_embeddings, needs=("encode",), is_by_text=True),
}


def _find_words(text: str) -> list[str]:
    return [text[start:end].lower() for start, end in find_words(text) if text[start].isalnum()]


def _descend(scores: npt.NDArray[np.floating[Any]]) -> Iterator[int]:
    """Positions by falling score; equal ones in their own order."""
    return iter(np.argsort(-scores, kind="stable").tolist())


def _normalize(vectors: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.floating[Any]] = vectors / np.where(norms > 0, norms, 1)
    return unit
