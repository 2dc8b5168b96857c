"""Corpus readers on random, odd and damaged bytes."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.properties import COMPRESS, SUFFIXES, check_compressed, check_lines, read_file
from transforms.corpora.documents import CorpusConfig

budget = settings(
    deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # The folder may be shared: every example writes its file anew.

_ODD = (
    b"",
    b"\r",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00",
    b"\xed\xa0\x80",
    "e\u0301\u2028👩‍👧".encode(),
    b"\x1a\x0b\x0c",
)
_ODD_JSON = (
    *(
        b"{",
        b"[]",
        b"null",
        b"1e999",
        b"NaN",
        b'{"text": 1}',
        b'{"text": null}',
        b'{"text": "\\ud800"}',
        b'{"other": 2}',
    ),
    *(b'{"text": "a", "id": {"b": [true]}}', b'{"text": "a", "id": "\\udfff"}', b"[" * 100_000, b"9" * 5000),
    *(
        b'{"text": "a", "text": "b"}',
        b'{"text": "Anna", "gold": [[0, 4, "PER"]]}',
        b'{"text": "a", "gold": [[9, 1, 2]]}',
    ),
    *(b'{"text": "a", "gold": {"start": 0}}', b'{"text": "a", "gold": [[0, 1, "\\ud800"]], "id": 7}'),
)
_ODD_CONLL = (
    *(
        b"Anna B-PER",
        b"Anna\tB-PER",
        b"1\tAnna\tB-PER\t-",
        b"2-3 x O _",
        b"2.1 x O _",
        b"-DOCSTART- -X- O O",
        b"",
        b"\t",
    ),
    *(
        b"# newdoc id = a",
        b"# newdoc",
        b"# text = Anna slept",
        b"# text =",
        b"#",
        b"# O",
        b"\xc2\xa0 O",
        b"a b c d",
        b"one",
    ),
)


def _lines_of(*odd):
    """Files of lines, most of them odd."""
    line = st.one_of(st.sampled_from(odd), st.binary(max_size=12), st.text(max_size=12).map(_encode))
    return st.lists(line, max_size=12).map(b"\n".join)


def _encode(text):
    return text.encode(errors="surrogatepass")


@st.composite
def _damage(draw, contents):
    """Content with some pieces put in place of others, and the end cut off now and then."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 16)))
        content[start:stop] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@budget
@given(st.one_of(_lines_of(*_ODD), st.binary(max_size=300)))
def test_text_of_any_bytes_gives_a_document_or_a_dead_letter_per_line(tmp_path, content):
    check_lines(tmp_path / "a.txt", content)


@budget
@given(st.binary(max_size=300))
def test_text_of_any_bytes_as_one_document_is_one(tmp_path, content):
    reading = read_file(tmp_path / "a.txt", content, CorpusConfig(document_per_file=True))
    assert len(reading.documents) + len(reading.letters) == 1


@budget
@given(st.one_of(_lines_of(*_ODD, *_ODD_JSON), _damage(_lines_of(*_ODD_JSON))))
def test_json_lines_of_any_bytes_give_a_document_or_a_dead_letter_per_line(tmp_path, content):
    check_lines(tmp_path / "a.jsonl", content)


@budget
@given(_lines_of(*_ODD_JSON))
def test_json_lines_with_gold_of_any_kind_are_read(tmp_path, content):
    config = CorpusConfig(gold_column="gold", keep_columns=("other",))
    first = b'{"text": "Anna", "gold": null, "other": 1}\n'
    reading = read_file(tmp_path / "a.jsonl", first + content, config)
    assert reading.is_whole


@budget
@given(st.one_of(_lines_of(*_ODD, *_ODD_CONLL), _damage(_lines_of(*_ODD_CONLL))))
def test_conll_of_any_bytes_is_documents_or_a_dead_letter(tmp_path, content):
    read_file(tmp_path / "a.conll", content)


@st.composite
def _damaged_archive(draw):
    content = draw(st.one_of(_lines_of(*_ODD, b"Anna lives in Berlin"), st.just(b"Anna lives in Berlin\n" * 400)))
    codec = draw(st.sampled_from(sorted(COMPRESS)))
    return codec, content, draw(_damage(st.just(COMPRESS[codec](content))))


@budget
@given(_damaged_archive())
def test_a_damaged_archive_is_never_read_short_or_otherwise(tmp_path, archive):
    codec, content, damaged = archive
    check_compressed(tmp_path / f"a.txt.{codec}", content, damaged)


@budget
@given(st.sampled_from(sorted(COMPRESS)), st.sampled_from(sorted(SUFFIXES)), st.binary(max_size=200))
def test_an_archive_of_any_bytes_is_read_or_refused(tmp_path, codec, format_, content):
    read_file(tmp_path / f"a.{SUFFIXES[format_]}.{codec}", content)


def _tables():
    texts = pa.array(["Anna", None, "Berlin", "", "e\u0301👩‍👧"] * 3)
    columns = {
        "string": texts,
        "large": texts.cast(pa.large_string()),
        "view": texts.cast(pa.string_view()),
        "binary": pa.array([b"Anna", b"\xff", None] * 5),
        "dictionary": texts.dictionary_encode(),
        "null": pa.nulls(15),
    }
    ids = (
        pa.array(range(15)),
        pa.array([b"\xff\x00"] * 15),
        pa.array([[at] for at in range(15)]),
        pa.array([0.5] * 15),
    )
    for column in columns.values():
        for id_ in ids:
            sink = io.BytesIO()
            table = pa.table({"text": column, "id": id_})
            pq.write_table(table, sink, row_group_size=4, write_page_checksum=True, store_schema=False)
            yield sink.getvalue()
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink, row_group_size=4, write_page_checksum=True)
    yield sink.getvalue()


TABLES = tuple(_tables())


# Arrow aborts the process on some damaged statistics of sizes, which nothing can catch: the same is tried every time.
@settings(budget, derandomize=True)
@given(_damage(st.sampled_from(TABLES)))
def test_a_damaged_table_is_documents_dead_letters_or_refused(tmp_path, content):
    read_file(tmp_path / "a.parquet", content)


@pytest.mark.parametrize("content", TABLES, ids=range(len(TABLES)))
def test_a_whole_table_is_read(tmp_path, content):
    reading = read_file(tmp_path / "a.parquet", content)
    assert len(reading.documents) + len(reading.letters) == 15
    assert reading.is_whole
