"""What rows take in the files of a run, from samples of them.

    rows of one place ──> as many as are compressed together ──> size in that company, over size alone

Parquet compresses the rows of a part of a slice together and never those of two slices. Where less than a part was
annotated, rows of other places keep a piece company: they show how much smaller rows become by it. How large the
rows of a place are to begin with is told by these alone, so that places differ as they do.
"""

import dataclasses
import itertools
import random
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.storage.commits import parquet_options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """Annotations of some documents of one place.

    Attributes:
      table: the annotations, a document each and one at least, as they are written.
      text_bytes: bytes of the texts that they are of.
      part_bytes: bytes of text that are written together in a run.
      n_parts: how many of such parts a slice has there.
      source: the file that they are of, as a run names it.
    """

    table: pa.Table
    text_bytes: int
    part_bytes: float
    n_parts: int
    source: str


def pack(pieces: Sequence[Rows]) -> list[tuple[float, int]]:
    """What each place's rows take per byte of text in the files of a run, and bytes of the footer of such a file."""
    alone = [_write(piece.table)[0] for piece in pieces]
    packed: list[tuple[float, int]] = []
    for at, piece in enumerate(pieces):
        table, text_bytes, apart = _fill(pieces, alone, at)
        rows, footer = _write(table)
        together = float(rows)
        if piece.n_parts > 1:
            # A part more is a row group more, of which the footer tells too.
            more = sum(_write(table, n_parts=2)) - footer - rows
            together = (rows + (piece.n_parts - 1) * more) / piece.n_parts
        share = together / apart * _extrapolate(table, rows, piece.part_bytes / text_bytes, seed=at)
        packed.append((share * alone[at] / piece.text_bytes, footer))
    return packed


def _extrapolate(table: pa.Table, n_bytes: int, times: float, *, seed: int) -> float:
    """How much rows take in some times as many, as a share: each further one what a second half of these took."""
    if times <= 1:
        return 1.0
    # A random half: every second row may be all there is of a pattern, or none of it. It is another for each place, so
    # that what the choice of it does shows in the interval.
    chosen = sorted(random.Random(seed).sample(range(table.num_rows), table.num_rows // 2))
    half, _ = _write(table.take(pa.array(chosen, pa.int64())))
    growth = max(0.0, 2 * (n_bytes - half) / n_bytes)
    return (1 + growth * (times - 1)) / times


def _fill(pieces: Sequence[Rows], alone: Sequence[int], at: int) -> tuple[pa.Table, float, float]:
    """Rows of a place and, for want of them, of the next ones: as many as a part has, or all there are.

    Returns the rows, bytes of the texts that they are of, and what each place's take alone, in sum.
    """
    wanted, text_bytes, apart = pieces[at].part_bytes, 0.0, 0.0
    seen = pa.array([], pieces[at].table.schema.field("id").type)
    tables: list[pa.Table] = []
    for other in itertools.islice(itertools.cycle(range(len(pieces))), at, at + len(pieces)):
        piece = pieces[other]
        if text_bytes >= wanted and tables:
            break
        per_row = piece.text_bytes / piece.table.num_rows
        # Pieces of one place may have documents in common, which a slice does not have twice.
        table = piece.table.filter(pc.invert(pc.is_in(piece.table.column("id"), value_set=seen, skip_nulls=True)))
        table = table.slice(0, max(1, round((wanted - text_bytes) / per_row)))
        seen = pa.concat_arrays([seen, *table.column("id").chunks])
        tables.append(table)
        text_bytes += per_row * table.num_rows
        apart += alone[other] * table.num_rows / piece.table.num_rows
    return _to_slice(pa.concat_tables(tables), pieces[at].source), text_bytes, apart


def _to_slice(table: pa.Table, source: str) -> pa.Table:
    """Rows of several files as those of one."""
    for name, values in (("row", range(table.num_rows)), ("source", [source] * table.num_rows)):
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    return table


def _write(table: pa.Table, *, n_parts: int = 1) -> tuple[int, int]:
    """Bytes of rows and of the footer of a file as a run writes it, of some parts that are alike."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, **parquet_options(table.schema)) as writer:
        for _ in range(n_parts):
            writer.write_table(table)
    content = sink.getvalue()
    footer: int = pq.read_metadata(pa.BufferReader(content)).serialized_size
    return content.size - footer, footer
