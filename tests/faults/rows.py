"""M36 to M43: documents that are no text, not whole, too long, there twice, or out to do harm."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.harness import Bench, Row

_TOLERANT = "--max-failed-fraction=1"


def write_bad_utf8(bench: Bench) -> str:
    """M36: in a text file and in a string column of Parquet, neighbours on both sides."""
    text = bench.folder / "bad.txt"
    text.write_bytes(b"Anna\n\xff\xfe Anna\nBerlin\n")
    offsets = pa.py_buffer(b"".join(at.to_bytes(4, "little") for at in (0, 4, 10, 16)))
    column = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"Anna\xff Anna" + b"Berlin"))
    parquet = bench.folder / "bad.parquet"
    pq.write_table(pa.table({"text": column}), parquet)
    job = bench.job(source=[text, parquet])
    keys = [(path.name, row) for path in (text, parquet) for row in range(3)]
    job.check(job.run(), status=3, keys=keys, dead={(path.name, 1): "bad_utf8" for path in (text, parquet)})
    tokens = [row["tokens"] for row in job.rows().values()]
    assert tokens == [1, 1, 1, 1], "neighbours were read in another way"
    return "those rows are dead, neighbours kept on both sides"


def write_surrogates(bench: Bench) -> str:
    """M37."""
    lines = [json.dumps({"text": text}) for text in ("Anna", "\ud800", "Anna \udfff Bob", "\ud83d\ude00 Anna")]
    _check_texts(bench, lines, dead=(1, 2), error="lone_surrogate")
    return "halves are dead, a whole pair is kept"


def _check_texts(bench: Bench, lines: Sequence[str], *, dead: Sequence[int] = (), error: str = "") -> None:
    source = bench.folder / "texts.jsonl"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    job = bench.job(_TOLERANT, source=source)
    keys = [(source.name, at) for at in range(len(lines))]
    job.check(job.run(), keys=keys, dead={(source.name, at): error for at in dead})


def write_odd_characters(bench: Bench) -> str:
    """M38: the model knows one word, and every one of them must be cut out of the text, wherever it stands."""
    texts = [f"{before}Anna {between} Anna{after}" for before in _ODD for between in _ODD for after in _ODD[:3]]
    source = bench.folder / "odd.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    job = bench.job("--slice-size=0", source=source)
    ended = job.run(_annas(bench))
    assert ended.status == 0, ended.last_words()
    rows = job.rows()
    for at, text in enumerate(texts):
        entities = rows[source.name, at]["entities"]
        cut = [text[entity["start"] : entity["end"]] for entity in entities]
        assert cut == [entity["text"] for entity in entities] == ["Anna", "Anna"], f"{text!r}: {entities}"
    return f"{2 * len(texts)} of {2 * len(texts)} spans cut out exactly"


_ODD = [
    "", " ", "\0", "\x07", "\ufeff", "\r\n", "\u2028", "שלום ", "👩‍👩‍👧 ", "e\u0301 ", "ﬁ ", "½ ", "Ａ ", "中文 ", "\t",
]  # fmt: skip


def _annas(bench: Bench) -> str:
    """The model that knows one word, `Anna`."""
    vocabulary = json.loads((bench.workshop.model / "tokenizer.json").read_text())["model"]["vocab"]
    return f"answer_by_rule={vocabulary['Anna']}"


def write_blanks(bench: Bench) -> str:
    """M39."""
    source = bench.folder / "blank.parquet"
    texts = ["Anna", None, "", "   ", "\n\t", "\u3000", "Anna"]
    pq.write_table(pa.table({"text": texts}), source)
    job = bench.job(source=source)
    job.check(job.run(), keys=[(source.name, at) for at in range(len(texts))])
    assert [bool(row["entities"] or row["tokens"]) for row in job.rows().values()] == [True, *[False] * 5, True]
    return "present, 0 entities"


def write_a_long_line(bench: Bench) -> str:
    """M40: one line of some megabytes and one of twice as many, each between two short ones."""
    seconds, peaks = [], []
    for n_bytes in (_LONG, 2 * _LONG):
        source = bench.folder / f"{n_bytes}.txt"
        text = "Anna lives in Berlin while " * (n_bytes // 27)
        source.write_text(f"Anna\n{text}\nAnna\n")
        job = bench.job("--slice-size=0", source=source, output=source.stem)
        ended = job.run(_annas(bench))
        assert ended.status == 0, ended.last_words()
        counts = [len(row["entities"]) for row in job.rows().values()]
        assert counts == [1, n_bytes // 27, 1], f"{counts[1]} of {n_bytes // 27} entities found"
        seconds.append(ended.seconds)
        peaks.append(ended.total("peak"))
    assert seconds[1] < 3 * seconds[0], f"{seconds[0]:.1f} s, and {seconds[1]:.1f} s for twice the length"
    grown = (peaks[1] - peaks[0]) << 10
    assert grown < 128 * _LONG, f"{grown / _LONG:.0f} bytes of memory for each byte of text"
    return f"2 and 4 MB: {seconds[0]:.1f} and {seconds[1]:.1f} s, {grown / _LONG:.0f} bytes of memory a byte, in order"


_LONG = 2 << 20


def write_100_000_tokens(bench: Bench) -> str:
    """M41: an entity in every hundred tokens, at another place in each, so that some lie on every edge of a window."""
    words = ["in"] * 100_000
    planted = [at * 100 + at * 7 % 100 for at in range(1000)]
    for at in planted:
        words[at] = "Anna"
    source = bench.folder / "long.txt"
    source.write_text(" ".join(words) + "\n")
    begins = [0]
    for word in words:
        begins.append(begins[-1] + len(word) + 1)
    job = bench.job("--slice-size=0", source=source)
    ended = job.run(_annas(bench))
    job.check(ended, keys=[(source.name, 0)])
    (row,) = job.rows().values()
    found = [(entity["start"], entity["end"]) for entity in row["entities"]]
    assert found == [(begins[at], begins[at] + 4) for at in planted], f"{len(found)} entities, {len(set(found))} places"
    assert row["tokens"] == 100_000
    return "1,000 of 1,000 entities found, none twice"


def repeat_ids(bench: Bench) -> str:
    """M42."""
    source = bench.folder / "ids.parquet"
    pq.write_table(pa.table({"id": ["a", "a", None, "b", None], "text": ["Anna"] * 5}), source)
    job = bench.job(source=source)
    job.check(job.run(), keys=[(source.name, at) for at in range(5)])
    ids = [row["id"] for row in job.rows().values()]
    assert ids == ["a", "a", "ids.parquet#2", "b", "ids.parquet#4"]
    return "all kept, told apart by file and row"


def name_by_hostile_ids(bench: Bench) -> str:
    """M43."""
    ids = ["../../escaped", "/escaped", "x" * 10_000, "<script>alert(1)</script>", "a\0b", "con", ""]
    source = bench.folder / "hostile.jsonl"
    source.write_text("".join(json.dumps({"id": id_, "text": "Anna"}) + "\n" for id_ in ids))
    job = bench.job(source=source)
    before = _names(bench.folder)
    ended = job.run()
    job.check(ended, keys=[(source.name, at) for at in range(len(ids))])
    assert [row["id"] for row in job.rows().values()] == ids
    new = _names(bench.folder) - before
    assert not any(part in name for name in new for part in ("escaped", "xxx", "script")), "an id became a path"
    assert "<script>alert(1)" not in (job.folder / "report/report.html").read_text()
    return "ids kept to the letter, part of no path, inert in the report"


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


ROWS = (
    Row(id="M36", injected="bytes that are no UTF-8", check=write_bad_utf8, mutants=("utf8_replaced",), is_fast=True),
    Row(
        id="M37",
        injected="lone surrogates",
        check=write_surrogates,
        mutants=("surrogates_passed_on",),
        is_fast=True,
    ),
    Row(
        id="M38",
        injected="controls, RTL, emoji, NFD",
        check=write_odd_characters,
        mutants=("text_normalized",),
        is_fast=True,
    ),
    Row(id="M39", injected="nulls and blanks", check=write_blanks, mutants=("blanks_dropped",), is_fast=True),
    Row(id="M40", injected="a line of megabytes", check=write_a_long_line, mutants=("text_truncated",)),
    Row(
        id="M41",
        injected="a document of 100,000 tokens",
        check=write_100_000_tokens,
        mutants=("text_truncated", "windows_decoded_apart"),
        is_fast=True,
    ),
    Row(id="M42", injected="ids twice or missing", check=repeat_ids, mutants=("ids_made_unique",), is_fast=True),
    Row(
        id="M43",
        injected="ids that are paths and scripts",
        check=name_by_hostile_ids,
        mutants=("files_named_by_id",),
        is_fast=True,
    ),
)
