"""Rows of somebody else's pipeline to rows with entities: what `spanmill annotate` does, as one step.

    documents | Annotate("my-model")        rows or dicts in, `annotated` and `dead` out

Read, commit and resume are left to the pipeline around it; the model, its windows, batches and dead letters are those
of the job. Elements are gathered into tables, so that windows are packed by length as in a slice.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.typehints import typehints
from apache_beam.typehints.decorators import no_annotations
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.windowed_value import WindowedValue

from schemas.annotations import annotation_schema
from schemas.dead_letters import Imprint, dead_letter
from schemas.documents import DOCUMENT_FIELDS
from schemas.errors import ConfigError, ParseError, RecordError, suggest
from schemas.settings import check_types
from transforms.annotate import AnnotatorHolder
from transforms.corpora.documents import decode_id, decode_text
from transforms.models.annotator import AnnotatedPart, EntityConfig, check_labels
from transforms.models.catalog import find_tagger
from transforms.models.panel import PanelConfig
from transforms.models.tagger import TaggerConfig

_BATCH_CHARACTERS = 1 << 20
_BATCH_ROWS = 1 << 12
_N_PROVENANCE = 4


class Entity(NamedTuple):
    """The type of an element of `entities`; offsets are half-open, in the unit of the config."""

    start: int
    end: int
    label: str
    score: float
    text: str


class DeadRow(NamedTuple):
    """The type of a dead letter; of the text it has SHA-256 and size in bytes, where there is one."""

    id: Optional[str]  # noqa: UP045 - Beam's schemas know no `str | None`
    stage: str
    error: str
    message: str
    digest: Optional[str]  # noqa: UP045
    size_bytes: Optional[int]  # noqa: UP045


class AnnotateOutcome(NamedTuple):
    """Rows with their entities, and a letter for each that could not be annotated."""

    annotated: beam.PCollection[Any]
    dead: beam.PCollection[DeadRow]


@dataclasses.dataclass
class Annotate(beam.PTransform):  # type: ignore[misc]
    """Rows with a text in, the same rows with `entities`, `windows`, `tokens` and `model` out, and dead letters.

    An element is a dict, a row with a schema (beam.Row, a NamedTuple) or a text alone. Dicts come out as dicts and
    all else as beam.Row, with a schema where that of the input is known. Timestamps and windows of Beam are kept.

    Attributes:
      model: folder, URL, hub name or `default`; or a config, such as `find_tagger("my-model", device="cuda")`.
      text_column: column or key of the text; null counts as an empty text.
      id_column: column or key of what names a row in dead letters; empty takes `id` where there is one. A dict that
        lacks the key has no id.
      keep_columns: columns or keys that go along; None for all. A dict that lacks a key gets None.
      entities: which entities are written, and how.

    Raises:
      CheckpointError: the model is not there, unsafe or incomplete; when the transform is applied.
      ConfigError: a value is none of its type; or, when the transform is applied, the rows lack the text, the id or a
        column to keep, or have columns of the same names as those added.
    """

    model: str | TaggerConfig = "default"
    text_column: str = "text"
    id_column: str = ""
    keep_columns: Sequence[str] | None = None
    entities: EntityConfig = EntityConfig()  # noqa: RUF009 - frozen, so safe to share

    def __post_init__(self) -> None:
        check_types(self)

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, rows: beam.PCollection[Any]) -> AnnotateOutcome:
        """See the class."""
        tagger = find_tagger(self.model) if isinstance(self.model, str) else self.model
        check_labels(self.entities, tagger.labels)
        names = [name for name, _ in tagger.members] if isinstance(tagger, PanelConfig) else [""]
        added = annotation_schema(taggers=names, has_below=self.entities.keep_below).names[_N_PROVENANCE:]
        keep = None if self.keep_columns is None else tuple(self.keep_columns)
        columns = _Columns(self.text_column, self.id_column, keep, tuple(added))
        annotate = beam.ParDo(_AnnotateRowsFn(tagger, self.entities, columns))
        outputs = rows | "Annotate rows" >> annotate.with_outputs("dead", main="annotated")
        # Beam loses what a step emits at the end of a bundle when the next takes batches, as its own file sinks do, for
        # it hands batches on before that end (Operation.finish). A step that takes elements stands between.
        annotated_type = columns.output_type(rows.element_type)
        return AnnotateOutcome(
            outputs.annotated | "Annotated" >> beam.Map(_pass_on).with_output_types(annotated_type),
            outputs.dead | "Dead" >> beam.Map(_pass_on).with_output_types(DeadRow),
        )


@dataclasses.dataclass
class AnnotateYaml(beam.PTransform):  # type: ignore[misc]
    """Annotate as Beam YAML calls it; `providers.yaml` beside this file names it.

    Without error_handling a row that cannot be annotated stops the pipeline.

    Args:
      model: folder, URL, hub name or default.
      text_column: column of the text.
      id_column: column of what names a row among the errors; id, where there is one, when left out.
      keep_columns: columns that go along; all when left out.
      base: the same of the base of an adapter, where it is not where it was at training.
      device: cpu or cuda, which is looked for where the workers are.
      precision: auto, fp32, bf16, fp16 or int8.
      batch_tokens: most padded tokens in a batch; 0 for the usual.
      threshold: least score of an entity.
      label_thresholds: the same for single labels.
      max_document_bytes: a longer text is an error.
      error_handling: the name of the errors' output, as `output`.
    """

    model: str = "default"
    text_column: str = "text"
    id_column: str = ""
    keep_columns: Optional[Sequence[str]] = None  # noqa: UP045 - Beam reads a schema from these
    base: str = ""
    device: str = "cpu"
    precision: str = "auto"
    batch_tokens: int = 0
    threshold: float = 0.0
    label_thresholds: Optional[Mapping[str, float]] = None  # noqa: UP045
    max_document_bytes: int = 64 << 20
    error_handling: Optional[Mapping[str, str]] = None  # noqa: UP045

    def __post_init__(self) -> None:
        check_types(self)

    def expand(self, rows: beam.PCollection[Any]) -> Any:
        """See the class."""
        tagger = find_tagger(
            self.model,
            base=self.base,
            device=self.device,
            precision=self.precision,
            batch_tokens=self.batch_tokens,
        )
        labels = tuple(sorted((self.label_thresholds or {}).items()))
        entities = EntityConfig(
            threshold=self.threshold, label_thresholds=labels, max_document_bytes=self.max_document_bytes
        )
        annotated, dead = rows | Annotate(tagger, self.text_column, self.id_column, self.keep_columns, entities)
        if self.error_handling is None:
            _ = dead | "Refuse dead letters" >> beam.Map(_refuse)
            return annotated
        return {"good": annotated, self.error_handling["output"]: dead}


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Which columns rows have, and which they get."""

    text: str
    id: str
    keep: tuple[str, ...] | None
    added: tuple[str, ...]

    def output_type(self, element_type: Any) -> Any:
        """The type of annotated rows; Any where that of the input is not known."""
        if element_type in (str, typehints.Optional[str]):
            text_type = str if element_type is str else Optional[str]  # noqa: UP045
            element_type = RowTypeConstraint.from_fields([(self.text, text_type)])
        rows = (
            element_type
            if isinstance(element_type, RowTypeConstraint)
            else RowTypeConstraint.from_user_type(element_type)
        )
        if rows is None:
            return Any
        fields = dict(rows._fields)
        for name, meaning in ((self.text, "text"), (self.id, "id")):
            if name and name not in fields:
                raise ConfigError(
                    f"expected a column {name!r} with the {meaning}, found {sorted(fields)}{suggest(name, fields)}"
                )
        if unknown := [name for name in self.keep or () if name not in fields]:
            raise ConfigError(
                f"expected columns of {sorted(fields)} in keep_columns, found {unknown}{suggest(unknown[0], fields)}"
            )
        kept = self.choose(fields)
        types: dict[str, Any] = {"windows": int, "tokens": int, "model": str}
        added = {name: types.get(name, Sequence[Entity]) for name in self.added}
        return RowTypeConstraint.from_fields([*kept.items(), *added.items()])

    def choose(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that go along."""
        kept = {name: values.get(name) for name in (values if self.keep is None else self.keep)}
        if clash := sorted(kept.keys() & set(self.added)):
            raise ConfigError(
                f"expected columns with names of their own, found {clash}; the output has them already: rename them, "
                "or name the columns that go along in keep_columns"
            )
        return kept

    def text_of(self, values: Mapping[str, Any]) -> str:
        """The text of a row.

        Raises:
          ParseError: there is none that can be read.
        """
        if self.text not in values:
            raise ParseError("missing_text", f"expected a column {self.text!r}, found none")
        text = values[self.text]
        if text is not None and not isinstance(text, str | bytes):
            raise ParseError("bad_text", f"expected a string in {self.text!r}, found {type(text).__name__}")
        return decode_text(text) or ""


@dataclasses.dataclass(frozen=True)
class _Held:
    """A row while its entities are looked for, with its place in time."""

    id: str | None
    kept: dict[str, Any]
    is_dict: bool
    timestamp: Any
    window: Any

    def place(self, value: Any) -> WindowedValue:
        """What becomes of the row, where the row was."""
        return WindowedValue(value, self.timestamp, (self.window,))

    def annotated(self, found: Mapping[str, Any]) -> WindowedValue:
        """The row with the columns that it gets."""
        if self.is_dict:
            return self.place({**self.kept, **found})
        added = {name: _to_rows(value) if isinstance(value, list) else value for name, value in found.items()}
        return self.place(beam.Row(**self.kept, **added))


@dataclasses.dataclass
class _Batch:
    """Rows that are annotated together."""

    rows: list[_Held] = dataclasses.field(default_factory=list)
    texts: list[str] = dataclasses.field(default_factory=list)
    n_characters: int = 0

    def add(self, row: _Held, text: str) -> None:
        self.rows.append(row)
        self.texts.append(text)
        self.n_characters += len(text)

    @property
    def is_full(self) -> bool:
        return self.n_characters >= _BATCH_CHARACTERS or len(self.rows) >= _BATCH_ROWS

    def take_documents(self) -> pa.Table:
        """The texts as documents, whose row is the place in the batch."""
        columns = [[row.id for row in self.rows], range(len(self.rows)), self.texts]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, DOCUMENT_FIELDS, strict=True)]
        self.texts = []
        return pa.table(arrays, schema=pa.schema(DOCUMENT_FIELDS))


class _AnnotateRowsFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, tagger: TaggerConfig, entities: EntityConfig, columns: _Columns) -> None:
        self._columns = columns
        self._holder = AnnotatorHolder(tagger, entities, model=tagger.digest, step="Annotate")
        self._documents = Metrics.counter("Annotate", "documents")
        self._dead = Metrics.counter("Annotate", "dead")

    def start_bundle(self) -> None:
        self._batch = _Batch()
        self._under_way: deque[tuple[_Batch, Callable[[], AnnotatedPart]]] = deque()

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        values = _to_values(element, self._columns.text)
        kept = self._columns.choose(values)
        id_ = decode_id(values.get(self._columns.id or "id"))
        row = _Held(id_, kept, isinstance(element, Mapping), timestamp, window)
        try:
            text = self._columns.text_of(values)
        except ParseError as error:
            raw = values.get(self._columns.text)
            imprint = Imprint.of(raw) if isinstance(raw, bytes) else None
            yield self._bury(row, dead_letter("", error, stage="read", text=imprint))
            return
        self._batch.add(row, text)
        if self._batch.is_full:
            self._begin()
            # One stays behind, so that the model has work while rows of the last go on and of the next come in.
            yield from self._finish(1)

    def finish_bundle(self) -> Iterator[Any]:
        if self._batch.rows:
            self._begin()
        yield from self._finish(0)

    def teardown(self) -> None:
        self._holder.close()

    def _begin(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._under_way.append((batch, self._holder.open().begin(batch.take_documents(), source="")))

    def _finish(self, n_left: int) -> Iterator[Any]:
        """Rows in order, until no more than some batches are under way."""
        while len(self._under_way) > n_left:
            batch, wait = self._under_way.popleft()
            part = wait()
            self._documents.inc(part.annotations.num_rows)
            for found in part.annotations.select(["row", *self._columns.added]).to_pylist():
                yield batch.rows[found.pop("row")].annotated(found)
            for letter in part.rejects:
                yield self._bury(batch.rows[int(str(letter["row"]))], letter)

    def _bury(self, row: _Held, letter: Mapping[str, Any]) -> beam.pvalue.TaggedOutput:
        self._dead.inc()
        found = {**{name: letter[name] for name in DeadRow._fields}, "id": row.id}
        return beam.pvalue.TaggedOutput("dead", row.place(DeadRow(**found)))


def _to_values(element: Any, text_column: str) -> Mapping[str, Any]:
    """An element to its columns.

    Raises:
      ConfigError: it is no row.
    """
    if isinstance(element, Mapping):
        return element
    if element is None or isinstance(element, str | bytes):
        return {text_column: element}
    if hasattr(element, "_asdict"):
        values: dict[str, Any] = element._asdict()
        return values
    raise ConfigError(f"expected dicts, rows with a schema or texts to annotate, found {type(element).__name__}")


def _to_rows(entities: Sequence[Mapping[str, Any]]) -> list[Entity]:
    return [Entity(**entity) for entity in entities]


def _pass_on(row: Any) -> Any:
    return row


def _refuse(letter: DeadRow) -> None:
    """Stops the pipeline for want of somewhere to put a dead letter."""
    raise RecordError(letter.error, f"row {letter.id!r}: {letter.message}; set error_handling to go on without it")
