"""Slices that are told of a corpus, held against those that planning cuts."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.slices import FileRef
from schemas.tables import FileTable
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import scan_files
from transforms.corpora.formats import cut_files
from transforms.estimating import sampling
from transforms.estimating.sampling import draw_places
from transforms.estimating.slicing import Cut, cut_pieces

SLICE_BYTES = 20_000


def _write(folder, kind, rows, number):
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    texts = "".join(row["text"] + "\n" for row in rows).encode()
    match kind:
        case "jsonl":
            (folder / f"{number}.jsonl").write_bytes(lines)
        case "jsonl.gz":
            (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines))
        case "txt":
            (folder / f"{number}.txt").write_bytes(texts)
        case "txt.gz":
            (folder / f"{number}.txt.gz").write_bytes(gzip.compress(texts))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet", row_group_size=50)
        case "conll":
            sentences = ("".join(f"{word} O\n" for word in row["text"].split()) for row in rows)
            (folder / f"{number}.conll").write_text("\n".join(sentences))


def _rows(n_rows, seed):
    """Rows of which a tenth is text."""
    rng = random.Random(seed)
    words = ("Anna", "lives", "in", "Berlin")
    return [
        {"text": " ".join(rng.choice(words) for _ in range(3)), "other": f"{rng.getrandbits(500):0125x}"}
        for _ in range(n_rows)
    ]


def _project(files, corpus, n_places=16):
    draws = draw_places(files, corpus, n_places=n_places, slice_bytes=SLICE_BYTES, rng=random.Random(0))
    return cut_pieces(files, {draw.file_cut for draw in draws})


@pytest.mark.parametrize("most_survey_bytes", [SLICE_BYTES // 8, SLICE_BYTES], ids=["in part", "whole"])
@pytest.mark.parametrize("kind", ["txt", "txt.gz", "jsonl", "jsonl.gz", "parquet", "conll"])
def test_as_many_slices_are_told_as_are_cut_in_every_format(tmp_path, monkeypatch, kind, most_survey_bytes):
    monkeypatch.setattr(sampling, "_MOST_TEXT_BYTES", most_survey_bytes)
    for number in range(3):
        _write(tmp_path, kind, _rows(2000 + 1000 * number, number), number)
    files, corpus = scan_files([str(tmp_path)]), CorpusConfig()
    n_slices = len(cut_files(files, corpus, SLICE_BYTES))
    assert len(_project(files, corpus, n_places=6)) == pytest.approx(n_slices, rel=0.02)


@pytest.mark.parametrize("kind", ["txt", "jsonl", "jsonl.gz", "parquet", "conll"])
def test_files_without_a_place_are_cut_like_those_with_one(tmp_path, kind):
    rng = random.Random(0)
    for number in range(30):
        _write(tmp_path, kind, _rows(rng.randrange(300, 1200), number), number)
    files, corpus = scan_files([str(tmp_path)]), CorpusConfig()
    n_slices = len(cut_files(files, corpus, SLICE_BYTES))
    assert len(_project(files, corpus, n_places=8)) == pytest.approx(n_slices, rel=0.1)


def test_a_compressed_file_is_cut_in_sixteen_at_most_and_another_beside_it_is_not(tmp_path):
    rows = _rows(6000, 0)
    _write(tmp_path, "jsonl", rows, 0)
    _write(tmp_path, "jsonl.gz", rows, 1)
    files = scan_files([str(tmp_path)])
    assert len(cut_files(files, CorpusConfig(), SLICE_BYTES)) == len(_project(files, CorpusConfig()))


def test_a_document_per_file_is_never_cut(tmp_path):
    for number in range(3):
        _write(tmp_path, "txt", _rows(3000, number), number)
    assert len(_project(scan_files([str(tmp_path)]), CorpusConfig(format="text", document_per_file=True))) == 3


def test_slices_are_as_large_as_they_are_cut(tmp_path):
    _write(tmp_path, "txt", _rows(3000, 0), 0)
    files, corpus = scan_files([str(tmp_path)]), CorpusConfig()
    slices = cut_files(files, corpus, SLICE_BYTES)
    assert _project(files, corpus) == pytest.approx([slice_.end - slice_.start for slice_ in slices])


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20), st.integers(1, 9), st.integers(1, 10_000))
def test_slices_have_all_bytes_and_no_file_that_holds_any_is_without(sizes, n_slices, size_bytes):
    cut = Cut(FileRef("a.txt", size_bytes, ""), (1 / n_slices,) * n_slices)
    pieces = cut_pieces(FileTable.of(FileRef(f"{at}.txt", size, "") for at, size in enumerate(sizes)), [cut])
    assert sum(pieces) == pytest.approx(sum(sizes))
    assert len(pieces) >= len([size for size in sizes if size])


@pytest.mark.parametrize(("suffix", "most"), [("conll", 1), ("jsonl.gz", 16)])
def test_files_larger_than_those_with_a_place_are_cut_no_finer_than_can_be(tmp_path, suffix, most):
    _write(tmp_path, suffix, _rows(3000, 0), 0)
    files, rng = scan_files([str(tmp_path)]), random.Random(0)
    (draw,) = draw_places(files, CorpusConfig(), n_places=1, slice_bytes=SLICE_BYTES, rng=rng)
    cut = draw.file_cut
    larger = FileTable.of([FileRef(f"large.{suffix}", 100 * cut.file.size_bytes, "")])
    assert len(cut_pieces(larger, [cut])) == most


def test_a_file_that_cannot_be_read_is_no_example_for_others():
    broken, whole = (Cut(FileRef(f"{at}.txt", 100, ""), shares) for at, shares in enumerate([(), (0.5, 0.5)]))
    files = FileTable.of([broken.file, whole.file, FileRef("more.txt", 100, "")])
    assert cut_pieces(files, [broken, whole]) == [50.0] * 6
    assert cut_pieces(files, [broken]) == [100, 100, 100]


def test_very_many_slices_are_not_counted_one_by_one():
    cut = Cut(FileRef("a.txt", 1 << 20, ""), (0.5, 0.5))
    assert len(cut_pieces(FileTable.of([FileRef("b.txt", 1 << 50, "")]), [cut])) <= 1 << 20
