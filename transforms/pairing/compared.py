"""Annotations of two runs, joined by id, to blocks of documents that both annotated.

    rows of run A ──> table ─┐
    rows of run B ──> table ─┼─ same id ─> same text? ─> entities of both ──> block
    gold documents ─> table ─┴─ texts; and beside either run, as an evaluation joins them

A document that only one run holds, that became a dead letter, or that the runs read with another text is counted and
listed instead. Ids that occur more than once are joined where the texts agree, and then in order.
"""

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import ENTITY_TYPE
from schemas.labels import OUTSIDE
from transforms.pairing.joined import JoinConfig, digest_text, join_documents, to_code_points
from transforms.pairing.rows import conform, gather_column, read_batches
from transforms.scoring.comparison import SIDES, ComparedBlock, ComparedDocument, Entity
from transforms.scoring.matching import Span
from transforms.scoring.pairs import PairBlock
from transforms.storage.store import Store

ANNOTATED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("digest", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("entities", pa.list_(ENTITY_TYPE)),
    ]
)
"""`entities` is null for a document that became a dead letter; `text` is null unless the run's input was read again."""

_ORDER = [("source", "ascending"), ("row", "ascending")]


def read_annotated_rows(store: Store, name: str, *, unit: str) -> Iterator[pa.Table]:
    """An output file of a run, with a row per document, to tables of ANNOTATED_SCHEMA without texts.

    Args:
      store: the run's store.
      name: the file in it.
      unit: unit of the run's offsets.
    """
    for rows in read_batches(store, name):
        columns = {name: rows.column(name) for name in ("id", "source", "row", "digest")}
        columns["entities"] = gather_column(rows, is_below=False)
        if name.endswith(".jsonl"):
            # JSON tells the order of keys, and not what an empty list would hold.
            columns["entities"] = pa.array(columns["entities"].to_pylist(), pa.list_(ENTITY_TYPE))
        others = {"unit": pa.repeat(unit, rows.num_rows), "text": pa.nulls(rows.num_rows)}
        yield conform({**columns, **others}, ANNOTATED_SCHEMA)


def compare_documents(a: pa.Table, b: pa.Table, gold: pa.Table | None, config: JoinConfig) -> ComparedBlock:
    """Documents of both runs and of gold, complete with regard to their ids, to a block.

    Args:
      a: table of ANNOTATED_SCHEMA of run A.
      b: the same of run B.
      gold: table of GOLD_SCHEMA; None without gold.
      config: how gold is read; its label map is for both runs too.

    Raises:
      ConfigError: a run read another text than the gold document holds.
    """
    # What comes first decides where ids occur more than once; the order of arrival is up to the runner.
    a, b = (table.sort_by(_ORDER) for table in (a, b))
    notes = _Notes()
    known = None if gold is None else _Gold(gold.sort_by(_ORDER), a, b, config)
    if known:
        notes.take(known.blocks)
    sides = _Side(a, config.tags.label_map), _Side(b, config.tags.label_map)
    documents = []
    for at_a, at_b in _pair_rows(*sides, notes):
        key = sides[0].ids[at_a], sides[0].digests[at_a]
        text = known.texts.get(key) if known else None
        if text is None and sides[0].units[at_a] != sides[1].units[at_b]:
            notes.note("other_units", key[0])
            continue
        documents.append(
            ComparedDocument(
                id=key[0],
                source=sides[0].sources[at_a],
                row=sides[0].rows[at_a],
                a=sides[0].entities(at_a, text),
                b=sides[1].entities(at_b, text),
                text=text,
                gold=known.spans.get(key) if known else None,
            )
        )
    blocks = known.blocks if known else None
    return ComparedBlock(documents=tuple(documents), gold=blocks, counts=notes.counts, listed=notes.listed)


class _Gold:
    """The gold documents.

    Attributes:
      blocks: beside A and beside B.
      texts: by id and digest.
      spans: by id and digest, of those that are labelled.
    """

    def __init__(self, gold: pa.Table, a: pa.Table, b: pa.Table, config: JoinConfig) -> None:
        # Documents that gold does not have are none of its business.
        a, b = (table.filter(pc.is_in(table.column("id"), gold.column("id"))) for table in (a, b))
        self.blocks = join_documents(gold, a, config), join_documents(gold, b, config)
        ids, texts = (gold.column(name).to_pylist() for name in ("id", "text"))
        self.texts = {(id_, digest_text(text)): text for id_, text in zip(ids, texts, strict=True)}
        self.spans = _collect_spans(self.blocks[0])


class _Notes:
    """What was noticed: counts, and ids."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.listed: defaultdict[str, list[str]] = defaultdict(list)

    def note(self, name: str, id_: str) -> None:
        self.counts[name] += 1
        self.listed[name].append(id_)

    def take(self, blocks: Sequence[PairBlock]) -> None:
        """Takes over what was noticed of gold."""
        for name in ("unlabelled_documents", "gold invalid sequences"):
            self.counts[f"gold_{name.removeprefix('gold ').replace(' ', '_')}"] = blocks[0].counts.get(name, 0)
        for side, block in zip(SIDES, blocks, strict=True):
            for name, own in (("unmatched_gold", "unmatched"), ("dead_documents", "dead")):
                for _, id_ in block.listed.get(name, ()):
                    self.note(f"gold_{own}_{side}", id_)


class _Side:
    """The rows of a run as columns of Python values, of which the entities are put together when they are looked at."""

    def __init__(self, table: pa.Table, label_map: Mapping[str, str]) -> None:
        names = ("id", "source", "row", "digest", "unit")
        self.ids, self.sources, self.rows, self.digests, self.units = (table.column(name).to_pylist() for name in names)
        entities = table.column("entities").combine_chunks()
        self.is_dead = entities.is_null().to_pylist()
        lengths = np.asarray(entities.value_lengths().fill_null(0))
        self._bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        flat = entities.flatten()
        columns = {name: flat.field(name).to_pylist() for name in Entity._fields}
        columns["label"] = [label_map.get(label, label) for label in columns["label"]]
        self._columns = tuple(columns.values())

    def entities(self, row: int, text: str | None) -> tuple[Entity, ...]:
        """The entities of a row, in code points where the text is given."""
        begin, end = self._bounds[row : row + 2]
        found = list(map(Entity._make, zip(*(column[begin:end] for column in self._columns), strict=True)))
        if text is not None:
            spans = to_code_points(text, [(each.start, each.end, each.label) for each in found], self.units[row])
            found = [each._replace(start=span[0], end=span[1]) for each, span in zip(found, spans, strict=True)]
        return tuple(each for each in found if each.label != OUTSIDE)


def _pair_rows(a: _Side, b: _Side, notes: _Notes) -> Iterator[tuple[int, int]]:
    """The rows of documents that can be compared."""
    rows_a, rows_b = _group_by_id(a.ids), _group_by_id(b.ids)
    for id_ in sorted(rows_a.keys() | rows_b.keys()):
        mine, others = rows_a.get(id_, []), rows_b.get(id_, [])
        if len(mine) > 1 or len(others) > 1:
            notes.note("duplicate_ids", id_)
        for at_a, at_b in _pair_by_text(mine, others, a, b):
            dead = {
                side: at is not None and rows.is_dead[at]
                for side, rows, at in zip(SIDES, (a, b), (at_a, at_b), strict=True)
            }
            for side in SIDES:
                if dead[side]:
                    notes.note(f"dead_{side}", id_)
            if at_a is None or at_b is None:
                notes.note("only_a" if at_b is None else "only_b", id_)
            elif any(dead.values()):
                continue
            elif a.digests[at_a] != b.digests[at_b]:
                notes.note("other_texts", id_)
            else:
                yield at_a, at_b


def _group_by_id(ids: Sequence[str]) -> dict[str, list[int]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for at, id_ in enumerate(ids):
        groups[id_].append(at)
    return dict(groups)


def _pair_by_text(
    mine: Sequence[int], others: Sequence[int], a: _Side, b: _Side
) -> Iterator[tuple[int | None, int | None]]:
    """Rows of one id in pairs of the same text; then the rest as it comes, with None where one side has no more."""
    waiting: defaultdict[str | None, deque[int]] = defaultdict(deque)
    for at in others:
        waiting[b.digests[at]].append(at)
    alone = []
    for at in mine:
        if waiting[a.digests[at]]:
            yield at, waiting[a.digests[at]].popleft()
        else:
            alone.append(at)
    left = sorted(itertools.chain.from_iterable(waiting.values()))
    yield from itertools.zip_longest(alone, left)


def _collect_spans(block: PairBlock) -> dict[tuple[str, str], frozenset[Span]]:
    """Id and digest of the labelled gold documents to their spans."""
    spans: defaultdict[int, set[Span]] = defaultdict(set)
    gold = block.default.gold
    for at, first, last, label in zip(
        *(column.tolist() for column in (gold.document, gold.first, gold.last, gold.label)), strict=True
    ):
        spans[at].add((first, last, block.labels[label]))
    return {
        (document.id, digest_text(block.texts.text(at))): frozenset(spans[at])
        for at, document in enumerate(block.documents)
    }
