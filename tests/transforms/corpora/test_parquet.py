"""Parquet: slices of row groups, forms of text, damage, and bombs."""

import datetime
import itertools
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError, FileError
from schemas.slices import FileRef
from transforms.corpora import documents, parquet
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import survey_file

CONFIG = CorpusConfig()
GOLD_TYPE = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))


@pytest.fixture
def make_parquet(tmp_path):
    """Columns in, the written and listed file out."""

    def make(columns, **options) -> FileRef:
        path = str(tmp_path / "a.parquet")
        pq.write_table(pa.table(columns), path, **options)
        return stat_file(path)

    return make


def texts_of(rows):
    return [row["text"] for row in rows]


def invalid_utf8(*values, type_=None):
    """Bytes as a string column that nobody checked."""
    raw = pa.array(values, pa.large_binary() if type_ == pa.large_string() else pa.binary())
    return raw.view(type_ or pa.string())


@pytest.mark.parametrize("slice_bytes", [1, 300, 1 << 20])
def test_cut_slices_covers_every_row_once(make_parquet, read_corpus, slice_bytes):
    file = make_parquet({"text": [f"document {n}" for n in range(100)]}, row_group_size=7)
    rows, _, slices = read_corpus(file, slice_bytes=slice_bytes)
    assert [row["row"] for row in rows] == list(range(100))
    assert texts_of(rows) == [f"document {n}" for n in range(100)]
    bounds = [0, *(slice_.end for slice_ in slices)]
    assert [(slice_.start, slice_.end) for slice_ in slices] == list(itertools.pairwise(bounds))
    assert bounds[-1] == 15


def test_cut_slices_takes_row_groups_up_to_the_wanted_size(make_parquet):
    file = make_parquet({"text": ["x" * 1000] * 8}, row_group_size=2, use_dictionary=False, write_statistics=False)
    slices = parquet.cut_slices(file, CONFIG, 4500)
    assert [(s.start, s.end, s.first_row, s.rows) for s in slices] == [(0, 2, 0, 4), (2, 4, 4, 4)]


@pytest.mark.parametrize(
    ("n_groups", "slice_groups", "wanted"), [(6, 5, [3, 3]), (7, 3, [3, 2, 2]), (10, 4, [4, 3, 3])]
)
def test_cut_slices_leaves_no_small_one_at_the_end(make_parquet, n_groups, slice_groups, wanted):
    options = {"row_group_size": 1, "use_dictionary": False, "write_statistics": False}
    file = make_parquet({"text": ["x" * 1000] * n_groups}, **options)
    group_bytes = pq.read_metadata(file.uri).row_group(0).total_byte_size
    slices = parquet.cut_slices(file, CONFIG, slice_groups * group_bytes)
    assert [slice_.rows for slice_ in slices] == wanted


@given(
    sizes=st.lists(st.just((0, 0)) | st.tuples(st.integers(1, 3), st.integers(1, 10**7)), max_size=30),
    slice_bytes=st.integers(1, 10**7),
)
def test_slices_are_as_many_as_fit_and_hold_every_row_once(sizes, slice_bytes):
    file = FileRef("a.parquet", 1, "1")
    with mock.patch.object(parquet, "_read_footer", lambda _: parquet._Footer(pa.schema([]), tuple(sizes))):
        slices = parquet.cut_slices(file, CONFIG, slice_bytes)
    total = sum(n_bytes for _, n_bytes in sizes)
    assert len(slices) <= max(1, -(-total // slice_bytes))
    assert all(slice_.text_bytes < slice_bytes + max(n_bytes for _, n_bytes in sizes) for slice_ in slices)
    bounds = [0, *(slice_.end for slice_ in slices)]
    assert [slice_.start for slice_ in slices] == bounds[:-1]
    assert [slice_.first_row for slice_ in slices] == [
        sum(n_rows for n_rows, _ in sizes[: slice_.start]) for slice_ in slices
    ]
    assert sum(slice_.rows for slice_ in slices) == sum(n_rows for n_rows, _ in sizes)


def test_cut_slices_of_no_rows_is_none(make_parquet):
    assert parquet.cut_slices(make_parquet({"text": pa.array([], pa.string())}), CONFIG, 1) == []


def test_cut_slices_of_a_column_that_is_not_the_first(make_parquet, read_corpus):
    file = make_parquet({"meta": [{"a": 1, "b": 2}], "text": ["x"]})
    assert texts_of(read_corpus(file)[0]) == ["x"]


@pytest.mark.parametrize("slice_bytes", [1, 1 << 20])
def test_read_parts_passes_over_empty_row_groups(tmp_path, read_corpus, slice_bytes):
    schema = pa.schema([("text", pa.string())])
    path = str(tmp_path / "a.parquet")
    with pq.ParquetWriter(path, schema) as writer:
        for texts in ([], ["a"], [], [], ["b", "c"], []):
            writer.write_table(pa.table({"text": pa.array(texts, pa.string())}))
    rows, _, slices = read_corpus(stat_file(path), slice_bytes=slice_bytes)
    assert [(row["row"], row["text"]) for row in rows] == [(0, "a"), (1, "b"), (2, "c")]
    assert sum(slice_.rows for slice_ in slices) == 3


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_read_parts_accepts_every_form_of_text(make_parquet, read_corpus, type_):
    column = pa.array(["é", None, "", "é"], pa.string()).cast(type_)
    rows, rejects, _ = read_corpus(make_parquet({"text": column}))
    assert (texts_of(rows), rejects) == (["é", None, "", "é"], [])


def test_read_parts_reads_nulls_of_no_type(make_parquet, read_corpus):
    rows, _, _ = read_corpus(make_parquet({"text": pa.nulls(2)}))
    assert texts_of(rows) == [None, None]


@pytest.mark.parametrize(
    ("value", "type_"),
    [(1, "int64"), (1.5, "double"), (["a"], "list<element: string>"), ({"a": "b"}, "struct<a: string>")],
)
def test_describe_columns_refuses_what_is_no_text(make_parquet, value, type_):
    file = make_parquet({"text": [value]})
    with pytest.raises(ConfigError) as caught:
        parquet.describe_columns(file, CONFIG)
    assert f"expected text in column 'text' of {file.uri!r}, found {type_}" in str(caught.value)


def test_describe_columns_names_file_and_missing_columns(make_parquet):
    file = make_parquet({"body": ["x"], "uid": ["a"]})
    with pytest.raises(ConfigError) as caught:
        parquet.describe_columns(file, CorpusConfig(keep_columns=("lang",)))
    assert f"expected columns ['text', 'lang'] in {file.uri!r}, found ['body', 'uid']" in str(caught.value)


def test_describe_columns_refuses_two_columns_of_one_name(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), path)
    with pytest.raises(ConfigError, match=r"found \['text', 'text'\]"):
        parquet.describe_columns(stat_file(path), CONFIG)


def test_describe_columns_gives_kept_fields_their_own_types(make_parquet):
    file = make_parquet({"text": ["x"], "n": pa.array([1], pa.int16()), "tags": [["a"]]})
    fields, has_gold = parquet.describe_columns(file, CorpusConfig(keep_columns=("tags", "n")))
    assert ([(field.name, str(field.type)) for field in fields], has_gold) == (
        [("tags", "list<element: string>"), ("n", "int16")],
        False,
    )


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()], ids=str)
def test_read_parts_keeps_the_neighbours_of_invalid_utf8(make_parquet, read_corpus, type_):
    column = invalid_utf8(b"before", b"\xffcanary", None, "é".encode(), type_=type_)
    rows, (letter,), _ = read_corpus(make_parquet({"text": column}))
    assert [(row["row"], row["text"]) for row in rows] == [(0, "before"), (2, None), (3, "é")]
    assert (letter["error"], letter["row"], letter["size_bytes"]) == ("bad_utf8", 1, 7)
    assert "canary" not in str(letter)


def test_read_parts_keeps_the_gold_of_the_neighbours_of_invalid_utf8(make_parquet, read_corpus):
    span = [{"start": 0, "end": 2, "label": "X"}]
    file = make_parquet(
        {"text": invalid_utf8(b"before", b"\xff\xff", b"after"), "gold": pa.array([span] * 3, GOLD_TYPE)}
    )
    rows, (letter,), _ = read_corpus(file, CorpusConfig(gold_column="gold"))
    assert [(row["row"], row["gold"]) for row in rows] == [(0, span), (2, span)]
    assert letter["error"] == "bad_utf8"


def test_read_parts_reads_gold_of_a_binary_column(make_parquet, read_corpus):
    span = [{"start": 1, "end": 2, "label": "X"}]
    file = make_parquet({"text": pa.array(["éa".encode()]), "gold": pa.array([span], GOLD_TYPE)})
    rows, rejects, _ = read_corpus(file, CorpusConfig(gold_column="gold"))
    assert ([row["gold"] for row in rows], rejects) == ([span], [])


def test_read_parts_rejects_bad_gold_and_keeps_its_neighbours(make_parquet, read_corpus):
    spans = [[{"start": 0, "end": end, "label": "X"}] for end in (2, 3, 4)]
    file = make_parquet({"text": ["abc"] * 3, "gold": pa.array(spans, GOLD_TYPE)})
    rows, (letter,), _ = read_corpus(file, CorpusConfig(gold_column="gold"))
    assert [row["row"] for row in rows] == [0, 1]
    assert (letter["error"], letter["row"]) == ("bad_gold", 2)


def test_read_parts_reads_gold_triples_and_nulls(make_parquet, read_corpus):
    gold = pa.array([None, [{"start": 0, "end": 1, "label": "X"}]], GOLD_TYPE)
    rows, _, _ = read_corpus(make_parquet({"text": ["abc", "abc"], "gold": gold}), CorpusConfig(gold_column="gold"))
    assert [row["gold"] for row in rows] == [None, [{"start": 0, "end": 1, "label": "X"}]]


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array(["a", None]), ["a", "#1"]),
        (pa.array([7, 7]), ["7", "7"]),
        (invalid_utf8(b"a", b"\xff"), ["a", "\\xff"]),
        (pa.array(["../../x", "<b>"]), ["../../x", "<b>"]),
    ],
)
def test_read_parts_reads_ids_as_strings(make_parquet, read_corpus, column, ids):
    file = make_parquet({"id": column, "text": ["x", "y"]})
    rows, _, _ = read_corpus(file)
    assert [row["id"].removeprefix(file.uri) for row in rows] == ids


def test_read_parts_takes_the_id_column_it_is_told(make_parquet, read_corpus):
    file = make_parquet({"id": ["a"], "uid": ["b"], "text": ["x"]})
    assert read_corpus(file, CorpusConfig(id_column="uid"))[0][0]["id"] == "b"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.int16()),
        pa.array([[1, 2], []], pa.list_(pa.int32())),
        pa.array([{"a": "x"}, None], pa.struct([("a", pa.string())])),
        pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array([1_001, None], pa.timestamp("ns")),
        pa.array([1_001, None], pa.timestamp("ns", "Europe/Paris")),
        pa.array([datetime.date(2024, 2, 29), None]),
        pa.array([b"\xff", None]),
    ],
    ids=lambda column: str(column.type),
)
def test_read_parts_keeps_columns_with_their_types(make_parquet, column):
    file = make_parquet({"text": ["a", "b"], "k": column})
    config = CorpusConfig(keep_columns=("k",))
    (slice_,) = parquet.cut_slices(file, config, 1 << 20)
    (part,) = parquet.read_parts(slice_, config)
    (field,), _ = parquet.describe_columns(file, config)
    kept = part.documents.column("kept:k")
    assert kept.type == field.type
    assert kept.cast(column.type).combine_chunks().equals(column)


def test_read_parts_escapes_invalid_utf8_in_a_kept_column(make_parquet, read_corpus):
    file = make_parquet({"text": ["a", "b"], "k": invalid_utf8(b"\xff", b"ok")})
    rows, _, _ = read_corpus(file, CorpusConfig(keep_columns=("k",)))
    assert [row["kept:k"] for row in rows] == ["\\xff", "ok"]


def test_read_parts_reads_a_dictionary_bomb_in_bounded_memory(make_parquet, measure_memory):
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 400_000, pa.int32()), pa.array(["x" * 1000]))
    file = make_parquet({"text": column.cast(pa.string())}, row_group_size=400_000, compression="zstd")
    assert file.size_bytes < 50_000
    code = (
        "from transforms.corpora import parquet\n"
        "from transforms.corpora.documents import CorpusConfig\n"
        "from transforms.corpora.files import stat_file\n"
        "file, config = stat_file(sys.argv[1]), CorpusConfig()\n"
        "ready()\n"
        "(slice_,) = parquet.cut_slices(file, config, 1 << 20)\n"
        "sizes = [part.documents.num_rows for part in parquet.read_parts(slice_, config)]\n"
        "print(sum(sizes), len(sizes) > 50)\n"
    )
    printed, grown = measure_memory(code, file.uri)
    assert printed == ["400000", "True"]
    assert grown < 300 << 20


def test_read_parts_bounds_the_rows_of_a_part(make_parquet):
    file = make_parquet({"text": pa.nulls(200_000, pa.string())})
    (slice_,) = parquet.cut_slices(file, CONFIG, 1 << 20)
    sizes = [part.documents.num_rows for part in parquet.read_parts(slice_, CONFIG)]
    assert sum(sizes) == 200_000
    assert max(sizes) <= documents.PART_ROWS + 1024


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_cut_slices_of_a_truncated_file_is_a_file_error(make_parquet, make_file, share):
    content = Path(make_parquet({"text": ["x"] * 100}).uri).read_bytes()
    cut = make_file("cut.parquet", content[: int(len(content) * share)])
    with pytest.raises(FileError, match=r"cannot read '.*cut.parquet' to its end"):
        parquet.cut_slices(cut, CONFIG, 1)


def test_survey_of_a_name_that_is_no_text_is_a_file_error(make_parquet, make_file):
    content = Path(make_parquet({"text": ["x"], "other": ["y"]}, store_schema=False).uri).read_bytes()
    file = make_file("b.parquet", content.replace(b"other", b"\xffther"))
    with pytest.raises(FileError, match=r"cannot read '.*b.parquet' to its end: expected UTF-8 in names"):
        survey_file(file, CONFIG, 1)


def test_read_parts_refuses_a_flipped_byte_under_a_page_checksum(make_parquet, make_file):
    text = "the quick brown fox"
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    file = make_parquet({"text": [text]}, write_page_checksum=True, **plain)
    content = bytearray(Path(file.uri).read_bytes())
    content[content.index(text.encode()) + 4] ^= 0x20
    damaged = make_file("damaged.parquet", bytes(content))
    (slice_,) = parquet.cut_slices(damaged, CONFIG, 1)
    with pytest.raises(FileError, match="CRC"):
        list(parquet.read_parts(slice_, CONFIG))


def test_read_parts_of_a_file_that_lost_its_pages_is_a_file_error(make_parquet, make_file):
    file = make_parquet({"text": [f"document {n}" for n in range(1000)]}, use_dictionary=False)
    (slice_,) = parquet.cut_slices(file, CONFIG, 1)
    make_file("a.parquet", b"PAR1 no longer")
    with pytest.raises(FileError):
        list(parquet.read_parts(slice_, CONFIG))


def test_gold_of_other_bytes_than_utf8_costs_its_own_row(make_parquet, read_corpus):
    tags = pa.ListArray.from_arrays([0, 1, 2, 3], invalid_utf8(b"B-PER", b"\xff", b"O"))
    file = make_parquet({"text": ["Anna", "Berlin", "x"], "tags": tags, "tokens": [["Anna"], ["Berlin"], ["x"]]})
    config = CorpusConfig(gold_column="tags", tokens_column="tokens")
    rows, rejects, _ = read_corpus(file, config)
    assert [(row["row"], len(row["gold"])) for row in rows] == [(0, 1), (2, 0)]
    assert [(letter["row"], letter["error"]) for letter in rejects] == [(1, "bad_gold")]
