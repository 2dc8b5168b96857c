"""Documents of a run with their text, for people to look at.

The output does not hold texts, so they are read from the input again:

    annotated documents  ──┐
                           ├── by row ──> samples
    parts of the input   ──┘

An input that is gone or changed costs the text and nothing else.
"""

import dataclasses
import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import FileError, StorageError
from schemas.receipts import Receipt
from schemas.slices import Slice
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import check_unchanged
from transforms.corpora.formats import read_parts
from transforms.reports.excerpts import Sample
from transforms.storage.annotations import AnnotatedDocument, read_annotations
from transforms.storage.store import Store
from transforms.text.offsets import convert_offsets

_MOST_SLICES = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Which documents are shown.

    Attributes:
      n_documents: how many at most.
      offset_unit: unit of the run's offsets.
      seed: the same seed chooses the same documents.
    """

    n_documents: int
    offset_unit: str
    seed: str


class SliceChooser:
    """Chooses the slices whose documents are shown, as their receipts come by.

    Args:
      seed: the same seed chooses the same slices.

    Attributes:
      chosen: those so far, with their receipts, in the order in which they are shown.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.chosen: list[tuple[Slice, Receipt]] = []

    def take(self, slice_: Slice, receipt: Receipt) -> None:
        """Looks at one more."""
        if receipt.tally.documents:
            ranked = sorted((*self.chosen, (slice_, receipt)), key=lambda pair: _rank(self._seed, pair[1].slice_id))
            self.chosen = ranked[:_MOST_SLICES]


def sample_documents(
    store: Store, chosen: Sequence[tuple[Slice, Receipt]], corpus: CorpusConfig, config: SampleConfig
) -> list[Sample]:
    """A few documents of slices that were chosen, those with entities first, always the same for the same seed.

    Entities under their threshold are left out, and so are documents whose text is not available any more.
    """
    samples: list[Sample] = []
    for position, (slice_, receipt) in enumerate(chosen):
        wanted = -(-(config.n_documents - len(samples)) // (len(chosen) - position))
        documents = _choose_documents(read_annotations(store, receipt), wanted, config.seed)
        read = read_samples(slice_, documents, corpus, config.offset_unit)
        samples += [sample for sample in read if not sample.problem]
    return samples


def read_samples(
    slice_: Slice, documents: Iterable[AnnotatedDocument], corpus: CorpusConfig, unit: str
) -> Iterator[Sample]:
    """Annotated documents of a slice in order of row, and a sample with the text of each out.

    A text that is not to be had any more leaves the sample without: it says why, and keeps the entities as they were
    written.

    Args:
      slice_: the slice.
      documents: its documents; the input is read no further than to the last of them.
      corpus: how documents are found in files.
      unit: unit of the run's offsets.
    """
    texts = _TextReader(slice_, corpus)
    for document in documents:
        found, problem = texts.read(document)
        entities = [dict(entity) for entity in document.entities]
        entities += [{**entity, "is_below": True} for entity in document.below]
        text = found.get("text") or ""
        if not problem:
            _move_to_code_points(text, entities, unit)
        gold = found.get("gold")
        yield Sample(
            document.id, document.source, document.row, text, entities, None if gold is None else tuple(gold), problem
        )


def _rank(seed: str, key: object) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def _choose_documents(documents: Iterable[AnnotatedDocument], wanted: int, seed: str) -> list[AnnotatedDocument]:
    chosen = heapq.nsmallest(wanted, documents, key=lambda document: (not document.entities, _rank(seed, document.row)))
    return [dataclasses.replace(document, below=()) for document in sorted(chosen, key=lambda document: document.row)]


class _TextReader:
    """The rows of a slice's input that are asked for in rising order."""

    def __init__(self, slice_: Slice, corpus: CorpusConfig) -> None:
        self._slice = slice_
        self._corpus = corpus
        self._tables = self._read_tables()
        self._table: pa.Table | None = None
        self._problem = ""

    def read(self, document: AnnotatedDocument) -> tuple[Mapping[str, Any], str]:
        """The row that a document was, or nothing and the reason for it."""
        try:
            found = None if self._problem else self._find(document.row)
        except (FileError, StorageError) as error:
            self._problem, found = str(error), None
        if self._problem:
            return {}, self._problem
        if found is None or hashlib.sha256((found["text"] or "").encode()).hexdigest() != document.digest:
            return {}, f"expected the text that was annotated in {document.source!r}, found another"
        return found, ""

    def _find(self, row: int) -> Mapping[str, Any] | None:
        while self._table is None or self._table.column("row")[-1].as_py() < row:
            self._table = next(self._tables, None)
            if self._table is None:
                return None
        at = int(np.searchsorted(self._table.column("row").to_numpy(), row))
        found: dict[str, Any] = self._table.slice(at, 1).to_pylist()[0]
        return found if found["row"] == row else None

    def _read_tables(self) -> Iterator[pa.Table]:
        check_unchanged(self._slice.file)
        for part in read_parts(self._slice, self._corpus):
            if part.documents.num_rows:
                yield part.documents


def _move_to_code_points(text: str, entities: Sequence[dict[str, Any]], unit: str) -> None:
    """Offsets of entities from another unit to code points of the text, in place."""
    if unit == "codepoint" or text.isascii():
        return
    boundaries = convert_offsets(text, np.arange(len(text) + 1), unit)
    for entity in entities:
        for side in ("start", "end"):
            entity[side] = int(np.searchsorted(boundaries, entity[side]))
