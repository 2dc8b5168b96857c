"""An evaluation as a sum: blocks of documents in, one mergeable value out.

    block ─┬─ match ──> counts per document ──> counters and their bootstrap replicates
           ├─ overlaps, errors (only of documents that differ) ──> tallies, samples
           └─ mentions, scores ──> their own sums
                                            evaluation + evaluation = evaluation

Sums are of whole numbers and samples are chosen by rank, so that any split of the documents over workers and slices
gives the same value to the last bit, in memory that does not grow with the corpus.
"""

import dataclasses
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from transforms.scoring.calibration import ScoreHistogram, collect_scores
from transforms.scoring.errors import count_confusions, find_errors
from transforms.scoring.intervals import KeyArray, document_key, document_keys, resample
from transforms.scoring.matching import Span, SpanColumns, match_spans
from transforms.scoring.mentions import MentionColumns, Mentions, collect_mentions
from transforms.scoring.overlaps import MEASURES, OUTCOMES, count_label_overlaps, count_overlaps
from transforms.scoring.pairs import Document, PairBlock, Reading

Key = tuple[str, ...]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FOUND, SPURIOUS, MISSED = "found", "spurious", "missed"
KEPT_SAMPLES = {"error": 50, "worst": 20}
_KEPT_OTHERS = 100
_CONTEXT_CHARACTERS = 90
_MOST_GROUPS = 10_000
LENGTHS = ("document length in tokens", "entity length in tokens")
_ENTITY_LENGTHS = 5
# By the power of two that a length is at most.
_DOCUMENT_LENGTHS = (*["0 to 16"] * 5, *(f"{2**k + 1:,} to {2 ** (k + 1):,}" for k in range(4, 11)), "over 2,048")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is computed beside the scores.

    Attributes:
      n_replicates: bootstrap replicates; 0 for no intervals.
      groups: names of the columns in the documents' `groups`.
      by_source: whether scores are broken down by file.
      seen: mentions of the training data, as `surface` to its labels; None when it is not given.
    """

    n_replicates: int = 1000
    groups: tuple[str, ...] = ()
    by_source: bool = True
    seen: Mapping[str, frozenset[str]] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What is known of the documents so far; a commutative, associative sum.

    Attributes:
      counters: counts with replicates, by key: (mode, label, outcome), ("overlap", measure, outcome), ("tokens", ...).
      replicates: (n_replicates,) the same counts in each resample of the documents.
      tallies: counts without replicates.
      mentions: unique mentions.
      scores: histogram of scores of right and wrong entities; None when predictions have no scores.
      samples: by name, (rank, value) pairs with the lowest ranks, sorted.
    """

    counters: Mapping[Key, int]
    replicates: Mapping[Key, IntArray]
    tallies: Mapping[Key, int]
    mentions: Mentions
    scores: ScoreHistogram | None
    samples: Mapping[str, tuple[tuple[Any, Any], ...]]

    @classmethod
    def empty(cls, n_replicates: int) -> "Evaluation":
        """The evaluation of no documents."""
        return cls({}, {}, {}, Mentions.empty(n_replicates), None, {})

    def __add__(self, other: "Evaluation") -> "Evaluation":
        tallies = add_counts(self.tallies, other.tallies)
        _check_groups(tallies)
        names = self.samples.keys() | other.samples.keys()
        scores = [each for each in (self.scores, other.scores) if each is not None]
        return Evaluation(
            counters=add_counts(self.counters, other.counters),
            replicates=add_counts(self.replicates, other.replicates),
            tallies=tallies,
            mentions=self.mentions + other.mentions,
            scores=sum(scores, ScoreHistogram()) if scores else None,
            samples={name: _keep(name, [*self.samples.get(name, ()), *other.samples.get(name, ())]) for name in names},
        )


def evaluate_block(block: PairBlock, config: EvaluationConfig) -> Evaluation:
    """Gold and predicted entities of some documents to their evaluation.

    Raises:
      ConfigError: a column to break down by has too many values.
    """
    keys = document_keys(document.identity for document in block.documents)
    default = Matches(block.default, block)
    strict = default if block.strict is block.default else Matches(block.strict, block)
    explained = default if block.explained is block.default else strict
    differences = _Differences(block, explained)
    columns: dict[Key, IntArray] = {}
    for mode, matches in (("default", default), ("strict", strict)):
        columns |= {(mode, *key): column for key, column in matches.count_by_label().items()}
    columns |= differences.count_overlaps()
    if block.tokens is not None:
        columns |= {("tokens", "correct"): block.tokens[:, 0], ("tokens", "total"): block.tokens[:, 1]}
    counts = np.stack(list(columns.values()), axis=1) if columns else np.zeros((len(keys), 0), dtype=np.int64)
    replicates = resample(counts, keys, config.n_replicates) if config.n_replicates else np.empty((0, len(columns)))
    tallies: Counter[Key] = Counter({("count", name): count for name, count in block.counts.items() if count})
    tallies[("count", "documents")] += len(block.documents)
    tallies += differences.tallies
    surfaces = _cut_surfaces(block, block.explained.gold), _cut_surfaces(block, block.explained.predicted)
    tallies += _break_down(block, explained, surfaces, config)
    evaluation = Evaluation(
        counters={key: int(total) for key, total in zip(columns, counts.sum(axis=0), strict=True) if total},
        replicates={key: column for key, column in zip(columns, replicates.T, strict=True) if column.any()},
        tallies=dict(tallies),
        mentions=_collect_mentions(block, surfaces, keys, config.n_replicates),
        scores=_collect_scores(block, explained),
        samples={
            name: _keep(name, list(values))
            for name, values in (("error", differences.samples), ("worst", differences.worst), *block.listed.items())
            if values
        },
    )
    _check_groups(evaluation.tallies)
    return evaluation


class Matches:
    """Which spans of a reading agree."""

    def __init__(self, reading: Reading, block: PairBlock) -> None:
        self.reading = reading
        self._block = block
        self.gold_found, self.predicted_right = match_spans(reading.gold, reading.predicted)

    def count_by_label(self) -> dict[Key, IntArray]:
        """(label, outcome) to counts (n_documents,)."""
        gold, predicted = self.reading.gold, self.reading.predicted
        sides = (
            (FOUND, gold, self.gold_found),
            (SPURIOUS, predicted, ~self.predicted_right),
            (MISSED, gold, ~self.gold_found),
        )
        shape = (len(self._block.documents), len(self._block.labels))
        columns: dict[Key, IntArray] = {}
        for outcome, spans, chosen in sides:
            places = spans.document[chosen] * shape[1] + spans.label[chosen]
            counts = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
            columns |= {(label, outcome): counts[:, at] for at, label in enumerate(self._block.labels)}
        return columns


class _Differences:
    """What is told of documents whose sides differ, and counted without a look where they agree.

    Attributes:
      tallies: confusions, errors by kind, overlaps by label.
      samples: errors in context with their ranks.
      worst: documents with the most errors, with their ranks.
    """

    def __init__(self, block: PairBlock, matches: Matches) -> None:
        self._block = block
        self._reading = matches.reading
        n_documents = len(block.documents)
        self._n_gold = np.bincount(self._reading.gold.document, minlength=n_documents)
        self.tallies: Counter[Key] = Counter()
        self.samples: list[tuple[Any, Any]] = []
        self.worst: list[tuple[Any, Any]] = []
        is_odd = np.zeros(n_documents, dtype=bool)
        is_odd[self._reading.gold.document[~matches.gold_found]] = True
        is_odd[self._reading.predicted.document[~matches.predicted_right]] = True
        self._is_odd = is_odd
        self._count_agreements()
        self._overlaps = np.zeros((n_documents, len(MEASURES) * len(OUTCOMES)), dtype=np.int64)
        self._overlaps[:, :: len(OUTCOMES)] = np.where(is_odd, 0, self._n_gold)[:, None]
        errors: list[tuple[int, int, Any]] = []
        for document, gold, predicted in self._odd_documents():
            counts = count_overlaps(gold, predicted)
            self._overlaps[document] = list(itertools.chain.from_iterable(counts[measure] for measure in MEASURES))
            errors += self._explain(document, gold, predicted)
        self._sample(errors)

    def count_overlaps(self) -> dict[Key, IntArray]:
        """("overlap", measure, outcome) to counts (n_documents,)."""
        names = itertools.product(MEASURES, OUTCOMES)
        return {("overlap", measure, outcome): self._overlaps[:, at] for at, (measure, outcome) in enumerate(names)}

    def _count_agreements(self) -> None:
        gold = self._reading.gold
        agreed = np.bincount(gold.label[~self._is_odd[gold.document]], minlength=len(self._block.labels))
        for label, count in zip(self._block.labels, agreed.tolist(), strict=True):
            if count:
                self.tallies["confusion", label, label] += count
                for measure in MEASURES:
                    self.tallies["overlap", label, measure, "correct"] += count

    def _odd_documents(self) -> Iterator[tuple[int, list[Span], list[Span]]]:
        odd = np.flatnonzero(self._is_odd)
        sides = [_spans_of(spans, odd, self._block.labels) for spans in (self._reading.gold, self._reading.predicted)]
        yield from zip(odd.tolist(), *sides, strict=True)

    def _explain(self, document: int, gold: list[Span], predicted: list[Span]) -> list[tuple[int, int, Any]]:
        for label, counts in count_label_overlaps(gold, predicted).items():
            for measure in MEASURES:
                for outcome, count in zip(OUTCOMES, counts[measure], strict=True):
                    if count:
                        self.tallies["overlap", label, measure, outcome] += count
        errors = find_errors(gold, predicted)
        for (wanted, given), count in count_confusions(gold, errors).items():
            self.tallies["confusion", wanted, given] += count
        for error in errors:
            wanted, given = (span[2] if span else "O" for span in (error.gold, error.predicted))
            self.tallies["error", error.kind, given if error.gold is None else wanted] += 1
            self.tallies["confused", error.kind, wanted, given] += 1
        described = self._block.documents[document]
        kinds = Counter(error.kind for error in errors)
        row = {
            "id": described.id,
            "source": described.source,
            "row": described.row,
            "gold": len(gold),
            "predicted": len(predicted),
            "missed": kinds["missed"],
            "spurious": kinds["spurious"],
            "errors": len(errors),
        }
        self.worst.append(((-len(errors), described.id, described.row), row))
        return [
            (document_key(f"{described.identity} {described.row} {at}"), document, error)
            for at, error in enumerate(errors)
        ]

    def _sample(self, errors: Sequence[tuple[int, int, Any]]) -> None:
        """Keeps a sample of the errors, uniform because ranks are hashes, and cuts out their contexts."""
        for rank, document, error in heapq.nsmallest(KEPT_SAMPLES["error"], errors, key=lambda item: item[:2]):
            described = self._block.documents[document]
            sides = {"gold": error.gold, "predicted": error.predicted}
            spans = {side: self._describe(document, span) if span else None for side, span in sides.items()}
            text = self._block.texts.text(document)
            places = [(span["start"], span["end"]) for span in spans.values() if span]
            start = max(0, min(place[0] for place in places) - _CONTEXT_CHARACTERS)
            end = max(place[1] for place in places) + _CONTEXT_CHARACTERS
            if spans["predicted"] is not None:
                spans["predicted"]["score"] = self._score(document, error.predicted)
            sample = {"id": described.id, "source": described.source, "row": described.row, "kind": error.kind, **spans}
            self.samples.append(((rank, described.id), {**sample, "context": text[start:end], "context_start": start}))

    def _describe(self, document: int, span: Span) -> dict[str, Any]:
        start, end = self._block.texts.place(document, span[0], span[1])
        surface = self._block.texts.surface(document, span[0], span[1])
        return {"start": start, "end": end, "label": span[2], "text": surface}

    def _score(self, document: int, span: Span) -> float | None:
        if self._block.scores is None:
            return None
        spans = self._reading.predicted
        is_it = (spans.document == document) & (spans.first == span[0]) & (spans.last == span[1])
        is_it &= spans.label == self._block.labels.index(span[2])
        return float(self._block.scores[np.flatnonzero(is_it)[0]])


def _spans_of(spans: SpanColumns, documents: IntArray, labels: Sequence[str]) -> list[list[Span]]:
    """The spans of some documents, each document's sorted by position."""
    order = np.lexsort((spans.label, spans.last, spans.first, spans.document))
    first, last, label = (column[order].tolist() for column in (spans.first, spans.last, spans.label))
    begin, end = (np.searchsorted(spans.document[order], documents, side=side) for side in ("left", "right"))
    return [
        [(first[at], last[at], labels[label[at]]) for at in range(low, high)]
        for low, high in zip(begin.tolist(), end.tolist(), strict=True)
    ]


def _break_down(
    block: PairBlock, matches: Matches, surfaces: tuple[Sequence[str], Sequence[str]], config: EvaluationConfig
) -> Counter[Key]:
    """("by", dimension, value, outcome) to counts.

    Args:
      block: the documents.
      matches: which of their entities agree.
      surfaces: characters of the gold entities, and of the predicted ones.
      config: which dimensions there are.
    """
    tallies: Counter[Key] = Counter()
    about = list(zip(*(_document_groups(document, config) for document in block.documents), strict=True))
    gold, predicted = matches.reading.gold, matches.reading.predicted
    # A found entity is counted with gold.
    for outcome, spans, chosen, words in (
        (FOUND, gold, matches.gold_found, surfaces[0]),
        (MISSED, gold, ~matches.gold_found, surfaces[0]),
        (SPURIOUS, predicted, ~matches.predicted_right, surfaces[1]),
    ):
        places = np.flatnonzero(chosen)
        documents = spans.document[places]
        per_document = np.bincount(documents, minlength=len(block.documents)).tolist()
        for groups in about:
            for (dimension, value), count in zip(groups, per_document, strict=True):
                if count:
                    tallies["by", dimension, value, outcome] += count
        columns = (documents.tolist(), spans.first[places].tolist(), spans.last[places].tolist())
        lengths = (_length_group(block.texts.count_tokens(*span)) for span in zip(*columns, strict=True))
        for value, count in Counter(lengths).items():
            tallies["by", LENGTHS[1], value, outcome] += count
        if config.seen is not None:
            labels = (block.labels[label] for label in spans.label[places].tolist())
            pairs = zip((words[at] for at in places.tolist()), labels, strict=True)
            for value, count in Counter(_seen_group(*pair, config) for pair in pairs).items():
                tallies["by", "in the training data", value, outcome] += count
    return tallies


def _document_groups(document: Document, config: EvaluationConfig) -> Iterator[tuple[str, str]]:
    power = max(document.n_tokens - 1, 0).bit_length()
    yield LENGTHS[0], _DOCUMENT_LENGTHS[min(power, len(_DOCUMENT_LENGTHS) - 1)]
    if config.by_source:
        yield "source", document.source
    yield from zip(config.groups, document.groups, strict=True)


def _length_group(n_tokens: int) -> str:
    return str(n_tokens) if n_tokens < _ENTITY_LENGTHS else f"{_ENTITY_LENGTHS} or more"


def _seen_group(surface: str, label: str, config: EvaluationConfig) -> str:
    labels = (config.seen or {}).get(surface)
    if not labels:
        return "unseen"
    return "seen" if label in labels else "seen with another label"


def _collect_mentions(
    block: PairBlock, surfaces: tuple[Sequence[str], Sequence[str]], keys: KeyArray, n_replicates: int
) -> Mentions:
    reading = block.explained
    both = reading.gold.joined_with(reading.predicted)
    labels = [block.labels[label] for label in both.label.tolist()]
    is_gold = np.arange(len(both)) < len(reading.gold)
    columns = MentionColumns([*surfaces[0], *surfaces[1]], labels, is_gold, both.document)
    return collect_mentions(columns, keys, n_replicates)


def _cut_surfaces(block: PairBlock, spans: SpanColumns) -> list[str]:
    columns = (spans.document.tolist(), spans.first.tolist(), spans.last.tolist())
    return [block.texts.surface(*span) for span in zip(*columns, strict=True)]


def _collect_scores(block: PairBlock, matches: Matches) -> ScoreHistogram | None:
    """Scores of entities, those under their threshold included, against whether they are right."""
    if block.scores is None:
        return None
    spans, scores, is_right = matches.reading.predicted, block.scores, matches.predicted_right
    if block.below is not None and len(block.below[0]):
        spans = spans.joined_with(block.below[0])
        scores = np.concatenate([scores, block.below[1]])
        is_right = match_spans(matches.reading.gold, spans)[1]
    gold = np.bincount(matches.reading.gold.label, minlength=len(block.labels))
    return collect_scores(block.labels, spans.label, scores, is_right, gold)


def _keep(name: str, values: list[tuple[Any, Any]]) -> tuple[tuple[Any, Any], ...]:
    return tuple(heapq.nsmallest(KEPT_SAMPLES.get(name, _KEPT_OTHERS), values, key=lambda item: item[0]))


def add_counts(a: Mapping[Key, Any], b: Mapping[Key, Any]) -> dict[Key, Any]:
    """The sums of two mappings of counts, or of their replicates, key by key."""
    return {key: a[key] + b[key] if key in a and key in b else a.get(key, b.get(key)) for key in a.keys() | b.keys()}


def _check_groups(tallies: Mapping[Key, int]) -> None:
    if len(tallies) <= _MOST_GROUPS:
        return
    values = {key[1:3] for key in tallies if key[0] == "by"}
    for dimension, count in Counter(dimension for dimension, _ in values).items():
        if count > _MOST_GROUPS:
            raise ConfigError(
                f"expected at most {_MOST_GROUPS:,} values to break scores down by, found more in {dimension!r}; "
                "choose another column"
            )
