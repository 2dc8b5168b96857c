"""Annotated documents and their texts, which are read from the input again."""

import hashlib
import json
import os

import pyarrow as pa
import pytest

from schemas.annotations import annotation_schema
from schemas.receipts import Tally
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import survey_file
from transforms.reports.samples import SampleConfig, SliceChooser, read_samples, sample_documents
from transforms.storage.annotations import AnnotatedDocument
from transforms.storage.commits import SliceWriter
from transforms.storage.posix import PosixStore

CORPUS = CorpusConfig(gold_column="gold")
TEXTS = ["Zoë 😀 Anna", "é Anna", "nobody", "Anna 😀 Anna"]


def make_document(row, text, *entities, below=()):
    found, rest = (
        tuple({"start": s, "end": e, "label": "PER", "score": 0.5, "text": "Anna"} for s, e in spans)
        for spans in (entities, below)
    )
    return AnnotatedDocument(f"doc-{row}", "in", row, hashlib.sha256(text.encode()).hexdigest(), found, rest)


@pytest.fixture
def write_slices(tmp_path):
    """Texts in, the slices of a file that holds them out; a text that is None becomes a row that cannot be read."""

    def write(texts, *, slice_bytes=1 << 20):
        rows = [{"id": f"doc-{at}", "text": text, "gold": [[0, 1, "PER"]]} for at, text in enumerate(texts)]
        lines = (json.dumps(row) if row["text"] is not None else "[" for row in rows)
        (tmp_path / "in.jsonl").write_text("".join(line + "\n" for line in lines))
        return survey_file(stat_file(str(tmp_path / "in.jsonl")), CORPUS, slice_bytes).slices

    return write


def test_read_samples_puts_texts_and_gold_beside_the_documents_that_are_asked_for(write_slices):
    (slice_,) = write_slices(["a", None, "Anna", "b", "Bob"])
    documents = [make_document(2, "Anna", (0, 4)), make_document(4, "Bob")]
    samples = list(read_samples(slice_, documents, CORPUS, "codepoint"))
    assert [(sample.id, sample.row, sample.text, sample.problem) for sample in samples] == [
        ("doc-2", 2, "Anna", ""),
        ("doc-4", 4, "Bob", ""),
    ]
    assert samples[0].gold == ({"start": 0, "end": 1, "label": "PER"},)
    assert [(entity["start"], entity["end"], entity["label"]) for entity in samples[0].entities] == [(0, 4, "PER")]


@pytest.mark.parametrize(
    ("unit", "text", "span"),
    [
        ("codepoint", TEXTS[0], (6, 10)),
        ("utf8", TEXTS[0], (10, 14)),
        ("utf16", TEXTS[0], (7, 11)),
        ("utf8", TEXTS[1], (3, 7)),
        ("utf16", TEXTS[3], (8, 12)),
    ],
)
def test_read_samples_gives_offsets_in_code_points(write_slices, unit, text, span):
    (slice_,) = write_slices([text])
    (sample,) = read_samples(slice_, [make_document(0, text, span)], CORPUS, unit)
    (entity,) = sample.entities
    assert (text[entity["start"] : entity["end"]], entity["end"]) == ("Anna", text.rindex("Anna") + 4)


def test_read_samples_marks_entities_under_their_threshold(write_slices):
    (slice_,) = write_slices(["Anna Anna"])
    (sample,) = read_samples(slice_, [make_document(0, "Anna Anna", (5, 9), below=[(0, 4)])], CORPUS, "codepoint")
    assert [(entity["start"], entity.get("is_below", False)) for entity in sample.entities] == [(5, False), (0, True)]


def test_read_samples_reads_no_further_than_the_last_document(write_slices, monkeypatch):
    slices = write_slices(["Anna"] * 3)
    read = []
    monkeypatch.setattr("transforms.reports.samples.read_parts", lambda *_: read.append(1) or iter(()))
    assert list(read_samples(slices[0], [], CORPUS, "codepoint")) == []
    assert read == []


def test_read_samples_says_that_an_input_is_gone(write_slices, tmp_path):
    (slice_,) = write_slices(["Anna", "Anna"])
    (tmp_path / "in.jsonl").unlink()
    documents = [make_document(row, "Anna", (0, 4)) for row in range(2)]
    samples = list(read_samples(slice_, documents, CORPUS, "codepoint"))
    assert ["cannot find" in sample.problem for sample in samples] == [True, True]
    assert [(sample.text, sample.gold, sample.entities[0]["text"]) for sample in samples] == [("", None, "Anna")] * 2


def test_read_samples_says_that_an_input_has_changed(write_slices, tmp_path):
    (slice_,) = write_slices(["Anna"])
    (tmp_path / "in.jsonl").write_text("other\n")
    (sample,) = read_samples(slice_, [make_document(0, "Anna", (0, 4))], CORPUS, "codepoint")
    assert "found 6 bytes" in sample.problem


def test_read_samples_never_puts_another_text_beside_a_document(write_slices, tmp_path):
    (slice_,) = write_slices(["Anna", "Bob"])
    stat = (tmp_path / "in.jsonl").stat()
    write_slices(["Elsa", "Bob"])
    os.utime(tmp_path / "in.jsonl", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    documents = [make_document(0, "Anna", (0, 4)), make_document(1, "Bob"), make_document(2, "none")]
    samples = list(read_samples(slice_, documents, CORPUS, "codepoint"))
    assert [sample.text for sample in samples] == ["", "Bob", ""]
    assert ["found another" in sample.problem for sample in samples] == [True, False, True]


@pytest.fixture
def finished(tmp_path, write_slices):
    """A run of eight documents in two slices: store, receipts and slices."""
    texts = ["Anna" if row % 2 else "nobody" for row in range(8)]
    store, slices = PosixStore(str(tmp_path / "run")), write_slices(texts, slice_bytes=200)
    receipts = []
    for slice_ in slices:
        writer = SliceWriter(store, slice_, output_format="parquet", layout="document", metadata={}, attempts=1)
        rows = []
        for row in range(slice_.first_row, slice_.first_row + slice_.rows):
            document = make_document(row, texts[row], *([(0, 4)] if row % 2 else []), below=[(0, 1)])
            rows.append({**vars(document), "windows": 1, "tokens": 1, "model": "m"})
        writer.write(
            pa.Table.from_pylist(rows, schema=annotation_schema(has_below=True)), (), Tally(documents=slice_.rows)
        )
        receipts.append(writer.commit())
    assert len(receipts) > 1
    chooser = SliceChooser("s")
    for slice_, receipt in zip(slices, receipts, strict=True):
        chooser.take(slice_, receipt)
    return store, chooser.chosen


@pytest.mark.parametrize("n_documents", [0, 3, 4, 100])
def test_sample_documents_prefers_documents_with_entities(finished, n_documents):
    config = SampleConfig(n_documents=n_documents, offset_unit="codepoint", seed="s")
    samples = sample_documents(*finished, CORPUS, config)
    assert len(samples) == min(n_documents, 8)
    assert sum(sample.text == "Anna" for sample in samples) == min(n_documents, 4)
    assert all(len(sample.entities) == (sample.text == "Anna") for sample in samples)
    assert samples == sample_documents(*finished, CORPUS, config)


def test_sample_documents_leaves_out_documents_without_text(finished, tmp_path):
    (tmp_path / "in.jsonl").unlink()
    config = SampleConfig(n_documents=5, offset_unit="codepoint", seed="s")
    assert sample_documents(*finished, CORPUS, config) == []
