"""The slices of a corpus, told from how some of its files are cut.

    a file without a place ──> the file of its kind that has one and is nearest in size ──> as many slices for its size

What a file is cut by is not its size: Parquet goes by what all columns take decompressed and by whole row groups, lines
by the decompressed stream, and other files are never cut. Files of one kind and size are cut alike.
"""

import bisect
import dataclasses
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable

from schemas.slices import FileRef, Slice
from schemas.tables import FileTable
from transforms.corpora.compression import COMPRESSIONS, compression_of
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.formats import Survey, survey_file
from transforms.corpora.text import MOST_COMPRESSED_SLICES, count_slices

_MOST_PIECES = 1 << 20
_KIND = re.compile(rf"\.[^./]+({'|'.join(map(re.escape, COMPRESSIONS))})?$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Cut:
    """How a run cuts a file.

    Attributes:
      file: the file.
      shares: what each slice has of it, which add up to 1; one has all where nothing is to be cut. None are known of a
        file that cannot be read, which is no example for others.
      most_slices: how many files like it are cut into at most, however large.
    """

    file: FileRef
    shares: tuple[float, ...]
    most_slices: int = sys.maxsize


def measure_cut(survey: Survey, corpus: CorpusConfig, survey_bytes: int, slice_bytes: int) -> Cut:
    """How a run cuts a file into slices of a size, from the same file in slices of that size or smaller ones.

    Args:
      survey: the file.
      corpus: how documents are found in it.
      survey_bytes: wanted size of the slices of the survey.
      slice_bytes: wanted size of those of the run.
    """
    file, slices = survey.file, survey.slices
    weights = [weigh(slice_) for slice_ in slices]
    if slices and slice_bytes > survey_bytes:
        if slices[0].format == "parquet":
            # Its footer is still known, while lines would be read once more.
            weights = [weigh(slice_) for slice_ in survey_file(file, corpus, slice_bytes).slices]
        elif slices[0].format != "conll":
            weights = [1] * count_slices(file, sum(weights), sum(slice_.rows for slice_ in slices), slice_bytes)
    total = sum(weights)
    shares = tuple(weight / total for weight in weights) if total else (1.0,)
    return Cut(file, shares, _most_slices(survey, corpus))


def _most_slices(survey: Survey, corpus: CorpusConfig) -> int:
    formats = {slice_.format for slice_ in survey.slices}
    if corpus.document_per_file or "conll" in formats:
        return 1
    is_stream = "parquet" not in formats and compression_of(survey.file.uri)
    return MOST_COMPRESSED_SLICES if is_stream else sys.maxsize


def weigh(slice_: Slice) -> int:
    """How much of its file a slice is: bytes where they are known, else documents."""
    return slice_.end - slice_.start if slice_.format in ("jsonl", "text") else slice_.rows


def cut_pieces(files: FileTable, cuts: Iterable[Cut]) -> list[float]:
    """Bytes of each slice that files are cut into; a file of no bytes has none.

    Args:
      files: any number of them; of very many slices, larger ones stand for several.
      cuts: how some of them are cut.
    """
    sizes = files.column("size_bytes").to_pylist()
    least = sum(sizes) / _MOST_PIECES
    everything = sorted((cut for cut in cuts if cut.shares), key=_size_of)
    known: dict[str, list[Cut]] = defaultdict(list)
    for cut in everything:
        known[_kind_of(cut.file.source)].append(cut)
    pieces: list[float] = []
    for source, size in zip(files.sources().to_pylist(), sizes, strict=True):
        if size:
            alike = known.get(_kind_of(source), everything)
            cut = _nearest(alike, size) if alike else Cut(FileRef(source, size, ""), (1.0,), 1)
            n_pieces = min(round(len(cut.shares) * size / _size_of(cut)), cut.most_slices, math.ceil(size / least))
            n_pieces = max(1, n_pieces)
            shares = cut.shares if n_pieces == len(cut.shares) else [1 / n_pieces] * n_pieces
            pieces += [size * share for share in shares]
    return pieces


def _kind_of(name: str) -> str:
    """What tells the format and compression of a file.

    >>> _kind_of("a/b.2.jsonl.GZ"), _kind_of("a.b/c")
    ('.jsonl.gz', '')
    """
    found = _KIND.search(name)
    return found[0].lower() if found else ""


def _nearest(cuts: list[Cut], size: int) -> Cut:
    """Of cuts in order of size, that of the file nearest in size."""
    at = bisect.bisect_left(cuts, size, key=_size_of)
    return min(cuts[max(0, at - 1) : at + 1], key=lambda cut: abs(_size_of(cut) - size))


def _size_of(cut: Cut) -> int:
    return cut.file.size_bytes
