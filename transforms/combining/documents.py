"""The rows of several runs for one slice of their input, merged into the rows of one.

    run A  row 0, row 1, row 2, ...  ─┐
    run B  row 0,        row 2, ...  ─┼─ by row ─> same text? ─> claims ─> rule ─> a row, or a dead letter
    run C         row 1, row 2, ...  ─┘

Runs of the same files have their rows in the same order, however each of them cut the files into slices, so that they
are read side by side and nothing is sorted or held.
"""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.annotations import annotation_schema, entity_column
from schemas.dead_letters import count_letters, dead_letter
from schemas.errors import RecordError, StorageError
from schemas.labels import OUTSIDE
from schemas.receipts import LENGTH_BINS, SCORE_BINS, Receipt, Tally
from schemas.slices import Slice
from schemas.tables import SLICE_SCHEMA, Rows, SliceTable
from transforms.combining.ballots import Electorate, Result, Verdict, gather_claims, settle_overlaps
from transforms.combining.rules import RULES
from transforms.models.annotator import AnnotatedPart
from transforms.scoring.comparison import Entity
from transforms.storage.annotations import read_letters, read_records
from transforms.storage.commits import read_receipt
from transforms.storage.store import Store

AGREEMENT, VOTERS = "agreement", "voters"
"""Columns of a combined run beside those of any: of each entity the share of the voters that found it, and of each
document how many voters had it."""

_PART_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Voter:
    """A tagger of a run.

    Attributes:
      name: what it is called.
      run: position of its run.
      tagger: its name in the run; empty where it is the only one.
      weight: its weight, for rules that take weights.
    """

    name: str
    run: int
    tagger: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CombineConfig:
    """How voters become one.

    Attributes:
      voters: who votes, in order.
      rule: name of the rule.
      settings: settings of the rule.
      label_map: what labels are called; `O` for one that is left out.
      keep_below: keep the spans that were not chosen in a second column, `below`.
      model: digest of voters and rule, for the `model` column.
    """

    voters: tuple[Voter, ...]
    rule: str
    settings: Any
    label_map: Mapping[str, str]
    keep_below: bool
    model: str

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows: that of a run with one tagger, and the two columns of a combined one."""
        others = [
            pa.field(AGREEMENT, pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False),
            pa.field(VOTERS, pa.int32(), nullable=False),
        ]
        return annotation_schema(others, has_below=self.keep_below)


@dataclasses.dataclass(frozen=True)
class SharedSlice:
    """A slice of the input, and where each run has its rows.

    Attributes:
      slice_: the slice.
      parts: for each run, ids of its slices that hold rows of this one, in order; none where it has not read the file.
    """

    slice_: Slice
    parts: tuple[tuple[str, ...], ...]


class SharedTable(Rows[SharedSlice]):
    """Shared slices by the columns of their slice, and their parts."""

    row = SharedSlice
    schema = pa.schema([*SLICE_SCHEMA, pa.field("parts", pa.list_(pa.list_(pa.string())))])

    @staticmethod
    def to_values(row: SharedSlice) -> tuple[Any, ...]:
        """See Rows."""
        return *SliceTable.to_values(row.slice_), row.parts

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[SharedSlice]:
        """See Rows."""
        *cut, parts = columns
        return map(SharedSlice, SliceTable.from_columns(cut), (tuple(map(tuple, each)) for each in parts))


def combine_slice(shared: SharedSlice, stores: Sequence[Store], config: CombineConfig) -> Iterator[AnnotatedPart]:
    """A slice to what the runs' voters make of its documents, in bounded parts.

    Args:
      shared: the slice.
      stores: the stores of the runs.
      config: how voters become one.

    Raises:
      StorageError: a run lost a file, or its rows are not what it committed.
    """
    slice_ = shared.slice_
    runs = [_RunRows(store, ids, slice_) for store, ids in zip(stores, shared.parts, strict=True)]
    rows = range(slice_.first_row, slice_.first_row + slice_.rows)
    combiner = _Combiner(config)
    is_file_lost = not slice_.rows
    for begin in range(0, slice_.rows, _PART_ROWS):
        started = time.perf_counter()
        part = _PartBuilder(config)
        for row in rows[begin : begin + _PART_ROWS]:
            records = {at: record for at, run in enumerate(runs) if (record := run.take(row))}
            if not records:
                letter = _find_letter(runs, row)
                is_file_lost |= letter is None
                part.lose(letter)
            elif (other := _find_other_text(records)) is not None:
                part.lose(_refuse_text(records, config.voters, other))
            else:
                part.add(next(iter(records.values())), combiner.combine(records))
        yield part.build(time.perf_counter() - started)
    for run in runs:
        run.check_end()
    # A letter about a file stands for the rows that have none of their own.
    if is_file_lost and (letter := _find_letter(runs, None)):
        yield AnnotatedPart(config.schema.empty_table(), (letter,), Tally(dead=count_letters([letter])))


class _RunRows:
    """The rows of a run for a slice, taken in rising order."""

    def __init__(self, store: Store, slice_ids: Sequence[str], slice_: Slice) -> None:
        self._store = store
        self._receipts = [_read_receipt(store, slice_id) for slice_id in slice_ids]
        rows = range(slice_.first_row, slice_.first_row + slice_.rows)
        self._records = itertools.chain.from_iterable(
            read_records(store, receipt, rows=rows) for receipt in self._receipts
        )
        self._next = next(self._records, None)
        self._letters: dict[int | None, dict[str, Any]] | None = None

    def take(self, row: int) -> dict[str, Any] | None:
        """The record of a row, or None where the run has none."""
        if self._next is None or self._next["row"] != row:
            return None
        record, self._next = self._next, next(self._records, None)
        return record

    def find_letter(self, row: int | None) -> dict[str, Any] | None:
        """The dead letter about a row, or about the whole file for None."""
        if self._letters is None:
            letters = [letter for receipt in self._receipts for letter in read_letters(self._store, receipt)]
            self._letters = {letter["row"]: letter for letter in letters}
        return self._letters.get(row)

    def check_end(self) -> None:
        """Makes sure that every record was taken.

        Raises:
          StorageError: one was not, since the run's rows are not in order.
        """
        if self._next is not None:
            raise StorageError(f"expected rows in order in a run to combine, found row {self._next['row']} left over")


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What became of a document.

    Attributes:
      result: its spans.
      n_voters: how many voters have it.
      counts: what there is to count.
    """

    result: Result
    n_voters: int
    counts: Counter[str]


class _Combiner:
    """Puts the question of a document to those voters that have it."""

    def __init__(self, config: CombineConfig) -> None:
        self._config = config
        self._rule = RULES[config.rule]
        self._weights = tuple(Fraction(str(voter.weight)) for voter in config.voters)

    def combine(self, records: Mapping[int, Mapping[str, Any]]) -> _Outcome:
        """Asks the voters; takes the records of a document by run."""
        counts: Counter[str] = Counter()
        ballots = {}
        for at, voter in enumerate(self._config.voters):
            if voter.run not in records:
                counts[f"documents missing/{voter.name}"] += 1
                continue
            ballots[at] = list(self._read_ballot(records[voter.run], voter.tagger))
            counts[f"spans given/{voter.name}"] += len(ballots[at])
        electorate = Electorate(tuple(ballots), self._weights)
        result = settle_overlaps(self._rule.judge(self._config.settings, gather_claims(ballots), electorate))
        for kind, verdicts in vars(result).items():
            for verdict in verdicts:
                counts[f"spans {kind}/{len(verdict.claim.scores)} of {len(ballots)}"] += 1
        return _Outcome(result, len(ballots), counts)

    def _read_ballot(self, record: Mapping[str, Any], tagger: str) -> Iterator[Entity]:
        for entity in record[entity_column(tagger)]:
            label = self._config.label_map.get(entity["label"], entity["label"])
            if label != OUTSIDE:
                yield Entity(entity["start"], entity["end"], label, entity["score"], entity["text"])


class _PartBuilder:
    """Collects the rows and the dead letters of a part."""

    def __init__(self, config: CombineConfig) -> None:
        self._config = config
        self._rows: list[dict[str, Any]] = []
        self._verdicts: dict[bool, list[Verdict]] = {True: [], False: []}
        self._letters: list[dict[str, Any]] = []
        self._n_lost = 0
        self._counts: Counter[str] = Counter()

    def add(self, record: Mapping[str, Any], outcome: _Outcome) -> None:
        """Takes a document, as the first run that has it wrote it, and what became of it."""
        result = outcome.result
        rest = sorted((*result.overlapped, *result.outvoted), key=lambda verdict: verdict.place)
        self._verdicts[True] += result.kept
        self._verdicts[False] += rest
        self._counts += outcome.counts
        columns = {name: record[name] for name in ("id", "source", "row", "digest", "windows", "tokens")}
        self._rows.append(
            {
                **columns,
                "entities": [verdict.to_entity()._asdict() for verdict in result.kept],
                "below": [verdict.to_entity()._asdict() for verdict in rest],
                "model": self._config.model,
                AGREEMENT: [verdict.agreement for verdict in result.kept],
                VOTERS: outcome.n_voters,
            }
        )

    def lose(self, letter: dict[str, Any] | None) -> None:
        """Takes a document that has no row, with its own dead letter if it has one."""
        self._n_lost += 1
        self._letters += [letter] if letter else []

    def build(self, seconds: float) -> AnnotatedPart:
        """The part."""
        tokens = np.array([row["tokens"] for row in self._rows], dtype=np.int64)
        lengths = np.minimum(np.ceil(np.log2(tokens + 1)).astype(int), LENGTH_BINS - 1)
        below = self._verdicts[False] if self._config.keep_below else []
        tally = Tally(
            documents=len(self._rows),
            dead=count_letters(self._letters),
            dead_rows=self._n_lost,
            entities=_count_labels(self._verdicts[True]),
            below=_count_labels(below),
            scores=_count_scores([*self._verdicts[True], *below]),
            lengths=tuple(np.bincount(lengths, minlength=LENGTH_BINS).tolist()),
            tokens=int(tokens.sum()),
            windows=sum(row["windows"] for row in self._rows),
            seconds={"combine": seconds},
            counts=dict(self._counts),
        )
        table = pa.Table.from_pylist(self._rows, schema=self._config.schema)
        return AnnotatedPart(table, tuple(self._letters), tally)


def _read_receipt(store: Store, slice_id: str) -> Receipt:
    receipt = read_receipt(store, slice_id)
    if receipt is None:
        raise StorageError(f"expected slice {slice_id} in a run to combine, found it taken back; run annotate again")
    return receipt


def _refuse_text(records: Mapping[int, Mapping[str, Any]], voters: Sequence[Voter], other: int) -> dict[str, Any]:
    """A dead letter for a document that runs read with different texts."""
    first = next(iter(records))
    names = [next(voter.name for voter in voters if voter.run == at) for at in (first, other)]
    record = records[first]
    error = RecordError("other_text", f"expected the text that {names[0]!r} annotated, found another in {names[1]!r}")
    letter = dead_letter(record["source"], error, stage="combine", row=record["row"], document_id=record["id"])
    return {**letter, "digest": record["digest"]}


def _find_letter(runs: Sequence[_RunRows], row: int | None) -> dict[str, Any] | None:
    """The dead letter of the first run that has one about a row, or about the whole file for None."""
    return next((letter for run in runs if (letter := run.find_letter(row))), None)


def _find_other_text(records: Mapping[int, Mapping[str, Any]]) -> int | None:
    """The first run, of those with a record, that read another text than the first of them."""
    first = next(iter(records.values()))
    return next((at for at, record in records.items() if record["digest"] != first["digest"]), None)


def _count_labels(verdicts: Iterable[Verdict]) -> dict[str, int]:
    return dict(sorted(Counter(verdict.claim.label for verdict in verdicts).items()))


def _count_scores(verdicts: Iterable[Verdict]) -> dict[str, list[int]]:
    """Histograms of scores by label."""
    scores: dict[str, list[int]] = {}
    for verdict in verdicts:
        bins = scores.setdefault(verdict.claim.label, [0] * SCORE_BINS)
        bins[min(int(verdict.score * SCORE_BINS), SCORE_BINS - 1)] += 1
    return dict(sorted(scores.items()))
