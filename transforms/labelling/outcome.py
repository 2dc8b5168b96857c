"""Labelled documents as they are written: with all that is known of who said what, and as files to train on."""

import io
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.selections import RANDOM, Refusal, SelectedDocument, Selection
from transforms.labelling.agreement import Resolved
from transforms.labelling.checking import CheckedAnswer
from transforms.labelling.conll import render_document
from transforms.labelling.records import dump_lines

_SPANS = pa.list_(
    pa.struct(
        [
            pa.field("start", pa.int32(), nullable=False),
            pa.field("end", pa.int32(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
        ]
    )
)

ANSWER_SCHEMA = pa.schema(
    [
        pa.field("digest", pa.string(), nullable=False),
        pa.field("gold", _SPANS, nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("labelled_at", pa.string(), nullable=False),
        pa.field("tool", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
    ]
)
"""A row per document and annotator; `labelled_at` is ISO 8601, or empty where the tool does not tell."""

LABELLED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("gold", _SPANS, nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("annotators", pa.list_(pa.string()), nullable=False),
        pa.field("labelled_at", pa.string(), nullable=False),
        pa.field("tools", pa.list_(pa.string()), nullable=False),
        pa.field("chosen_by", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("ranked_by", pa.float64()),
        pa.field("run", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("selection", pa.string(), nullable=False),
    ]
)
"""A row per document; `gold` is what `evaluate --gold-column gold` reads, `labelled_at` the latest of its answers."""

TRAIN, CHANCE = "train.conll", "random.conll"
"""Documents that were chosen, and those that chance drew, which are a fair test set and may be trained on too."""


def dump_answers(answers: Iterable[CheckedAnswer]) -> bytes:
    """Answers to a Parquet file of ANSWER_SCHEMA."""
    rows = [
        {
            "digest": answer.digest,
            "gold": _to_records(answer.spans),
            "annotator": answer.annotator,
            "labelled_at": answer.labelled_at,
            "tool": answer.format,
            "file": answer.file,
        }
        for answer in answers
    ]
    return _dump_parquet(rows, ANSWER_SCHEMA)


def dump_labelled(
    resolved: Iterable[Resolved], documents: Mapping[str, SelectedDocument], selection: Selection, *, digest: str
) -> bytes:
    """Labelled documents to a Parquet file of LABELLED_SCHEMA.

    Args:
      resolved: the documents' entities.
      documents: the selection by digest.
      selection: how it was chosen.
      digest: SHA-256 of the file that says so, hex.
    """
    rows = []
    for each in resolved:
        document = documents[each.digest]
        rows.append(
            {
                "id": document.id,
                "source": document.source,
                "row": document.row,
                "digest": document.digest,
                "text": document.text,
                "gold": _to_records(each.spans),
                "rule": each.rule,
                "annotators": [answer.annotator for answer in each.answers],
                "labelled_at": max(answer.labelled_at for answer in each.answers),
                "tools": sorted({answer.format for answer in each.answers}),
                "chosen_by": document.chosen_by,
                "rank": document.rank,
                "ranked_by": document.score,
                "run": selection.run["fingerprint"],
                "model": selection.run["model"],
                "selection": digest,
            }
        )
    return _dump_parquet(rows, LABELLED_SCHEMA)


def render_training(resolved: Iterable[Resolved], documents: Mapping[str, SelectedDocument]) -> dict[str, bytes]:
    """Labelled documents to CoNLL files by name, TRAIN and CHANCE, which are empty where there is none."""
    blocks: dict[str, list[str]] = {TRAIN: [], CHANCE: []}
    for each in resolved:
        document = documents[each.digest]
        name = CHANCE if document.chosen_by == RANDOM else TRAIN
        annotators = [answer.annotator for answer in each.answers]
        comments = {**document.provenance, "rule": each.rule, "annotators": annotators}
        blocks[name].append(render_document(document, each.spans, comments))
    return {name: "".join(parts).encode() for name, parts in blocks.items()}


def dump_refusals(refusals: Sequence[Refusal]) -> bytes:
    """Refused answers to JSON lines."""
    return dump_lines(vars(refusal) for refusal in refusals)


def _to_records(spans: Iterable[tuple[int, int, str]]) -> list[dict[str, object]]:
    return [{"start": start, "end": end, "label": label} for start, end, label in spans]


def _dump_parquet(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return sink.getvalue()
