"""Two runs over the same documents as a sum: what changed from A to B, and which of them gold prefers.

    block ─┬─ documents of both runs ──> changes ──> tallies, samples
           └─ gold beside either run ──> matches ──> counters, and their bootstrap replicates in pairs
                                           comparison + comparison = comparison

Gold documents draw the same weights for A and for B, which makes the bootstrap a paired one. As with evaluations, sums
are of whole numbers and samples are chosen by rank: any split of the documents gives the same value to the last bit.
"""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.scoring.averages import Prf
from transforms.scoring.errors import SpanError, find_errors
from transforms.scoring.evaluation import Key, Matches, add_counts
from transforms.scoring.intervals import document_key, document_keys, resample
from transforms.scoring.matching import Span
from transforms.scoring.pairs import PairBlock
from transforms.scoring.results import exact_scores
from transforms.scoring.significance import difference, mcnemar

IntArray = npt.NDArray[np.int64]

REPORT_VERSION = 1
LEVEL = 0.95
SIDES = ("a", "b")
CHANGES = {"spurious": "added", "missed": "removed", "label": "relabelled", "boundary": "moved", "both": "both"}
"""What an error is called when A stands for gold and B for the prediction."""
UNCHANGED = "unchanged"
FOUND_BY = ("neither", "only_b", "only_a", "both")
"""Which runs found a gold entity, by 2 * (A did) + (B did)."""

_MEASURES = ("precision", "recall", "f1")
_COUNTS = ("only_a", "only_b", "dead_a", "dead_b", "other_texts", "other_units", "duplicate_ids")
_GOLD_LISTED = ("unmatched_a", "unmatched_b", "dead_a", "dead_b")
_GOLD_COUNTS = (*_GOLD_LISTED, "unlabelled_documents", "invalid_sequences")
_KEPT = {"change": 50, "document": 20}
_KEPT_OTHERS = 100
_MOST_RELABELLINGS = 20
_CONTEXT_CHARACTERS = 90


class Entity(NamedTuple):
    """An entity of a run; `text` is its surface, as the run wrote it."""

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclasses.dataclass(frozen=True)
class ComparedDocument:
    """A document that both runs read with the same text.

    Attributes:
      id: its id.
      source: the file that A read it from.
      row: its position there, from 0.
      a: entities of A.
      b: entities of B, in the same unit.
      text: the text, where gold has it; offsets are in its code points then.
      gold: its gold spans; None where nobody labelled it.
    """

    id: str
    source: str
    row: int
    a: tuple[Entity, ...]
    b: tuple[Entity, ...]
    text: str | None = None
    gold: frozenset[Span] | None = None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ComparedBlock:
    """Some documents as both runs annotated them.

    Attributes:
      documents: those that can be compared.
      gold: the labelled gold documents beside A and beside B, the same ones in the same order; None without gold.
      counts: what was noticed on the way, by name.
      listed: ids for that, by name.
    """

    documents: tuple[ComparedDocument, ...]
    gold: tuple[PairBlock, PairBlock] | None = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    listed: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """What is known of the documents so far; a commutative, associative sum.

    Attributes:
      counters: counts on gold, by (side, label, outcome), as an evaluation has them.
      replicates: (n_replicates,) the same counts in each resample of the gold documents.
      tallies: counts without replicates.
      samples: by name, (rank, value) pairs with the lowest ranks, sorted.
    """

    counters: Mapping[Key, int]
    replicates: Mapping[Key, IntArray]
    tallies: Mapping[Key, int]
    samples: Mapping[str, tuple[tuple[Any, Any], ...]]

    @classmethod
    def empty(cls) -> "Comparison":
        """The comparison of no documents."""
        return cls({}, {}, {}, {})

    def __add__(self, other: "Comparison") -> "Comparison":
        names = self.samples.keys() | other.samples.keys()
        return Comparison(
            counters=add_counts(self.counters, other.counters),
            replicates=add_counts(self.replicates, other.replicates),
            tallies=add_counts(self.tallies, other.tallies),
            samples={name: _keep(name, [*self.samples.get(name, ()), *other.samples.get(name, ())]) for name in names},
        )


def compare_block(block: ComparedBlock, n_replicates: int) -> Comparison:
    """Some documents as both runs annotated them to their comparison.

    Args:
      block: the documents.
      n_replicates: bootstrap replicates of what is counted on gold; 0 for none.
    """
    changes = _Changes()
    for document in block.documents:
        changes.add(document)
    tallies = changes.tallies + Counter({("count", name): count for name, count in block.counts.items()})
    counters: dict[Key, int] = {}
    replicates: dict[Key, IntArray] = {}
    if block.gold:
        counters, replicates = _count_matches(block.gold, n_replicates)
        tallies += _count_finders(block.gold)
        tallies["gold", "documents"] += len(block.gold[0].documents)
    listed = {name: [((id_,), id_) for id_ in ids] for name, ids in block.listed.items()}
    samples = {"change": changes.sample(), "document": changes.documents, **listed}
    return Comparison(
        counters=counters,
        replicates=replicates,
        tallies=dict(tallies),
        samples={name: _keep(name, values) for name, values in samples.items() if values},
    )


def summarise_comparison(comparison: Comparison, *, has_gold: bool) -> dict[str, Any]:
    """A comparison in, its report out, but for names, settings, versions, seconds and the verdict in words.

        report_version   1
        kind             "comparison"
        counts           documents (compared), changed_documents; entities: {a, b} of these documents; only_a, only_b,
                         dead_a, dead_b (dead letters), other_texts (read with another text), other_units (offsets in
                         two units and no gold text to tell them apart), duplicate_ids
        listed           the ids behind the last seven of them, at most 100 each
        changes          added, removed, relabelled, moved, both, unchanged -> label -> entities; B's label where an
                         entity was added, else A's
        relabellings     [{a, b, kind, count}], labels in A and in B, most frequent first, at most 20
        documents        [{id, source, row, a, b, added, removed, relabelled, moved, both, changes}], `a` and `b` being
                         numbers of entities, those with the most changes first, at most 20
        samples          [{id, source, row, kind, a, b, context, context_start}], at most 50 changes, each as likely as
                         any other; `a` and `b` are {start, end, label, text, score, is_right} or null, is_right null
                         without gold; where the gold text is known, `context` is a piece of it that begins at
                         context_start, and offsets are in its code points, else both are null and offsets as written
        gold             null, or:
          counts         documents, entities, unmatched_a, unmatched_b, dead_a, dead_b, unlabelled_documents,
                         invalid_sequences
          listed         the ids behind unmatched_a, unmatched_b, dead_a and dead_b, at most 100 each
          level          of the intervals, such as 0.95
          replicates     how many the intervals are made of
          micro          a, b: {precision, recall, f1, support}
                         difference: precision, recall and f1 -> {value, low, high, p_value}, B minus A; the last three
                         null without replicates
                         found: gold entities by who found them: {both, only_a, only_b, neither, p_value (McNemar)}
          labels         label -> the same
          better         "a" or "b" where the interval of the difference of F1 lies on one side of 0, else null

    Args:
      comparison: of all documents.
      has_gold: whether gold was given.
    """
    changes: dict[str, dict[str, int]] = {kind: {} for kind in (*CHANGES.values(), UNCHANGED)}
    for key, count in sorted(comparison.tallies.items()):
        if key[0] == "change":
            changes[key[1]][key[2]] = count
    return {
        "report_version": REPORT_VERSION,
        "kind": "comparison",
        "counts": {
            "documents": comparison.tallies.get(("count", "documents"), 0),
            "changed_documents": comparison.tallies.get(("count", "changed_documents"), 0),
            "entities": {side: comparison.tallies.get(("count", f"entities_{side}"), 0) for side in SIDES},
            **{name: comparison.tallies.get(("count", name), 0) for name in _COUNTS},
        },
        "listed": {name: _values(comparison, name) for name in _COUNTS},
        "changes": changes,
        "relabellings": _rank_relabellings(comparison),
        "documents": _values(comparison, "document"),
        "samples": _values(comparison, "change"),
        "gold": _summarise_gold(comparison) if has_gold else None,
    }


class _Changes:
    """What is told of the documents of a block, one after the other.

    Attributes:
      tallies: documents, changes by kind and label, changes from label to label.
      documents: the changed documents with their ranks.
    """

    def __init__(self) -> None:
        self.tallies: Counter[Key] = Counter()
        self.documents: list[tuple[Any, Any]] = []
        self._changes: list[tuple[tuple[int, str], ComparedDocument, SpanError]] = []

    def add(self, document: ComparedDocument) -> None:
        """Counts a document."""
        a, b = ([entity[:3] for entity in entities] for entities in (document.a, document.b))
        errors = find_errors(a, b) if a != b else []
        for name, count in (("documents", 1), ("changed_documents", bool(errors))):
            self.tallies["count", name] += count
        for side, spans in zip(SIDES, (a, b), strict=True):
            self.tallies["count", f"entities_{side}"] += len(spans)
        unchanged = Counter(label for _, _, label in a)
        unchanged.subtract(error.gold[2] for error in errors if error.gold)
        for label, count in unchanged.items():
            if count:
                self.tallies["change", UNCHANGED, label] += count
        if errors:
            self._add_changes(document, errors)

    def sample(self) -> list[tuple[Any, Any]]:
        """Some changes with their ranks, uniform because ranks are hashes, as people want to see them."""
        chosen = heapq.nsmallest(_KEPT["change"], self._changes, key=lambda item: item[0])
        return [(rank, _describe(document, error)) for rank, document, error in chosen]

    def _add_changes(self, document: ComparedDocument, errors: Sequence[SpanError]) -> None:
        kinds = Counter(CHANGES[error.kind] for error in errors)
        row = {
            "id": document.id,
            "source": document.source,
            "row": document.row,
            "a": len(document.a),
            "b": len(document.b),
            **{kind: kinds[kind] for kind in CHANGES.values()},
            "changes": len(errors),
        }
        self.documents.append(((-len(errors), document.id, document.source, document.row), row))
        for at, error in enumerate(errors):
            kind = CHANGES[error.kind]
            labels = [span[2] for span in (error.gold, error.predicted) if span]
            self.tallies["change", kind, labels[0]] += 1
            if len(set(labels)) > 1:
                before, after = labels
                self.tallies["relabelling", before, after, kind] += 1
            identity = f"{document.id} {document.source} {document.row} {at}"
            self._changes.append(((document_key(identity), identity), document, error))


def _describe(document: ComparedDocument, error: SpanError) -> dict[str, Any]:
    spans = {"a": error.gold, "b": error.predicted}
    start = end = None
    if document.text is not None:
        places = [span for span in spans.values() if span]
        start = max(0, min(span[0] for span in places) - _CONTEXT_CHARACTERS)
        end = max(span[1] for span in places) + _CONTEXT_CHARACTERS
    return {
        "id": document.id,
        "source": document.source,
        "row": document.row,
        "kind": CHANGES[error.kind],
        **{side: span and _describe_side(document, side, span) for side, span in spans.items()},
        "context": None if document.text is None else document.text[start:end],
        "context_start": start,
    }


def _describe_side(document: ComparedDocument, side: str, span: Span) -> dict[str, Any]:
    entities: tuple[Entity, ...] = getattr(document, side)
    entity = next(entity for entity in entities if entity[:3] == span)
    return {**entity._asdict(), "is_right": None if document.gold is None else span in document.gold}


def _count_matches(
    blocks: tuple[PairBlock, PairBlock], n_replicates: int
) -> tuple[dict[Key, int], dict[Key, IntArray]]:
    """(side, label, outcome) to counts, and to their replicates; a document weighs the same on both sides."""
    keys = document_keys(document.identity for document in blocks[0].documents)
    columns: dict[Key, IntArray] = {}
    for side, block in zip(SIDES, blocks, strict=True):
        by_label = Matches(block.default, block).count_by_label()
        columns |= {(side, *key): column for key, column in by_label.items()}
    if not columns:
        return {}, {}
    counts = np.stack(list(columns.values()), axis=1)
    replicates = resample(counts, keys, n_replicates)
    return (
        {key: int(total) for key, total in zip(columns, counts.sum(axis=0), strict=True) if total},
        {key: column for key, column in zip(columns, replicates.T, strict=True) if column.any()},
    )


def _count_finders(blocks: tuple[PairBlock, PairBlock]) -> Counter[Key]:
    """("found", label, one of FOUND_BY) to gold entities."""
    found_a, found_b = (Matches(block.default, block).gold_found for block in blocks)
    gold, labels = blocks[0].default.gold, blocks[0].labels
    finders = (2 * found_a + found_b).tolist()
    return Counter(
        ("found", labels[label], FOUND_BY[finder]) for label, finder in zip(gold.label.tolist(), finders, strict=True)
    )


def _rank_relabellings(comparison: Comparison) -> list[dict[str, Any]]:
    counts = {key[1:]: count for key, count in comparison.tallies.items() if key[0] == "relabelling"}
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"a": before, "b": after, "kind": kind, "count": count}
        for (before, after, kind), count in ranked[:_MOST_RELABELLINGS]
    ]


def _summarise_gold(comparison: Comparison) -> dict[str, Any]:
    contrast = _Contrast(comparison)
    micro = contrast.describe("micro", contrast.labels)
    low, high = (micro["difference"]["f1"][name] for name in ("low", "high"))
    return {
        "counts": {
            "documents": comparison.tallies.get(("gold", "documents"), 0),
            "entities": micro["a"]["support"],
            **{name: comparison.tallies.get(("count", f"gold_{name}"), 0) for name in _GOLD_COUNTS},
        },
        "listed": {name: _values(comparison, f"gold_{name}") for name in _GOLD_LISTED},
        "level": LEVEL,
        "replicates": contrast.n_replicates,
        "micro": micro,
        "labels": {label: contrast.describe(f"labels.{label}", [label]) for label in contrast.labels},
        "better": None if low is None else "b" if low > 0 else "a" if high < 0 else None,
    }


class _Contrast:
    """Scores of both runs and how they differ.

    Attributes:
      labels: every label of gold or of a run, sorted.
      n_replicates: bootstrap replicates; 0 also where there was nothing to count.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.labels = sorted({key[1] for key in comparison.counters})
        self.n_replicates = len(next(iter(comparison.replicates.values()), ()))
        self._tallies = comparison.tallies
        self._scores, self._replicates = (
            {side: dict(exact_scores(counts, side, self.labels)) for side in SIDES}
            for counts in (comparison.counters, comparison.replicates)
        )

    def describe(self, name: str, labels: Sequence[str]) -> dict[str, Any]:
        """A score's name in `exact_scores` and the labels it is about in; what the report says of it out."""
        scores = {side: self._scores[side][name] for side in SIDES}
        found = {
            finder: sum(self._tallies.get(("found", label, finder), 0) for label in labels)
            for finder in reversed(FOUND_BY)
        }
        return {
            **{side: _to_values(score) for side, score in scores.items()},
            "difference": {measure: self._subtract(name, measure) for measure in _MEASURES},
            "found": {**found, "p_value": mcnemar(found["only_a"], found["only_b"])},
        }

    def _subtract(self, name: str, measure: str) -> dict[str, float | None]:
        a, b = (float(getattr(self._scores[side][name], measure)) for side in SIDES)
        if not self.n_replicates:
            return {"value": b - a, "low": None, "high": None, "p_value": None}
        first, second = (getattr(self._replicates[side][name], measure) for side in SIDES)
        return {"value": b - a, **dataclasses.asdict(difference(first, second, LEVEL))}


def _to_values(scores: Prf) -> dict[str, Any]:
    return {**{name: float(getattr(scores, name)) for name in _MEASURES}, "support": int(scores.support)}


def _values(comparison: Comparison, name: str) -> list[Any]:
    return [value for _, value in comparison.samples.get(name, ())]


def _keep(name: str, values: list[tuple[Any, Any]]) -> tuple[tuple[Any, Any], ...]:
    return tuple(heapq.nsmallest(_KEPT.get(name, _KEPT_OTHERS), values, key=lambda item: item[0]))
