"""Runs written by hand, with the entities that a test wants and no model."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from schemas.annotations import annotation_schema, entity_column, join_label
from schemas.dead_letters import dead_letter
from schemas.errors import RecordError
from schemas.manifest import Manifest, fingerprint
from schemas.receipts import Tally
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import list_files
from transforms.corpora.formats import cut_files, read_parts
from transforms.storage.commits import SliceWriter
from transforms.storage.runs import InputChanges, complete_run, plan_run, reconcile
from transforms.storage.store import open_store

LABELS = ("PER", "LOC", "ORG")


def write_texts(path, texts):
    """Texts by id to a file of JSON lines."""
    path.write_text("".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in texts.items()))
    return path


def span(start, end, label, score=0.5):
    """An entity to be; its text is cut out when the run is written."""
    return {"start": start, "end": end, "label": label, "score": score}


def write_run(folder: Path, source, found, *, dead=(), unit="codepoint", slice_bytes=0, **more) -> Path:
    """Writes a complete run.

    Args:
      folder: the output folder.
      source: its input, a file or glob.
      found: entities by id of the document; or, by name, what each of several taggers found.
      dead: ids of documents that became dead letters.
      unit: unit of the offsets that the run claims to have.
      slice_bytes: wanted size of a slice.
      more: `model`, its digest, and `text_column`, which it reads.
    """
    taggers = {"": found} if not found or isinstance(next(iter(found.values())), list) else found
    corpus = CorpusConfig(text_column=more.get("text_column", "text"))
    model = more.get("model", "0" * 64)
    settings = _describe(corpus, tuple(taggers), unit, model)
    store = open_store(str(folder / f"run={fingerprint(settings)}"))
    state = plan_run(
        store,
        settings,
        list_files([str(source)]),
        lambda files, size: cut_files(files, corpus, size),
        slice_bytes=slice_bytes,
        changes=InputChanges(),
    )
    schema = annotation_schema(taggers=tuple(taggers))
    for slice_ in state.slices:
        writer = SliceWriter(store, slice_, output_format="parquet", layout="document", metadata={}, attempts=1)
        for part in read_parts(slice_, corpus):
            documents = part.documents.to_pylist()
            rows = [_make_row(slice_, row, taggers, model) for row in documents if row["id"] not in dead]
            letters = tuple(_make_letter(slice_, row) for row in documents if row["id"] in dead)
            tally = Tally(documents=len(rows), dead_rows=len(letters), dead={"too_large": len(letters)})
            writer.write(pa.Table.from_pylist(rows, schema=schema), letters, tally)
        writer.commit()
    reconcile(store, state.slices)
    complete_run(store, Manifest(fingerprint(settings), settings, {}, (), (), {"documents": 0}, 0.0))
    return folder


def _describe(corpus, taggers, unit, model):
    labels = [join_label(tagger, label) for tagger in taggers for label in LABELS]
    members = {tagger: {"model": hashlib.sha256(f"{model}{tagger}".encode()).hexdigest()} for tagger in taggers}
    return {
        "schema_version": 1,
        "corpus": {**corpus.describe(), "keep_columns": []},
        "tagger": {
            "tagger": "handmade",
            "model": model,
            "labels": labels,
            **({"members": members} if any(taggers) else {}),
        },
        "entities": {"offset_unit": unit, "max_document_bytes": 1 << 20},
        "output": {"format": "parquet", "layout": "document"},
    }


def _make_row(slice_, document, taggers, model):
    text = document["text"]
    entities = {
        entity_column(tagger): [
            {**entity, "text": text[entity["start"] : entity["end"]]} for entity in found.get(document["id"], ())
        ]
        for tagger, found in taggers.items()
    }
    return {
        "id": document["id"],
        "source": slice_.file.source,
        "row": document["row"],
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        **entities,
        "windows": 1,
        "tokens": len(text.split()),
        "model": model,
    }


def _make_letter(slice_, document):
    error = RecordError("too_large", "expected less, found more")
    return dead_letter(slice_.file.source, error, stage="annotate", row=document["row"], document_id=document["id"])
