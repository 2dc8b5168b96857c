"""Plain text: a document per line, or per file."""

import itertools
import math
from collections.abc import Iterator

import pyarrow as pa

from schemas.dead_letters import Imprint
from schemas.errors import ConfigError
from schemas.slices import FileRef, Slice
from transforms.corpora.compression import compression_of
from transforms.corpora.documents import (
    CorpusConfig,
    Part,
    Row,
    build_part,
    check_encoding,
    read_lines,
    read_whole,
    reject_long,
)
from transforms.corpora.files import open_stream

_SCAN_BYTES = 4 << 20
MOST_COMPRESSED_SLICES = 16


def describe_columns(file: FileRef, config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields, and whether there is gold: text has neither.

    Raises:
      ConfigError: columns are asked for.
    """
    if wanted := [name for name in (config.id_column, config.gold_column, *config.keep_columns) if name]:
        raise ConfigError(f"expected no column options for text file {file.source!r}, found {wanted}")
    return [], False


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """Cuts a file into runs of about `slice_bytes` at line ends, or takes it whole.

    Raises:
      FileError: the file cannot be read to its end, or is UTF-16.
    """
    if config.document_per_file:
        size = sum(stop - start for start, stop, _, _ in _scan_lines(file, 1 << 62))
        return [Slice(file, "text", 0, size, 0, 1)]
    return cut_lines(file, "text", slice_bytes)


def cut_lines(file: FileRef, format_: str, slice_bytes: int) -> list[Slice]:
    """Cuts a file of lines at line ends, counting rows on the way.

    The stream of a compressed file is cut likewise, in at most sixteen slices: a slice starts by decompressing what
    lies before it, which costs little beside a model, and a crash or a second worker gains from the cut.
    """
    pieces = list(_scan_lines(file, slice_bytes))
    if (step := _choose_step(file, len(pieces))) > 1:
        runs = [pieces[begin : begin + step] for begin in range(0, len(pieces), step)]
        pieces = [(run[0][0], run[-1][1], run[0][2], sum(piece[3] for piece in run)) for run in runs]
    return [Slice(file, format_, start, end, first_row, rows) for start, end, first_row, rows in pieces]


def count_slices(file: FileRef, n_bytes: int, n_lines: int, slice_bytes: int) -> int:
    """About how many slices `cut_lines` makes of a stream of some bytes and lines; each ends half a line late."""
    n_pieces = min(n_lines, math.ceil(n_bytes / (slice_bytes + n_bytes / n_lines / 2)))
    return -(-n_pieces // _choose_step(file, n_pieces))


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A slice's documents in bounded parts.

    Raises:
      FileError: the file breaks while it is read.
    """
    most_bytes = config.max_document_bytes
    numbers = itertools.count(slice_.first_row)

    def build(texts: list[bytes | Imprint]) -> Part:
        rows = [to_row(text, next(numbers)) for text in texts]
        return build_part(slice_, rows, (), has_gold=False)

    def to_row(text: bytes | Imprint, number: int) -> Row:
        row = Row(number, None, id=slice_.file.source if config.document_per_file else None)
        if isinstance(text, Imprint):
            return reject_long(row, text, most_bytes)
        row.text = text
        return row

    with open_stream(slice_.file, start=slice_.start) as stream:
        if config.document_per_file:
            yield build([read_whole(stream, slice_, most_bytes)])
        else:
            # Unlike a loop, `map` holds no lines while their part is annotated.
            yield from map(build, read_lines(stream, slice_, most_bytes))


def _choose_step(file: FileRef, n_pieces: int) -> int:
    """How many pieces of a file make a slice."""
    return max(1, -(-n_pieces // MOST_COMPRESSED_SLICES)) if compression_of(file.uri) else 1


def _scan_lines(file: FileRef, slice_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields (start, end, first_row, rows) of runs of whole lines of at least `slice_bytes`."""
    begin = first_row = row = offset = 0
    is_open = False
    with open_stream(file) as stream:
        while chunk := stream.read(_SCAN_BYTES):
            if not offset:
                check_encoding(chunk, file.source)
            cursor = 0
            while True:
                newline = chunk.find(b"\n", max(begin + slice_bytes - 1 - offset, cursor))
                if newline < 0:
                    break
                row += chunk.count(b"\n", cursor, newline + 1)
                cursor = newline + 1
                yield begin, offset + cursor, first_row, row - first_row
                begin, first_row = offset + cursor, row
            row += chunk.count(b"\n", cursor)
            offset += len(chunk)
            is_open = not chunk.endswith(b"\n")
    if offset > begin:
        yield begin, offset, first_row, row + is_open - first_row
