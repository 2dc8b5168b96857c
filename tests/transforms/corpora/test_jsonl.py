"""JSON lines: what is an object with a text is a document, everything else is a dead letter of one line."""

import gzip
import hashlib
import json

import pytest

from schemas.errors import ConfigError, FileError
from transforms.corpora import jsonl
from transforms.corpora.documents import CorpusConfig

GOLD = CorpusConfig(gold_column="gold")


@pytest.fixture
def read_lines(make_file, read_corpus):
    """Lines and options in, documents and dead letters out."""

    def read(*lines, **options):
        content = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
        documents, rejects, _ = read_corpus(make_file("a.jsonl", content), CorpusConfig(**options))
        return documents, rejects

    return read


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"text_column": "body"}, "['body']"),
        ({"id_column": "uid"}, "['uid']"),
        ({"gold_column": "spans", "keep_columns": ("lang",)}, "['spans', 'lang']"),
    ],
)
def test_describe_columns_names_file_and_missing_keys(make_file, options, missing):
    file = make_file("a.jsonl", b'\xef\xbb\xbf{"id": 1, "text": "x"}\n')
    with pytest.raises(ConfigError) as caught:
        jsonl.describe_columns(file, CorpusConfig(**options))
    assert f"expected keys {missing} in the first line of {file.uri!r}, found ['id', 'text']" in str(caught.value)


@pytest.mark.parametrize(
    "line", [b"", b"{broken", b"[]", b"[" * 200_000, b'\xff{"text": 1}', b'{"x": ' + b"1" * 9999 + b"}"]
)
def test_describe_columns_leaves_a_bad_first_line_to_reading(make_file, line):
    fields, has_gold = jsonl.describe_columns(make_file("a.jsonl", line + b"\n"), CorpusConfig())
    assert (fields, has_gold) == ([], False)


def test_describe_columns_of_a_broken_file_is_a_file_error(make_file):
    with pytest.raises(FileError):
        jsonl.describe_columns(make_file("a.jsonl.gz", b"no gzip"), CorpusConfig())


def test_read_parts_reads_texts_and_ids(read_lines):
    documents, rejects = read_lines('{"id": "a", "text": "é"}', '{"id": 7, "text": ""}', '{"text": "z"}\r')
    assert [(row["id"][-8:], row["row"], row["text"]) for row in documents] == [
        ("a", 0, "é"),
        ("7", 1, ""),
        (".jsonl#2", 2, "z"),
    ]
    assert rejects == []


def test_read_parts_keeps_a_null_text_as_a_document(read_lines):
    documents, _ = read_lines('{"id": "a", "text": null}')
    assert documents == [{"id": "a", "row": 0, "text": None}]


def test_read_parts_keeps_both_of_two_documents_with_one_id(read_lines):
    documents, _ = read_lines('{"id": "a", "text": "x"}', '{"id": "a", "text": "x"}')
    assert [(row["id"], row["row"]) for row in documents] == [("a", 0), ("a", 1)]


@pytest.mark.parametrize("id_", ["../../x", "x" * 10_000, "<script>alert(1)</script>", "a\0b", ""])
def test_read_parts_takes_a_hostile_id_as_it_is(read_lines, id_):
    documents, _ = read_lines(json.dumps({"id": id_, "text": "x"}))
    assert documents[0]["id"] == id_


@pytest.mark.parametrize(
    ("line", "code", "fragment"),
    [
        ("{broken", "bad_json", "found Expecting property name"),
        ("[" * 200_000, "bad_json", "nested too deeply"),
        ('["text"]', "bad_json", "found list"),
        ("null", "bad_json", "found NoneType"),
        ('{"id": "a"}', "missing_text", "expected key 'text', found none"),
        ('{"text": 7}', "bad_text", "expected a string at 'text', found int"),
        ('{"text": ["x"]}', "bad_text", "expected a string at 'text', found list"),
        (r'{"text": "a\ud800b"}', "lone_surrogate", "found U+D800 at 1"),
        (b'{"text": "\xff"}', "bad_utf8", "found byte 0xff"),
        (b'{"text": "\xed\xa0\x80"}', "lone_surrogate", "found U+D800 at 0"),
    ],
)
def test_read_parts_rejects_a_bad_line_and_keeps_its_neighbours(read_lines, line, code, fragment):
    documents, (letter,) = read_lines('{"text": "before"}', line, '{"text": "after"}')
    assert [(row["row"], row["text"]) for row in documents] == [(0, "before"), (2, "after")]
    assert (letter["error"], letter["row"]) == (code, 1)
    assert fragment in letter["message"]


def test_read_parts_passes_over_a_longer_line_and_keeps_its_neighbours(read_lines):
    most = 2 * 10 + (1 << 20)
    whole = b'{"k": 1, "text": "x"}'.ljust(most)
    options = {"max_document_bytes": 10, "keep_columns": ("k",)}
    documents, (letter,) = read_lines(whole, whole + b" ", whole, **options)
    assert [(row["row"], row["text"]) for row in documents] == [(0, "x"), (2, "x")]
    assert (letter["row"], letter["error"], letter["size_bytes"]) == (1, "too_large", most + 1)
    assert letter["digest"] == hashlib.sha256(whole + b" ").hexdigest()
    assert letter["message"] == f"expected {most} bytes at most, found {most + 1}"


def test_read_parts_keeps_the_id_of_a_rejected_object(read_lines):
    _, (letter,) = read_lines('{"id": "a", "text": "x"}', '{"id": "b"}')
    assert letter["id"] == "b"


def test_read_parts_keeps_controls_and_joiners(read_lines):
    text = "\0\x01\ufeff\u2028\u202eא👩\u200d👩\u200d👧e\u0301\r\n"
    documents, _ = read_lines(json.dumps({"text": text}))
    assert documents[0]["text"] == text


def test_read_parts_joins_a_pair_of_surrogates(read_lines):
    documents, rejects = read_lines(r'{"text": "\ud83d\ude00"}')
    assert ([row["text"] for row in documents], rejects) == (["😀"], [])


def test_read_parts_reads_gold_spans(read_lines):
    documents, _ = read_lines(
        '{"text": "Anna slept", "gold": [{"start": 0, "end": 4, "label": "PER"}]}',
        '{"text": "Anna slept", "gold": [[0, 4, "PER"], [5, 10, "X"]]}',
        '{"text": "Anna slept", "gold": null}',
        '{"text": "Anna slept"}',
        gold_column="gold",
    )
    anna = {"start": 0, "end": 4, "label": "PER"}
    assert [row["gold"] for row in documents] == [[anna], [anna, {"start": 5, "end": 10, "label": "X"}], None, None]


@pytest.mark.parametrize(
    "gold",
    [
        '[[0, 6, "PER"]]',
        '[[2, 2, "PER"]]',
        '[[-1, 2, "PER"]]',
        '[["0", 2, "PER"]]',
        '[[0, 2.0, "PER"]]',
        '[[0, true, "PER"]]',
        "[[0, 2, null]]",
        r'[[0, 2, "\ud800"]]',
        "[[0, 2]]",
        '[{"start": 0, "end": 2}]',
        '"canary"',
        '["canary"]',
        '[["canary", "canary", "PER"]]',
        "[7]",
        '{"0": 1}',
    ],
)
def test_read_parts_rejects_bad_gold_and_keeps_its_neighbours(read_lines, gold):
    good = '{"text": "hello", "gold": []}'
    documents, (letter,) = read_lines(good, f'{{"text": "hello", "gold": {gold}}}', good, gold_column="gold")
    assert [row["row"] for row in documents] == [0, 2]
    assert (letter["error"], letter["row"]) == ("bad_gold", 1)
    assert "canary" not in letter["message"]


def test_read_parts_counts_gold_in_code_points(read_lines):
    documents, rejects = read_lines('{"text": "😀b", "gold": [[1, 2, "X"]]}', gold_column="gold")
    assert (documents[0]["gold"], rejects) == ([{"start": 1, "end": 2, "label": "X"}], [])


def test_read_parts_keeps_strings_as_they_are_and_others_as_json(read_lines):
    documents, _ = read_lines(
        '{"text": "x", "k": "de"}',
        '{"text": "x", "k": {"a": [1, null, "é"]}}',
        '{"text": "x", "k": 1.5}',
        '{"text": "x", "k": null}',
        '{"text": "x"}',
        r'{"text": "x", "k": "\ud800"}',
        keep_columns=("k",),
    )
    assert [row["kept:k"] for row in documents] == ["de", '{"a": [1, null, "\\u00e9"]}', "1.5", None, None, "\\ud800"]


def test_read_parts_reads_a_compressed_file_the_same(make_file, read_corpus):
    lines = b"".join(b'{"id": %d, "text": "number %d"}\n' % (n, n) for n in range(500))
    plain = read_corpus(make_file("a.jsonl", lines), slice_bytes=1000)
    packed = read_corpus(make_file("b.jsonl.gz", gzip.compress(lines)), slice_bytes=1000)
    assert plain[0] == packed[0]
    assert len(plain[2]) > 16 >= len(packed[2]) > 1


def test_read_parts_reads_the_first_line_behind_a_mark(read_lines):
    documents, rejects = read_lines(b'\xef\xbb\xbf{"text": "x"}')
    assert ([row["text"] for row in documents], rejects) == (["x"], [])
