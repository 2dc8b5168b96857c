"""Documents of a finished run with their text, for people to look at."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from schemas.receipts import Receipt
from schemas.slices import Slice
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.formats import read_parts
from transforms.reports.excerpts import Sample
from transforms.storage.commits import DATA
from transforms.storage.store import Store

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


def sample_documents(
    store: Store,
    receipts: Sequence[Receipt],
    slices: Sequence[Slice],
    corpus: CorpusConfig,
    config: SampleConfig,
) -> list[Sample]:
    """A few documents of a run, those with entities first, always the same for the same run and seed.

    The text is read from the input again, since the output does not hold it; an input that is gone by now gives none.
    """
    by_id = {slice_.slice_id: slice_ for slice_ in slices}
    filled = [receipt for receipt in receipts if receipt.tally.documents]
    chosen = sorted(filled, key=lambda receipt: _rank(config.seed, receipt.slice_id))[:_MOST_SLICES]
    samples: list[Sample] = []
    for position, receipt in enumerate(chosen):
        wanted = -(-(config.n_documents - len(samples)) // (len(chosen) - position))
        rows = _choose_rows(_read_annotations(store, receipt), wanted, config.seed)
        samples += _read_texts(by_id[receipt.slice_id], rows, corpus, config.offset_unit)
    return samples


def _rank(seed: str, key: object) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def _choose_rows(
    entities: Mapping[int, list[dict[str, Any]]], wanted: int, seed: str
) -> dict[int, list[dict[str, Any]]]:
    order = sorted(entities, key=lambda row: (not entities[row], _rank(seed, row)))
    return {row: entities[row] for row in order[:wanted]}


def _read_annotations(store: Store, receipt: Receipt) -> dict[int, list[dict[str, Any]]]:
    """Entities by row of one output file, whatever its format and layout."""
    name = next((file["final"] for file in receipt.files if file["final"].startswith(f"{DATA}/")), "")
    if not name:
        return {}
    if name.endswith(".jsonl"):
        records = [json.loads(line) for line in store.read(name).splitlines()]
    else:
        with store.open(name) as raw:
            records = pq.read_table(raw).to_pylist()
    entities: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        found = record.get("entities", [record] if not record.get("is_below") else [])
        entities.setdefault(record["row"], []).extend(found)
    return entities


def _read_texts(
    slice_: Slice, rows: Mapping[int, list[dict[str, Any]]], corpus: CorpusConfig, unit: str
) -> list[Sample]:
    samples: list[Sample] = []
    if not rows or slice_.error:
        return samples
    for part in read_parts(slice_, corpus):
        table = part.documents
        for at, row in enumerate(table.column("row").to_pylist()):
            if row in rows:
                document = table.slice(at, 1).to_pylist()[0]
                text = document["text"] or ""
                entities = [_to_code_points(text, entity, unit) for entity in rows[row]]
                samples.append(
                    Sample(document["id"], slice_.file.source, row, text, tuple(entities), _gold(document.get("gold")))
                )
        if len(samples) == len(rows):
            break
    return samples


def _gold(spans: list[dict[str, Any]] | None) -> tuple[dict[str, Any], ...] | None:
    return None if spans is None else tuple(spans)


def _to_code_points(text: str, entity: Mapping[str, Any], unit: str) -> dict[str, Any]:
    start, end = entity["start"], entity["end"]
    if unit != "codepoint":
        encoding, width = ("utf-8", 1) if unit == "utf8" else ("utf-16-le", 2)
        raw = text.encode(encoding)
        start, end = (len(raw[: position * width].decode(encoding)) for position in (start, end))
    return {"start": start, "end": end, "label": entity["label"], "score": entity["score"]}
