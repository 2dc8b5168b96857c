"""The rows of a run as candidates for labelling, read as a stream.

    rows of the run ─────┐
                         ├─ same file and row, same text ─> candidate with both readings
    rows of another run ─┘

Rows of both stand in the order of the input, so two runs are merged as they are read and nothing is held.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.annotations import entity_column, find_taggers
from schemas.errors import ConfigError
from schemas.selections import Span
from schemas.slices import Slice
from transforms.pairing.rows import read_batches
from transforms.storage.annotations import AnnotatedDocument, gather_entities
from transforms.storage.store import Store


@dataclasses.dataclass(frozen=True)
class SelectedRun:
    """The rows of a run.

    Attributes:
      store: its store.
      files: its slices, each with the name of its annotations, which may be empty.
    """

    store: Store
    files: tuple[tuple[Slice, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be worth labelling.

    Attributes:
      slice_number: its slice, as a place among the run's files.
      document: the document with its entities, in the unit of the run.
      tokens: its length in tokens of the model.
      readings: its entities as each of several taggers, or runs, sees them; one where there is one.
    """

    slice_number: int
    document: AnnotatedDocument
    tokens: int
    readings: tuple[frozenset[Span], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Which documents are no candidates.

    Attributes:
      max_tokens: longest document, in tokens of the model; 0 for no limit.
    """

    max_tokens: int


def read_candidates(
    run: SelectedRun, other: SelectedRun | None, limits: Limits, counts: Counter[str]
) -> Iterator[Candidate]:
    """The candidates of a run, in the order of its input.

    Args:
      run: the run.
      other: another run over the same input, whose entities are a second reading; None without.
      limits: which documents are none.
      counts: takes how many documents were read (`documents`), and why some are none: `empty`, `too_long`, and
        `unpaired` where the other run has no such document.
    """
    rows = _read_rows(run)
    for number, record, partner in _pair(rows, _read_rows(other)) if other else ((*row, None) for row in rows):
        counts["documents"] += 1
        if not record["tokens"]:
            counts["empty"] += 1
        elif limits.max_tokens and record["tokens"] > limits.max_tokens:
            counts["too_long"] += 1
        elif other and (partner is None or partner["digest"] != record["digest"]):
            counts["unpaired"] += 1
        else:
            counts["eligible"] += 1
            yield _to_candidate(number, record, partner)


def read_entities(run: SelectedRun) -> Iterator[Mapping[str, Any]]:
    """Every entity of a run at or above its threshold."""
    for _, record in _read_rows(run):
        yield from gather_entities(record)


def _read_rows(run: SelectedRun) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the number of their slice, by source and position there."""
    places = sorted(
        range(len(run.files)), key=lambda at: (run.files[at][0].file.source, run.files[at][0].first_row, at)
    )
    for number in places:
        name = run.files[number][1]
        for table in read_batches(run.store, name) if name else ():
            taggers = find_taggers(table.column_names)
            wanted = {entity_column(tagger, is_below=is_below) for tagger in taggers for is_below in (False, True)}
            wanted |= {"id", "source", "row", "digest", "tokens"}
            kept = table.select([column for column in table.column_names if column in wanted])
            for record in kept.to_pylist():
                yield number, record


def _pair(
    rows: Iterator[tuple[int, dict[str, Any]]], others: Iterator[tuple[int, dict[str, Any]]]
) -> Iterator[tuple[int, dict[str, Any], dict[str, Any] | None]]:
    """Rows of a run, each with the row of another at the same place or None."""
    partner = next(others, (0, None))[1]
    for number, record in rows:
        place = record["source"], record["row"]
        while partner is not None and (partner["source"], partner["row"]) < place:
            partner = next(others, (0, None))[1]
        is_same = partner is not None and (partner["source"], partner["row"]) == place
        yield number, record, partner if is_same else None


def _to_candidate(number: int, record: Mapping[str, Any], partner: Mapping[str, Any] | None) -> Candidate:
    document = AnnotatedDocument(
        record["id"],
        record["source"],
        record["row"],
        record["digest"],
        tuple(gather_entities(record)),
        tuple(gather_entities(record, is_below=True)),
    )
    if partner is not None:
        readings: Sequence[Sequence[Mapping[str, Any]]] = [gather_entities(record), gather_entities(partner)]
    else:
        readings = [record[entity_column(tagger)] for tagger in find_taggers(record)]
    spans = (frozenset((each["start"], each["end"], each["label"]) for each in reading) for reading in readings)
    return Candidate(number, document, record["tokens"], tuple(spans))


def check_units(unit: str, other: str) -> None:
    """Refuses runs whose offsets cannot be compared.

    Raises:
      ConfigError: their units differ.
    """
    if unit != other:
        raise ConfigError(f"expected --other with the --offset-unit of RUN, {unit}, found {other}; annotate it again")
