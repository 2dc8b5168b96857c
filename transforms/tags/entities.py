"""From tag probabilities of tokens to entities of texts, in code points.

    probabilities (n_tokens, n_tags) --aggregate--> those of words --decode--> spans of words --cut--> entities

The only place that knows what decoder, repair and aggregation make of probabilities: whether a model has just given
them or a run has kept them.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.errors import ConfigError
from schemas.labels import TagSet
from transforms.tags.decode import DECODERS, REPAIRS, Decoder, FloatArray, IntArray
from transforms.text.tokens import TokenColumns

AGGREGATIONS = ("first", "average", "max", "simple")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How token probabilities become entities.

    Attributes:
      decoder: viterbi or argmax (see transforms.tags.decode).
      repair: conlleval or discard, for argmax.
      aggregation: how a word's tokens become one: its `first` token, their `average`, the one with the highest
        probability (`max`), or not at all (`simple`: entities are runs of tokens).
    """

    decoder: str = "viterbi"
    repair: str = "conlleval"
    aggregation: str = "first"

    def __post_init__(self) -> None:
        for name, allowed in (("decoder", DECODERS), ("repair", REPAIRS), ("aggregation", AGGREGATIONS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"expected --{name} to be one of {allowed}, found {getattr(self, name)!r}")


class Entities(NamedTuple):
    """Entities of several texts, in order of text and position.

    Attributes:
      document: (n,) index of the text.
      start: (n,) first code point.
      end: (n,) one past the last.
      label: (n,) index into the labels of the tag set.
      score: (n,) probability.
    """

    document: IntArray
    start: IntArray
    end: IntArray
    label: IntArray
    score: FloatArray


class EntityDecoder:
    """Decides which entities there are.

    Args:
      tag_set: the tags of the model and what it has learned of their order.
      config: how.

    Attributes:
      labels: labels of the tags, which entities name by index.
      n_tags: how many tags there are.
    """

    def __init__(self, tag_set: TagSet, config: DecodingConfig) -> None:
        self.labels = tag_set.labels
        self.n_tags = len(tag_set.tags)
        self._aggregation = config.aggregation
        self._decoder = Decoder(tag_set, decoder=config.decoder, repair=config.repair)

    def decode(self, texts: Sequence[str], columns: TokenColumns, probabilities: FloatArray) -> Entities:
        """Texts, their tokens and the probabilities of these, (n_tokens, n_tags), in; entities out.

        What is found in a text is the same to the bit, whatever texts stand beside it.
        """
        units = self._unit_starts(columns)
        begin = np.searchsorted(units, columns.bounds)
        spans = self._decoder.decode(self._aggregate(probabilities, units), begin)
        ends = np.append(units[1:], len(columns.ids))
        document = np.searchsorted(columns.bounds, units[spans.first], side="right") - 1
        start = columns.start[units[spans.first]].astype(np.int64)
        end = columns.end[ends[spans.last - 1] - 1].astype(np.int64)
        for at, (owner, left, right) in enumerate(zip(document.tolist(), start.tolist(), end.tolist(), strict=True)):
            surface = texts[owner][left:right]
            # Byte-level and SentencePiece tokens carry the space before their word.
            start[at] = left + len(surface) - len(surface.lstrip())
            end[at] = right - (len(surface) - len(surface.rstrip()))
        filled = end > start
        return Entities(document[filled], start[filled], end[filled], spans.label[filled], spans.score[filled])

    def _unit_starts(self, columns: TokenColumns) -> IntArray:
        if self._aggregation == "simple":
            return np.arange(len(columns.ids))
        starts = columns.starts_word.copy()
        opening = columns.bounds[:-1]
        starts[opening[opening < len(starts)]] = True
        return np.flatnonzero(starts)

    def _aggregate(self, probabilities: FloatArray, units: IntArray) -> FloatArray:
        """Token probabilities (n_tokens, n_tags) to those of units (n_units, n_tags)."""
        if self._aggregation in ("simple", "first") or not len(units):
            return probabilities[units]
        if self._aggregation == "average":
            counts = np.diff(np.append(units, len(probabilities)))
            sums: FloatArray = np.add.reduceat(probabilities, units, axis=0)
            return (sums / counts[:, None]).astype(np.float32)
        surest = probabilities.max(axis=1)
        peak = np.maximum.reduceat(surest, units)
        owner = np.repeat(np.arange(len(units)), np.diff(np.append(units, len(probabilities))))
        is_peak = np.flatnonzero(surest == peak[owner])
        first_peak = is_peak[np.unique(owner[is_peak], return_index=True)[1]]
        return probabilities[first_peak]
