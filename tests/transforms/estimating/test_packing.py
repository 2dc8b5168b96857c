import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.estimating.packing import Rows, pack

TEXT_BYTES = 100
"""Of each document."""


def _annotations(n_rows, *, first=0, n_bytes=40, source="a.txt"):
    """Rows that repeat in part, as annotations do; each is the same however it is drawn."""
    labels = [random.Random(at).choice(["LOC", "PER", "ORG"]) for at in range(first, first + n_rows)]
    digests = [random.Random(-at - 1).randbytes(n_bytes).hex() for at in range(first, first + n_rows)]
    return pa.table(
        {
            "id": [f"a/rather/long/name/of/a/file.txt#{at}" for at in range(first, first + n_rows)],
            "source": [source] * n_rows,
            "row": pa.array(range(n_rows)),
            "label": labels,
            "digest": digests,
        }
    )


def _rows(table, *, documents, n_parts=1, source="a.txt"):
    return Rows(
        table=table,
        text_bytes=TEXT_BYTES * table.num_rows,
        part_bytes=TEXT_BYTES * documents,
        n_parts=n_parts,
        source=source,
    )


def _file(path, table, *, n_parts=1):
    """Bytes of a file of some row groups."""
    with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
        for _ in range(n_parts):
            writer.write_table(table)
    return path.stat().st_size


def test_a_slice_that_was_annotated_as_a_whole_takes_what_its_file_does(tmp_path):
    table = _annotations(60)
    ((per_byte, footer),) = pack([_rows(table, documents=60)])
    assert per_byte * 60 * TEXT_BYTES + footer == pytest.approx(_file(tmp_path / "a.parquet", table))


def test_pieces_of_several_slices_are_not_compressed_together():
    pieces = [_rows(_annotations(60, first=60 * at), documents=60) for at in range(8)]
    assert pack(pieces) == [pack([piece])[0] for piece in pieces]


def test_parts_of_a_slice_are_row_groups_and_the_footer_tells_of_each(tmp_path):
    table = _annotations(60)
    ((per_byte, footer),) = pack([_rows(table, documents=60, n_parts=5)])
    size = _file(tmp_path / "a.parquet", table, n_parts=5)
    assert per_byte * 5 * 60 * TEXT_BYTES + footer == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize(("n_pieces", "tolerance"), [(40, 0.03), (10, 0.1)])
def test_a_large_slice_is_told_by_small_pieces_even_where_all_are_less_than_it(tmp_path, n_pieces, tolerance):
    whole = _annotations(2000)
    pieces = [_rows(_annotations(20, first=2000 // n_pieces * at), documents=800) for at in range(n_pieces)]
    written = _file(tmp_path / "a.parquet", whole.slice(0, 800))
    sizes = [per_byte * 800 * TEXT_BYTES + footer for per_byte, footer in pack(pieces)]
    assert sum(sizes) / n_pieces == pytest.approx(written, rel=tolerance)
    alone = _file(tmp_path / "b.parquet", whole.slice(0, 20))
    assert alone * 800 / 20 > 2 * written


def test_documents_that_two_pieces_have_in_common_are_in_a_slice_once():
    piece = _rows(_annotations(50), documents=400)
    assert pack([piece, piece])[0] == pack([piece])[0]


def test_the_file_of_the_run_is_named_in_it_and_not_that_of_the_sample(tmp_path):
    table = _annotations(60, source="/a/folder/of/the/sample/" * 20)
    ((per_byte, footer),) = pack([_rows(table, documents=60, source="a.txt")])
    written = _file(tmp_path / "a.parquet", _annotations(60))
    assert per_byte * 60 * TEXT_BYTES + footer == pytest.approx(written)


def test_places_differ_as_their_rows_do():
    light = [_rows(_annotations(20, first=20 * at), documents=200) for at in range(6)]
    heavy = [_rows(_annotations(20, first=1000 + 20 * at, n_bytes=400), documents=200) for at in range(6)]
    rates = [per_byte for per_byte, _ in pack([*light, *heavy])]
    assert min(rates[6:]) > 3 * max(rates[:6])
