"""What is known of texts from an earlier run, as a tagger would tell it.

    entities ─────────────────────────────> scores and spans as they were
    probabilities + tokens of the text ───> scores and spans as the decoder of the new run decides

Scores and spans are those that the earlier tagger gave, so that thresholds are compared anew, offsets are in whatever
unit is wanted, and all that is counted of a document is counted again. Only what a tagger counts by the way is not
told: it did nothing. Where probabilities of tokens were kept, all is decided from them, also by another decoder.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import ADAPTER_FIELD, PROBABILITIES_FIELD, join_label
from transforms.models.catalog import CheckpointTaggerConfig
from transforms.models.tagger import FloatArray, IntArray, Tagging
from transforms.reuse.earlier import EarlierRun, Written
from transforms.reuse.index import KeyIndex
from transforms.storage.store import open_store
from transforms.text.offsets import restore_offsets

DAMAGED = "reuse/damaged"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """What travels to the workers in place of an earlier run.

    Attributes:
      run: root of the earlier run's store.
      shown: the same as it may be written.
      into: root of the new run's store, where the index lies.
      shards: names of the shards of the index.
      written: what its rows hold.
      unit: unit of its offsets.
      is_calibrated: whether its scores passed through the calibrator of the new run.
      labels: labels of the tagger, in their order.
      tagger: the tagger of the new run, whose tokenizer and decoder are asked where probabilities were kept.
    """

    run: str
    shown: str
    into: str
    shards: tuple[str, ...]
    written: Written
    unit: str
    is_calibrated: bool
    labels: tuple[str, ...]
    tagger: CheckpointTaggerConfig | None = None

    def open(self) -> "Recall":
        """The earlier run, for one thread."""
        return Recall(self)


class Recall:
    """Finds what an earlier run has made of texts.

    Args:
      config: where it lies.
    """

    def __init__(self, config: RecallConfig) -> None:
        self.run = config.shown
        self.is_calibrated = config.is_calibrated
        self._written = config.written
        self._unit = config.unit
        self._numbers = {label: number for number, label in enumerate(config.labels)}
        index = KeyIndex(open_store(config.into), config.shards)
        self._earlier = EarlierRun(open_store(config.run), index, config.written)
        self._decider = _Decider(config.tagger) if config.tagger else None

    def find(self, texts: Sequence[str], digests: Sequence[str]) -> tuple[IntArray, Tagging]:
        """Texts and their SHA-256 in; the places of those that are known, in order, and their entities out.

        Documents of the tagging are counted from 0, in the order of the places. It counts as `reuse/damaged` those
        that the earlier run has in files which are not as they were committed.
        """
        found = self._earlier.find(digests)
        recall = self._decider.decide if self._decider else self._restore
        places, tagging = recall(texts, found.places, found.rows)
        damaged = {DAMAGED: found.n_damaged} if found.n_damaged else {}
        return places, dataclasses.replace(tagging, counts={**tagging.counts, **damaged})

    def _restore(self, texts: Sequence[str], places: IntArray, rows: pa.Table) -> tuple[IntArray, Tagging]:
        """Rows of the texts at some places in; these places and entities out."""
        document, start, end, label, score = self._read_entities(rows)
        if self._unit != "codepoint":
            bounds = np.searchsorted(document, np.arange(len(places) + 1))
            for place, (first, last) in zip(places.tolist(), itertools.pairwise(bounds.tolist()), strict=True):
                start[first:last] = restore_offsets(texts[place], start[first:last], self._unit)
                end[first:last] = restore_offsets(texts[place], end[first:last], self._unit)
        chosen = tuple(rows.column(ADAPTER_FIELD.name).to_pylist()) if self._written.is_routed else None
        return places, Tagging(
            document=document,
            start=start,
            end=end,
            label=label,
            score=score,
            tokens=rows.column("tokens").to_numpy().astype(np.int64),
            windows=rows.column("windows").to_numpy().astype(np.int64),
            failures={},
            computed_tokens=0,
            seconds={},
            unknown=np.zeros(len(places), dtype=np.int64),
            chosen=chosen,
        )

    def _read_entities(self, rows: pa.Table) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
        """(document, start, end, label, score) of entities in all columns, by document and position."""
        parts = [_read_column(rows.column(column), tagger) for tagger, column in self._written.entity_columns()]
        document, start, end = (np.concatenate([part[at] for part in parts]).astype(np.int64) for at in range(3))
        names = [name for part in parts for name in part[3]]
        label = np.array([self._numbers[name] for name in names], dtype=np.int64)
        score = np.concatenate([part[4] for part in parts]).astype(np.float32)
        order = np.lexsort((label, end, start, document))
        return document[order], start[order], end[order], label[order], score[order]


class _Decider:
    """Decides which entities there are from probabilities that an earlier run has kept.

    Args:
      config: the tagger of the new run; its weights are not loaded.
    """

    def __init__(self, config: CheckpointTaggerConfig) -> None:
        self._tokenizer, self._decoder = config.load_decoder()
        self._keeps = config.keep_probabilities

    def decide(self, texts: Sequence[str], places: IntArray, rows: pa.Table) -> tuple[IntArray, Tagging]:
        """Rows of the texts at some places in; entities out, and the places of those texts that they are of.

        A text that is cut into another number of tokens now, as by another version of the tokenizer's library, is not
        among them.
        """
        known = [texts[place] for place in places]
        columns = self._tokenizer.tokenize(known)
        lists = _combine(rows.column(PROBABILITIES_FIELD.name))
        is_same = np.diff(columns.bounds) * self._decoder.n_tags == lists.value_lengths().to_numpy()
        if not is_same.all():
            return self.decide(texts, places[is_same], rows.filter(pa.array(is_same)))
        probabilities = lists.flatten().to_numpy().reshape(-1, self._decoder.n_tags)
        found = self._decoder.decode(known, columns, probabilities)
        own = (probabilities[first:last] for first, last in itertools.pairwise(columns.bounds))
        return places, Tagging(
            document=found.document,
            start=found.start,
            end=found.end,
            label=found.label,
            score=found.score,
            tokens=np.diff(columns.bounds),
            windows=rows.column("windows").to_numpy().astype(np.int64),
            failures={},
            computed_tokens=0,
            seconds={},
            unknown=np.zeros(len(places), dtype=np.int64),
            probabilities=tuple(own) if self._keeps else None,
        )


def _read_column(column: pa.ChunkedArray, tagger: str) -> tuple[IntArray, IntArray, IntArray, list[str], FloatArray]:
    lists = _combine(column)
    entities = pc.list_flatten(lists)
    start, end, score = (pc.struct_field(entities, name).to_numpy() for name in ("start", "end", "score"))
    labels = [join_label(tagger, label) for label in pc.struct_field(entities, "label").to_pylist()]
    return pc.list_parent_indices(lists).to_numpy(), start, end, labels, score


def _combine(column: pa.ChunkedArray) -> pa.Array:
    lists = column.combine_chunks()
    return lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
