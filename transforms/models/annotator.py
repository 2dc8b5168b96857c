"""Documents to annotations: a table in, a table out, with the dead letters and counts of what lay between."""

import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.annotations import (
    ADAPTER_FIELD,
    ENTITY_TYPE,
    PROBABILITIES_FIELD,
    annotation_schema,
    entity_column,
    join_label,
)
from schemas.calibration import Calibrator, Thresholds
from schemas.dead_letters import Imprint, count_letters, dead_letter
from schemas.documents import find_kept, kept_column
from schemas.errors import ConfigError, RecordError
from schemas.receipts import LENGTH_BINS, SCORE_BINS, Tally
from schemas.settings import check_types
from schemas.sketches import FormSketch
from transforms.models.gathering import gather_taggings
from transforms.models.tagger import FloatArray, Tagger, Tagging
from transforms.reuse.recall import Recall
from transforms.scoring.calibration import calibrate_scores
from transforms.scoring.matching import count_matches
from transforms.text.offsets import OFFSET_UNITS, convert_offsets


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntityConfig:
    """Which entities are written, and how.

    Attributes:
      threshold: least score of an entity.
      label_thresholds: the same for single labels, as (label, threshold).
      thresholds: the same by label, for a wanted precision; those in `label_thresholds` win. No entity is written of a
        label that cannot reach it.
      calibrator: what scores pass through before they are compared with thresholds and written.
      keep_below: keep the entities under their threshold in a second column, `below`.
      offset_unit: codepoint, utf8 or utf16.
      max_document_bytes: a longer text is a dead letter.
    """

    threshold: float = 0.0
    label_thresholds: tuple[tuple[str, float], ...] = ()
    thresholds: Thresholds | None = None
    calibrator: Calibrator | None = None
    keep_below: bool = False
    offset_unit: str = "codepoint"
    max_document_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        check_types(self)
        for label, value in (("", self.threshold), *self.label_thresholds):
            if not 0 <= value <= 1:
                of = f" of {label}" if label else ""
                raise ConfigError(f"expected a threshold{of} between 0 and 1, found {value}")
        if self.offset_unit not in OFFSET_UNITS:
            raise ConfigError(f"expected the offset unit to be one of {OFFSET_UNITS}, found {self.offset_unit!r}")
        if self.max_document_bytes < 1:
            raise ConfigError(f"expected a limit of 1 byte or more for documents, found {self.max_document_bytes}")
        given = self.calibrator.digest if self.calibrator else ""
        if self.thresholds and self.thresholds.calibrator != given:
            found = self.thresholds.calibrator
            raise ConfigError(
                f"expected thresholds that were chosen on scores of {_name_calibrator(given)}, found some of "
                f"{_name_calibrator(found)}; give the calibrator that they go with, or choose them anew"
            )

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name; the calibrator by its digest."""
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        thresholds, calibrator = settings.pop("thresholds"), settings.pop("calibrator")
        # Runs without the two keep the fingerprint that they had before there were any.
        if thresholds:
            settings["thresholds"] = dict(thresholds.labels)
        if calibrator:
            settings["calibrator"] = calibrator.digest
        return settings

    def threshold_of(self, label: str) -> float:
        """The least score of an entity of a label; infinite where none is written."""
        wanted: dict[str, float | None] = {
            **(self.thresholds.labels if self.thresholds else {}),
            **dict(self.label_thresholds),
        }
        threshold = wanted.get(label, self.threshold)
        return math.inf if threshold is None else threshold


@dataclasses.dataclass(frozen=True)
class AnnotatedPart:
    """A part of a slice, annotated.

    Attributes:
      annotations: a row per document (see schemas.annotations).
      rejects: dead letters of the documents that failed.
      tally: counts of both.
    """

    annotations: pa.Table
    rejects: tuple[dict[str, object], ...]
    tally: Tally


class Annotator:
    """Annotates tables of documents with one tagger.

    Args:
      tagger: the model.
      config: which entities are written.
      model: digest of the model, for the `model` column.
      recall: an earlier run, whose texts the tagger is spared.

    Raises:
      ConfigError: a threshold or curve is given for a label that the tagger does not know.
    """

    def __init__(self, tagger: Tagger, config: EntityConfig, *, model: str, recall: Recall | None = None) -> None:
        self._tagger = tagger
        self._recall = recall
        self._config = config
        self._model = model
        check_labels(config, tagger.labels)
        self._thresholds = np.array([config.threshold_of(label) for label in tagger.labels], dtype=np.float32)
        owners = [label.partition("/")[0] if any(tagger.names) else "" for label in tagger.labels]
        self._owner = np.array([tagger.names.index(owner) for owner in owners], dtype=np.int64)
        self._written = tuple(
            label.removeprefix(join_label(owner, "")) for owner, label in zip(owners, tagger.labels, strict=True)
        )

    def annotate(
        self, documents: pa.Table, *, source: str, failures: Mapping[int, RecordError] | None = None
    ) -> AnnotatedPart:
        """Documents of one file to annotations.

        Args:
          documents: see schemas.documents.
          source: the file, for the `source` column.
          failures: documents that are known to fail, which the model is spared.
        """
        return self.begin(documents, source=source, failures=failures)()

    def begin(
        self, documents: pa.Table, *, source: str, failures: Mapping[int, RecordError] | None = None
    ) -> Callable[[], AnnotatedPart]:
        """Starts on documents; arguments as in `annotate`.

        Returns:
          A function that waits for their annotations, to be called once, in the order in which documents were begun.
        """
        texts = [text or "" for text in documents.column("text").to_pylist()]
        # One by one, so that the bytes of all are never held beside the texts.
        imprints = [Imprint.of(text.encode()) for text in texts]
        failures = dict(failures or {})
        for at, (_, size) in enumerate(imprints):
            if size > self._config.max_document_bytes:
                limit = self._config.max_document_bytes
                failures[at] = RecordError("too_large", f"expected {limit} bytes of text at most, found {size}")
        wait = self._begin_tagging(texts, imprints, failures)
        return lambda: self._finish(documents, source, (texts, imprints), failures, wait())

    def _begin_tagging(
        self, texts: list[str], imprints: list[Imprint], failures: Mapping[int, RecordError]
    ) -> "Callable[[], _Tagged]":
        """Starts on texts that no earlier run has read; what comes of it is the tagging of all."""
        given = ["" if at in failures else text for at, text in enumerate(texts)]
        if self._recall is None:
            wait = self._tagger.begin(given)
            return lambda: _Tagged(self._calibrate(wait()), np.zeros(len(texts), dtype=bool))
        started = time.perf_counter()
        asked = np.array([at for at in range(len(texts)) if at not in failures], dtype=np.int64)
        found, known = self._recall.find([texts[at] for at in asked], [imprints[at].digest for at in asked])
        known = known if self._recall.is_calibrated else self._calibrate(known)
        is_known = np.zeros(len(texts), dtype=bool)
        is_known[asked[found]] = True
        parts = [(np.flatnonzero(is_known), dataclasses.replace(known, seconds=_time("reuse", started)))]
        left = np.flatnonzero(~is_known)
        # Where nothing is left, the tagger is not asked, so that a model need not be loaded.
        tagging = self._tagger.begin([given[at] for at in left]) if len(left) else None

        def gather() -> _Tagged:
            new = [(left, self._calibrate(tagging()))] if tagging else []
            return _Tagged(gather_taggings(len(texts), [*parts, *new]), is_known)

        return gather

    def _calibrate(self, tagging: Tagging) -> Tagging:
        if not self._config.calibrator:
            return tagging
        scores = calibrate_scores(self._config.calibrator, tagging.score, tagging.label, self._tagger.labels)
        return dataclasses.replace(tagging, score=scores)

    def _finish(
        self,
        documents: pa.Table,
        source: str,
        read: tuple[list[str], list[Imprint]],
        failures: Mapping[int, RecordError],
        tagged: "_Tagged",
    ) -> AnnotatedPart:
        """Entities to annotations, dead letters and counts; `read` is the texts and their imprints."""
        texts, imprints = read
        tagging = tagged.tagging
        failures = {**tagging.failures, **failures}
        started = time.perf_counter()
        columns = _EntityColumns(texts, tagging, self._tagger.labels, self._thresholds, self._config.offset_unit)
        digests = [imprint.digest for imprint in imprints]
        good = np.array([at not in failures for at in range(len(texts))], dtype=bool)
        annotations = self._build_table(documents, source, columns, tagging, digests).filter(pa.array(good))
        rejects = tuple(
            dead_letter(
                source,
                error,
                stage="annotate",
                row=documents.column("row")[at].as_py(),
                document_id=documents.column("id")[at].as_py(),
                text=imprints[at],
            )
            for at, error in sorted(failures.items())
        )
        tally = self._count(documents, texts, columns, tagged, good)
        tally += Tally(dead=count_letters(rejects), dead_rows=len(rejects), seconds=_time("decode", started))
        return AnnotatedPart(annotations, rejects, tally)

    def _build_table(
        self, documents: pa.Table, source: str, columns: "_EntityColumns", tagging: Tagging, digests: list[str]
    ) -> pa.Table:
        n_rows = documents.num_rows
        kept = find_kept(documents.schema)
        own: dict[pa.Field, pa.Array] = {}
        if tagging.chosen is not None:
            own[ADAPTER_FIELD] = pa.array(tagging.chosen, pa.string())
        if tagging.probabilities is not None:
            own[PROBABILITIES_FIELD] = _to_list_array(tagging.probabilities)
        schema = annotation_schema([*own, *kept], taggers=self._tagger.names, has_below=self._config.keep_below)
        owner = self._owner[tagging.label]
        entities = {
            entity_column(name, is_below=is_below): columns.to_list_array(
                (columns.is_above != is_below) & (owner == number), self._written
            )
            for number, name in enumerate(self._tagger.names)
            for is_below in (False, True)
        }
        arrays: dict[str, Any] = {
            "id": documents.column("id"),
            "source": pa.repeat(source, n_rows),
            "row": documents.column("row"),
            "digest": pa.array(digests, pa.string()),
            **entities,
            "windows": pa.array(tagging.windows, pa.int32()),
            "tokens": pa.array(tagging.tokens, pa.int32()),
            "model": pa.repeat(self._model, n_rows),
            **{field.name: column for field, column in own.items()},
            **{field.name: documents.column(kept_column(field.name)) for field in kept},
        }
        return pa.table([arrays[field.name] for field in schema], schema=schema)

    def _count(
        self,
        documents: pa.Table,
        texts: Sequence[str],
        columns: "_EntityColumns",
        tagged: "_Tagged",
        good: npt.NDArray[np.bool_],
    ) -> Tally:
        labels, (tagging, is_known) = self._tagger.labels, tagged
        bins = np.minimum((tagging.score * SCORE_BINS).astype(int), SCORE_BINS - 1)
        lengths = np.minimum(np.ceil(np.log2(tagging.tokens[good] + 1)).astype(int), LENGTH_BINS - 1)
        return Tally(
            documents=int(good.sum()),
            entities=_count_labels(tagging.label[columns.is_above], labels),
            below=_count_labels(tagging.label[~columns.is_above], labels) if self._config.keep_below else {},
            scores={
                labels[label]: np.bincount(bins[tagging.label == label], minlength=SCORE_BINS).tolist()
                for label in np.unique(tagging.label)
            },
            lengths=tuple(np.bincount(lengths, minlength=LENGTH_BINS).tolist()),
            characters=sum(len(text) for text, is_good in zip(texts, good, strict=True) if is_good),
            tokens=int(tagging.tokens[good].sum()),
            windows=int(tagging.windows[good].sum()),
            computed_tokens=tagging.computed_tokens,
            seconds=tagging.seconds,
            counts={**tagging.counts, **_count_chosen(tagging, good)},
            pieces=_count_pieces(tagging, good & ~is_known),
            forms=FormSketch.of(columns.surfaces_above()),
            matches=self._match(documents, columns, good),
            reused={self._recall.run: _count_reused(tagging, is_known)} if self._recall else {},
        )

    def _match(
        self, documents: pa.Table, columns: "_EntityColumns", good: npt.NDArray[np.bool_]
    ) -> Mapping[str, list[int]]:
        """Strict matches with gold, in code points; a dead document's is missed, and a document without is left out."""
        if "gold" not in documents.column_names:
            return {}
        total: dict[str, list[int]] = {}
        for at, spans in enumerate(documents.column("gold").to_pylist()):
            if spans is None:
                continue
            gold = [
                (span["start"], span["end"], join_label(name, span["label"]))
                for span in spans
                for name in self._tagger.names
            ]
            for label, counts in count_matches(gold, columns.spans_of(at) if good[at] else []).items():
                total[label] = [a + b for a, b in zip(total.get(label, [0, 0, 0]), counts, strict=True)]
        return total


class _Tagged(NamedTuple):
    """Entities of all texts of a part, and which of the texts an earlier run has read, (n_texts,)."""

    tagging: Tagging
    is_known: npt.NDArray[np.bool_]


class _EntityColumns:
    """Entities as columns, with surfaces cut out and offsets in the wanted unit."""

    def __init__(
        self,
        texts: Sequence[str],
        tagging: Tagging,
        labels: tuple[str, ...],
        thresholds: npt.NDArray[np.float32],
        unit: str,
    ) -> None:
        self._tagging = tagging
        self._labels = labels
        self._n_texts = len(texts)
        self._bounds = np.searchsorted(tagging.document, np.arange(len(texts) + 1))
        self.is_above = tagging.score >= thresholds[tagging.label] if len(tagging.label) else np.empty(0, dtype=bool)
        spans = zip(tagging.document.tolist(), tagging.start.tolist(), tagging.end.tolist(), strict=True)
        self._surfaces = np.array([texts[document][start:end] for document, start, end in spans], dtype=object)
        self._start, self._end = tagging.start.copy(), tagging.end.copy()
        for at, (first, last) in enumerate(itertools.pairwise(self._bounds) if unit != "codepoint" else ()):
            self._start[first:last] = convert_offsets(texts[at], tagging.start[first:last], unit)
            self._end[first:last] = convert_offsets(texts[at], tagging.end[first:last], unit)

    def to_list_array(self, mask: npt.NDArray[np.bool_], labels: Sequence[str]) -> pa.ListArray:
        """The chosen entities as a list column, one list per text, with labels as they are written."""
        chosen = np.flatnonzero(mask)
        counts = np.bincount(self._tagging.document[chosen], minlength=self._n_texts)
        children = [
            pa.array(self._start[chosen], pa.int32()),
            pa.array(self._end[chosen], pa.int32()),
            pa.array([labels[label] for label in self._tagging.label[chosen]], pa.string()),
            pa.array(self._tagging.score[chosen], pa.float32()),
            pa.array(self._surfaces[chosen].tolist(), pa.string()),
        ]
        entities = pa.StructArray.from_arrays(children, fields=list(ENTITY_TYPE))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, entities)

    def surfaces_above(self) -> list[str]:
        """Surfaces of the entities at or above their threshold."""
        surfaces: list[str] = self._surfaces[np.asarray(self.is_above, dtype=bool)].tolist()
        return surfaces

    def spans_of(self, text: int) -> list[tuple[int, int, str]]:
        """Entities of one text at or above their threshold, in code points."""
        tagging = self._tagging
        return [
            (int(tagging.start[at]), int(tagging.end[at]), self._labels[tagging.label[at]])
            for at in range(self._bounds[text], self._bounds[text + 1])
            if self.is_above[at]
        ]


def check_labels(config: EntityConfig, labels: Sequence[str]) -> None:
    """Refuses thresholds and calibrators for labels that the tagger never gives.

    Raises:
      ConfigError: naming the label.
    """
    for label, _ in config.label_thresholds:
        if label not in labels:
            raise ConfigError(f"expected a label threshold for one of {list(labels)}, found {label!r}")
    for name, artefact in (("thresholds", config.thresholds), ("calibrator", config.calibrator)):
        for label in artefact.labels if artefact else ():
            if label not in labels:
                raise ConfigError(
                    f"expected only labels of the model, {list(labels)}, in the {name}, found {label!r}; "
                    "give the file that was made for this model"
                )


def _to_list_array(probabilities: Sequence[FloatArray]) -> pa.LargeListArray:
    """Probabilities of each text, (its tokens, tags), to a list of numbers each."""
    offsets = np.cumsum([0, *(own.size for own in probabilities)])
    values = np.concatenate([np.empty(0, dtype=np.float32), *(own.ravel() for own in probabilities)])
    return pa.LargeListArray.from_arrays(
        pa.array(offsets, pa.int64()), pa.array(values, pa.float32()), type=PROBABILITIES_FIELD.type
    )


def _name_calibrator(digest: str) -> str:
    return f"calibrator {digest[:16]}" if digest else "no calibrator"


def _time(stage: str, started: float) -> dict[str, float]:
    return {stage: time.perf_counter() - started}


def _count_reused(tagging: Tagging, is_known: npt.NDArray[np.bool_]) -> dict[str, int]:
    tokens, windows = (int(numbers[is_known].sum()) for numbers in (tagging.tokens, tagging.windows))
    return {"documents": int(is_known.sum()), "tokens": tokens, "windows": windows}


def _count_pieces(tagging: Tagging, good: npt.NDArray[np.bool_]) -> dict[str, int]:
    if tagging.unknown is None:
        return {}
    unknown = int(tagging.unknown[good].sum())
    return {"known": int(tagging.tokens[good].sum()) - unknown, "unknown": unknown}


def _count_chosen(tagging: Tagging, good: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Documents that are written, by the tagger that was chosen for them."""
    chosen = itertools.compress(tagging.chosen or (), good)
    return {f"routed/{name}": number for name, number in sorted(Counter(chosen).items())}


def _count_labels(label: npt.NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    return {labels[index]: count for index, count in sorted(Counter(label.tolist()).items())}
