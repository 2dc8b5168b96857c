"""Formats by suffix, and corpora that agree."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import ConfigError, FileError
from schemas.slices import FileRef
from transforms.corpora import conll
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import Survey, check_agreement, cut_files, format_of, read_parts, survey_file


@pytest.mark.parametrize(
    ("uri", "format_"),
    [
        ("a.parquet", "parquet"),
        ("a.pq", "parquet"),
        ("a.jsonl.gz", "jsonl"),
        ("a.NDJSON.zst", "jsonl"),
        ("a.txt.xz", "text"),
        ("s3://bucket/a.b/c.conllu.bz2", "conll"),
        ("a.iob2", "conll"),
    ],
)
def test_format_of_goes_by_the_suffix_through_compression(uri, format_):
    assert format_of(FileRef(uri, 1, ""), CorpusConfig()) == format_


@pytest.mark.parametrize(
    ("uri", "suffix"), [("a.csv", ".csv"), ("a", ""), ("a.gz", ""), ("ftp://me:secret@h/a.md.gz", ".md")]
)
def test_format_of_an_unknown_suffix_is_a_config_error(uri, suffix):
    with pytest.raises(ConfigError, match=rf"found '{suffix}'; set --format") as caught:
        format_of(FileRef(uri, 1, ""), CorpusConfig())
    assert "secret" not in str(caught.value)


def test_format_of_takes_the_format_it_is_told():
    assert format_of(FileRef("a.csv", 1, ""), CorpusConfig(format="text")) == "text"


def test_corpus_config_refuses_an_unknown_format():
    with pytest.raises(ConfigError, match="found 'csv'"):
        CorpusConfig(format="csv")


def test_corpus_config_refuses_kept_columns_that_the_output_has():
    with pytest.raises(ConfigError, match=r"found \['entities', 'row'\]"):
        CorpusConfig(keep_columns=("row", "lang", "entities"))


def test_describe_leaves_the_limit_to_the_settings_of_entities():
    assert CorpusConfig(max_document_bytes=1).describe() == CorpusConfig().describe()
    assert CorpusConfig(document_per_file=True).describe() != CorpusConfig().describe()


def test_survey_file_describes_and_cuts(make_file):
    file = make_file("a.jsonl.gz", gzip.compress(b'{"text": "x", "lang": "de", "gold": []}\n' * 3))
    survey = survey_file(file, CorpusConfig(keep_columns=("lang",), gold_column="gold"), 1)
    assert (survey.kept, survey.has_gold) == ((pa.field("lang", pa.string()),), True)
    assert [(slice_.format, slice_.first_row, slice_.rows) for slice_ in survey.slices] == [
        ("jsonl", 0, 1),
        ("jsonl", 1, 1),
        ("jsonl", 2, 1),
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.txt.gz", "a.jsonl.zst", "a.conll.bz2", "a.txt.xz"])
def test_survey_file_of_no_bytes_is_a_file_error(make_file, name):
    with pytest.raises(FileError):
        survey_file(make_file(name, b""), CorpusConfig(), 1)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conll", "a.txt.gz"])
def test_survey_file_of_no_documents_has_no_slices(make_file, name):
    content = gzip.compress(b"") if name.endswith(".gz") else b""
    assert survey_file(make_file(name, content), CorpusConfig(), 1).slices == ()


def test_read_parts_reads_by_the_format_of_the_slice(make_file):
    file = make_file("a.csv", b"one\n")
    (slice_,) = survey_file(file, CorpusConfig(format="text"), 1).slices
    (part,) = read_parts(slice_, CorpusConfig(format="text"))
    assert part.documents.column("text").to_pylist() == ["one"]


def survey_of(name, *fields):
    return Survey(FileRef(name, 1, ""), fields, False, ())


def test_check_agreement_accepts_equal_columns():
    check_agreement(survey_of("a", pa.field("k", pa.string())), survey_of("b", pa.field("k", pa.string())))


@pytest.mark.parametrize("other", [(), (pa.field("k", pa.int32()),), (pa.field("j", pa.string()),)])
def test_check_agreement_names_the_file_that_differs(other):
    surveys = [survey_of("a", pa.field("k", pa.string())), survey_of("b", *other)]
    with pytest.raises(ConfigError, match=r"expected kept columns \['k: string'\] in 'b' as in 'a', found"):
        check_agreement(*surveys)


def test_check_agreement_refuses_parquet_files_with_other_types(tmp_path):
    surveys = []
    for name, type_ in (("a.parquet", pa.int32()), ("b.parquet", pa.int64())):
        pq.write_table(pa.table({"text": ["x"], "n": pa.array([1], type_)}), tmp_path / name)
        surveys.append(survey_file(stat_file(str(tmp_path / name)), CorpusConfig(keep_columns=("n",)), 1))
    with pytest.raises(ConfigError, match=r"n: int32.*n: int64"):
        check_agreement(*surveys)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conll", "a.txt.gz", "whole.txt"])
def test_a_file_of_another_encoding_is_refused_by_its_byte_order_mark(make_file, name, encoding):
    content = '{"text": "Anna O"}\n' if name == "a.jsonl" else "Anna O\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    encoded = (mark + content).encode(encoding)
    file = make_file(name, gzip.compress(encoded) if name.endswith(".gz") else encoded)
    found = encoding[:6].upper()
    with pytest.raises(FileError, match=f"expected UTF-8, found {found} in .*; convert it to UTF-8") as caught:
        survey_file(file, CorpusConfig(document_per_file=name == "whole.txt"), 1 << 20)
    assert caught.value.code == "bad_utf8"
    slices = cut_files([file], CorpusConfig(), 1 << 20, is_strict=False)
    assert [slice_.error for slice_ in slices] == [caught.value.message]


def test_a_byte_order_mark_of_utf8_is_no_part_of_the_text(make_file, read_corpus):
    documents, _, _ = read_corpus(make_file("a.txt", "\ufeffAnna\n".encode()))
    assert [document["text"] for document in documents] == ["Anna"]


def test_a_gold_file_of_another_encoding_is_refused_too(make_file):
    file = make_file("a.conll", "Anna B-PER\n".encode("utf-16"))
    with pytest.raises(FileError, match="found UTF-16"):
        list(conll.read_documents(file, CorpusConfig()))
