"""What has to hold for any bytes: documents, dead letters or one of spanmill's own errors, and every row accounted for.

Hypothesis tries these functions in `test_readers.py` and `test_decoders.py`, and atheris in `guided.py`.
"""

import bz2
import codecs
import dataclasses
import gzip
import itertools
import lzma
from pathlib import Path

import numpy as np
import zstandard

from schemas.errors import PipelineError
from schemas.labels import split_tag
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import cut_files
from transforms.read import read_slice
from transforms.tags.chunks import find_chunks
from transforms.tags.decode import Decoder, decode_tags
from transforms.tags.schemes import SCHEMES, build_tag_set
from transforms.text.stitching import Stitcher
from transforms.text.windows import cut_windows

COMPRESS = {
    "gz": lambda content: gzip.compress(content, mtime=0),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
SUFFIXES = {"text": "txt", "jsonl": "jsonl", "conll": "conll", "parquet": "parquet"}
SLICE_BYTES = 40
"""So small that most files are cut."""

_COLUMNS = ("id", "row", "text")

TAG_LISTS = {
    "BIO": ("O", "B-A", "I-A", "B-B", "I-B"),
    "IOB1": ("O", "I-A", "B-B", "I-B"),
    "BIOES": ("O", "B-A", "I-A", "E-A", "S-A", "S-B"),
    "BILOU": ("O", "B-A", "I-A", "L-A", "U-A", "U-B"),
    "BMES": ("O", "B-A", "M-A", "E-A", "S-A"),
    "IO": ("O", "I-A", "I-B"),
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a file became.

    Attributes:
      documents: its documents, as dictionaries.
      letters: its dead letters.
      is_whole: whether the file was read to its end.
    """

    documents: list
    letters: list
    is_whole: bool


def read_file(path: Path, content: bytes, config: CorpusConfig | None = None) -> Reading | None:
    """Plans and reads a file as a run does, and accounts for its rows; None when one of our own errors refused it."""
    path.write_bytes(content)
    config = config or CorpusConfig()
    documents, letters = [], []
    next_row = 0
    try:
        slices = cut_files([stat_file(str(path))], config, SLICE_BYTES, is_strict=False)
        for slice_ in slices:
            assert slice_.first_row == next_row
            next_row += slice_.rows
            parts = list(read_slice(slice_, config, is_strict=False))
            rows = [row for part in parts if part.table is not None for row in part.table.select(_COLUMNS).to_pylist()]
            assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
            assert len(rows) + sum(part.tally.dead_rows for part in parts) == slice_.rows
            numbers = [row["row"] for row in rows]
            assert all(a < b for a, b in itertools.pairwise([slice_.first_row - 1, *numbers, next_row]))
            documents += rows
            letters += [letter for part in parts for letter in part.rejects]
    except PipelineError:
        return None
    return Reading(documents, letters, all(letter["row"] is not None for letter in letters))


def check_lines(path: Path, content: bytes) -> None:
    """Every line of a file of lines is a document or a dead letter, and a text is its line."""
    reading = read_file(path, content)
    if reading is None:
        # The first line may lack a key that the options name.
        assert path.suffix == ".jsonl"
        return
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        assert (reading.documents, reading.is_whole) == ([], False), "another encoding was read as UTF-8"
        return
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    found = [*(row["row"] for row in reading.documents), *(letter["row"] for letter in reading.letters)]
    assert sorted(found) == list(range(len(lines)))
    if path.suffix == ".txt":
        for row in reading.documents:
            line = lines[row["row"]].removesuffix(b"\r")
            assert row["text"].encode() == (line if row["row"] else line.removeprefix(b"\xef\xbb\xbf"))


def check_compressed(path: Path, content: bytes, damaged: bytes) -> None:
    """A damaged compressed file is read as it was or not to its end, and never short or otherwise."""
    reading = read_file(path, damaged)
    if reading is not None and reading.is_whole:
        plain = read_file(path.with_suffix(""), content)
        assert [row["text"] for row in reading.documents] == [row["text"] for row in plain.documents]
        assert len(reading.letters) == len(plain.letters)


def check_tags(tags: list[str], scheme: str) -> None:
    """Any tags are disjoint spans in order, or a refusal that names the scheme."""
    check_spans(decode_tags(tags), len(tags))
    try:
        (default,), (strict,) = (find_chunks([tags], scheme=scheme, is_strict=is_strict) for is_strict in (False, True))
    except PipelineError:
        known = {*SCHEMES[scheme].prefixes, "O"}
        assert not {split_tag(tag)[0] for tag in tags} <= known
        return
    check_spans(strict, len(tags))
    assert all(0 <= first < last <= len(tags) and label for first, last, label in default)


def check_decoding(scheme: str, probabilities: np.ndarray, bounds: np.ndarray) -> None:
    """Any probabilities are legal tags, and spans that lie within their documents."""
    for name in ("viterbi", "argmax"):
        decoder = Decoder(build_tag_set(TAG_LISTS[scheme]), decoder=name)
        if name == "viterbi":
            tags = decoder.choose_tags(probabilities, bounds)
            assert not decoder._illegal_units(tags, bounds).any()
        spans = decoder.decode(probabilities, bounds)
        labels = (decoder.labels[label] for label in spans.label)
        found = list(zip(spans.first.tolist(), spans.last.tolist(), labels, strict=True))
        check_spans(found, len(probabilities))
        assert all(0 <= score <= 1 for score in spans.score)
        owners = [np.searchsorted(bounds, (first, last - 1), side="right").tolist() for first, last, _ in found]
        assert all(first == last for first, last in owners)


def check_spans(spans: list[tuple[int, int, str]], n_units: int) -> None:
    """Spans are filled, labelled, in order and disjoint."""
    assert all(label for _, _, label in spans)
    edges = [0, *itertools.chain.from_iterable((first, last) for first, last, _ in spans), n_units]
    assert all(first < last for first, last, _ in spans)
    assert all(a <= b for a, b in itertools.pairwise(edges))


def check_stitching(lengths: list[int], starts_word: np.ndarray, max_tokens: int, overlap_tokens: int) -> None:
    """Windows of any documents cover every token, and what they agree on comes back."""
    bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    windows = cut_windows(bounds, starts_word, max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    truth = np.arange(bounds[-1] * 2, dtype=np.float32).reshape(-1, 2)
    stitcher = Stitcher(windows, bounds, 2)
    for window, (first, last) in enumerate(zip(windows.first, windows.last, strict=True)):
        assert 0 < last - first <= max_tokens
        stitcher.add(window, truth[first:last])
    merged, is_read = stitcher.merge()
    assert is_read.all()
    np.testing.assert_allclose(merged, truth, rtol=1e-5)
