"""Plain text: slices cover the file, and reading them gives its lines, however it is cut."""

import bz2
import gzip
import hashlib
import itertools
import lzma
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, FileError
from transforms.corpora import documents, text
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
CONFIG = CorpusConfig()
BOM = b"\xef\xbb\xbf"
TOLD = ("error", "digest", "size_bytes")

line_contents = st.one_of(
    st.just(b""),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12).map(str.encode),
    st.integers(1, 400).map(lambda size: b"x" * size),
    st.sampled_from([b"\xff", b"caf\xc3", "\u2028\u0085\x0c".encode(), "é漢😀".encode(), b"\r", b"\0"]),
)


@st.composite
def file_contents(draw):
    lines = draw(st.lists(line_contents, max_size=30))
    ends = draw(st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=len(lines), max_size=len(lines)))
    content = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    bom = draw(st.sampled_from([b"", BOM]))
    last = draw(st.sampled_from([b"", b"no newline", b"caf\xc3"]))
    return bom + content + last


def expect_lines(content):
    lines = content.removeprefix(BOM).split(b"\n")
    if content.endswith(b"\n") or not content:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def read_by_number(slices, config):
    """Row numbers to texts, or to what is told of those that are rejected."""
    rows = {}
    for slice_ in slices:
        for part in text.read_parts(slice_, config):
            rows |= {row["row"]: row["text"] for row in part.documents.to_pylist()}
            rows |= {letter["row"]: tuple(letter[key] for key in TOLD) for letter in part.rejects}
    return rows


def text_or_imprint(line, most_bytes):
    try:
        if len(line) <= most_bytes:
            return line.decode()
        error = "too_large"
    except UnicodeDecodeError:
        error = "bad_utf8"
    return error, hashlib.sha256(line).hexdigest(), len(line)


@given(
    content=file_contents(),
    slice_bytes=st.integers(1, 300),
    suffix=st.sampled_from(sorted(COMPRESS)),
    block=st.integers(len(BOM), 90),
    most_bytes=st.sampled_from([0, 1, 8, 100, 1 << 20]),
)
@settings(max_examples=150, deadline=None)
def test_read_parts_gives_the_lines_of_the_file_however_it_is_cut(content, slice_bytes, suffix, block, most_bytes):
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(documents, "PART_BYTES", block),
        mock.patch.object(documents, "PART_ROWS", 3),
        mock.patch.object(text, "_SCAN_BYTES", block),
    ):
        path = Path(folder, f"a.txt{suffix}")
        path.write_bytes(COMPRESS[suffix](content))
        slices = text.cut_slices(stat_file(str(path)), CONFIG, slice_bytes)
        rows = read_by_number(slices, CorpusConfig(max_document_bytes=most_bytes))
    lines = expect_lines(content)
    bounds = [0, *(slice_.end for slice_ in slices)]
    assert [(slice_.start, slice_.end) for slice_ in slices] == list(itertools.pairwise(bounds))
    assert bounds[-1] == len(content)
    assert [slice_.first_row for slice_ in slices] == [sum(s.rows for s in slices[:at]) for at in range(len(slices))]
    assert sum(slice_.rows for slice_ in slices) == len(lines)
    assert rows == {number: text_or_imprint(line, most_bytes) for number, line in enumerate(lines)}


def test_cut_slices_cuts_at_line_ends_at_or_after_the_wanted_size(make_file):
    file = make_file("a.txt", b"aaaa\nbb\ncccccc\nd\n")
    slices = text.cut_slices(file, CONFIG, 5)
    assert [(s.start, s.end, s.first_row, s.rows) for s in slices] == [(0, 5, 0, 1), (5, 15, 1, 2), (15, 17, 3, 1)]


def test_cut_slices_of_an_empty_file_is_none(make_file):
    assert text.cut_slices(make_file("a.txt", b""), CONFIG, 5) == []


@pytest.mark.parametrize("n_lines", [16, 17, 100, 1000])
def test_cut_slices_cuts_a_compressed_file_in_at_most_sixteen(make_file, read_corpus, n_lines):
    content = b"".join(b"line %d\n" % number for number in range(n_lines))
    rows, _, slices = read_corpus(make_file("a.txt.gz", gzip.compress(content)), slice_bytes=1)
    assert len(slices) <= 16
    assert [row["text"] for row in rows] == content.decode().splitlines()
    assert [row["row"] for row in rows] == list(range(n_lines))


def test_cut_slices_of_a_truncated_file_is_a_file_error(make_file):
    content = gzip.compress(b"line\n" * 10_000)
    with pytest.raises(FileError):
        text.cut_slices(make_file("a.txt.gz", content[: len(content) // 2]), CONFIG, 100)


def test_read_parts_keeps_the_neighbours_of_invalid_utf8(make_file, read_corpus):
    file = make_file("a.txt", b"one\n\xff\xfe secret\nthree\n")
    rows, (letter,), _ = read_corpus(file)
    assert [(row["row"], row["text"]) for row in rows] == [(0, "one"), (2, "three")]
    assert (letter["error"], letter["row"], letter["size_bytes"]) == ("bad_utf8", 1, 9)


def test_read_parts_never_puts_the_text_of_a_reject_in_its_letter(make_file, read_corpus):
    _, (letter,), _ = read_corpus(make_file("a.txt", b"\xff canary\n"))
    assert "canary" not in str(letter)


def test_read_parts_names_documents_by_file_and_row(make_file, read_corpus):
    file = make_file("a.txt", b"one\n\ntwo\n")
    rows, _, _ = read_corpus(file)
    assert [row["id"] for row in rows] == [f"{file.uri}#0", f"{file.uri}#1", f"{file.uri}#2"]


def test_read_parts_takes_the_mark_off_the_first_line_only(make_file, read_corpus):
    rows, _, _ = read_corpus(make_file("a.txt", b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n"), slice_bytes=1)
    assert [row["text"] for row in rows] == ["one", "\ufefftwo"]


def test_read_parts_of_a_file_that_shrank_is_a_file_error(make_file):
    (slice_,) = text.cut_slices(make_file("a.txt", b"one\ntwo\n"), CONFIG, 100)
    make_file("a.txt", b"one\n")
    with pytest.raises(FileError, match="expected 8 bytes, found 4"):
        list(text.read_parts(slice_, CONFIG))


def test_read_parts_bounds_the_rows_of_a_part(make_file):
    (slice_,) = text.cut_slices(make_file("a.txt", b"\n" * 200_000), CONFIG, 1 << 30)
    sizes = [part.documents.num_rows for part in text.read_parts(slice_, CONFIG)]
    assert sum(sizes) == 200_000
    assert max(sizes) <= documents.PART_ROWS


def test_read_parts_bounds_the_bytes_of_a_part(make_file):
    (slice_,) = text.cut_slices(make_file("a.txt", (b"x" * 999 + b"\n") * 12_000), CONFIG, 1 << 30)
    sizes = [part.documents.column("text").nbytes for part in text.read_parts(slice_, CONFIG)]
    assert len(sizes) == 3
    assert max(sizes) < 6 << 20


def test_read_parts_reads_one_line_of_50_mb_in_order(make_file, read_corpus):
    line = b"0123456789" * 5_000_000
    rows, _, slices = read_corpus(make_file("a.txt", b"before\n" + line + b"\nafter\n"))
    assert [len(row["text"]) for row in rows] == [6, len(line), 5]
    assert hashlib.sha256(rows[1]["text"].encode()).digest() == hashlib.sha256(line).digest()
    assert len(slices) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_read_parts_passes_over_a_longer_line_and_keeps_its_neighbours(make_file, read_corpus, end):
    line = b"0123456789" * 1_000_000
    content = b"before\n" + line + end + (b"after" if end else b"")
    file = make_file("a.txt.gz", gzip.compress(content, 1))
    rows, (letter,), _ = read_corpus(file, CorpusConfig(max_document_bytes=len(line) - 1))
    assert [(row["row"], row["text"]) for row in rows] == [(0, "before"), (2, "after")][: 2 if end else 1]
    assert (letter["row"], *(letter[key] for key in TOLD)) == (
        1,
        "too_large",
        hashlib.sha256(line).hexdigest(),
        len(line),
    )
    assert letter["message"] == "expected 9999999 bytes at most, found 10000000"
    assert len(read_corpus(file, CorpusConfig(max_document_bytes=len(line)))[0]) == len(rows) + 1


@pytest.mark.parametrize("is_whole", [False, True])
def test_read_parts_never_holds_a_text_that_is_too_long(make_file, measure_memory, is_whole):
    program = (
        "from transforms.corpora import text\n"
        "from transforms.corpora.documents import CorpusConfig\n"
        "from transforms.corpora.files import stat_file\n"
        "config = CorpusConfig(max_document_bytes=4 << 20, document_per_file=bool(int(sys.argv[2])))\n"
        "ready()\n"
        "(slice_,) = text.cut_slices(stat_file(sys.argv[1]), config, 1 << 30)\n"
        "(part,) = text.read_parts(slice_, config)\n"
        "print(part.documents.num_rows, part.rejects[0]['size_bytes'])"
    )
    file = make_file("a.txt.gz", gzip.compress(bytes(100 << 20), 1))
    printed, grown = measure_memory(program, file.uri, str(int(is_whole)))
    assert printed == ["0", str(100 << 20)]
    assert grown < 40 << 20


def test_read_parts_takes_a_whole_file_as_a_document(make_file, read_corpus):
    file = make_file("a.txt.gz", gzip.compress(b"\xef\xbb\xbfone\r\n\ntwo\n"))
    rows, _, _ = read_corpus(file, CorpusConfig(document_per_file=True), slice_bytes=1)
    assert rows == [{"id": file.uri, "row": 0, "text": "one\r\n\ntwo\n"}]


def test_read_parts_takes_an_empty_file_as_an_empty_document(make_file, read_corpus):
    rows, _, _ = read_corpus(make_file("a.txt", b""), CorpusConfig(document_per_file=True))
    assert [row["text"] for row in rows] == [""]


def test_read_parts_rejects_a_whole_file_of_invalid_utf8(make_file, read_corpus):
    rows, (letter,), _ = read_corpus(make_file("a.txt", b"one\n\xff\n"), CorpusConfig(document_per_file=True))
    assert (rows, letter["error"]) == ([], "bad_utf8")


def test_read_parts_rejects_a_whole_file_that_is_too_long(make_file, read_corpus):
    content = b"one\ntwo\r"
    file = make_file("a.txt", BOM + content)
    rows, (letter,), _ = read_corpus(file, CorpusConfig(document_per_file=True, max_document_bytes=len(content) - 1))
    assert (rows, letter["id"], letter["size_bytes"]) == ([], file.uri, len(content))
    assert (letter["error"], letter["digest"]) == ("too_large", hashlib.sha256(content).hexdigest())
    assert read_corpus(file, CorpusConfig(document_per_file=True, max_document_bytes=len(content)))[0]


def test_read_parts_of_a_whole_file_that_shrank_is_a_file_error(make_file):
    config = CorpusConfig(document_per_file=True)
    (slice_,) = text.cut_slices(make_file("a.txt", b"one\ntwo\n"), config, 100)
    make_file("a.txt", b"one\n")
    with pytest.raises(FileError, match="expected 8 bytes, found 4"):
        list(text.read_parts(slice_, config))


@pytest.mark.parametrize("option", [{"id_column": "id"}, {"gold_column": "gold"}, {"keep_columns": ("lang",)}])
def test_describe_columns_refuses_column_options(make_file, option):
    with pytest.raises(ConfigError, match=r"no column options for text file '.*a.txt'"):
        text.describe_columns(make_file("a.txt", b"one\n"), CorpusConfig(**option))
