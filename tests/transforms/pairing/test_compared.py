"""Rows of two runs, and gold documents, joined by id."""

import hashlib
import json
import random

import pyarrow as pa
import pytest

from schemas.errors import ConfigError
from transforms.pairing.compared import ANNOTATED_SCHEMA, compare_documents, read_annotated_rows
from transforms.pairing.joined import GOLD_SCHEMA, JoinConfig
from transforms.pairing.rows import gather_rows, spread_rows
from transforms.pairing.tagged import TagConfig
from transforms.scoring.comparison import Entity
from transforms.storage.store import open_store


def _row(id_, text, spans=(), unit="codepoint", number=0, **more):
    entities = spans
    if spans is not None:
        entities = [{"start": s, "end": e, "label": name, "score": 0.5, "text": f"<{s}>"} for s, e, name in spans]
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = {"id": id_, "source": "in", "row": number, "digest": digest, "unit": unit, "text": None, "entities": entities}
    return {**row, **more}


def _gold(id_, text, spans=(), number=0):
    spans = None if spans is None else [{"start": s, "end": e, "label": label} for s, e, label in spans]
    return {"id": id_, "source": "g", "row": number, "text": text, "gold": spans, "tags": None, "groups": []}


def _compare(a, b, gold=None, label_map=None):
    tags = TagConfig(scheme="BIO", predicted_scheme="BIO", label_map=label_map or {})
    tables = (pa.Table.from_pylist(rows, ANNOTATED_SCHEMA) for rows in (a, b))
    gold = None if gold is None else pa.Table.from_pylist(gold, GOLD_SCHEMA)
    return compare_documents(*tables, gold, JoinConfig(tags=tags))


def _spans(entities):
    return [entity[:3] for entity in entities]


def test_documents_meet_by_id_in_any_order():
    block = _compare(
        [_row("a", "Anna", [(0, 4, "PER")], number=3), _row("b", "Rome")],
        [_row("b", "Rome", [(0, 4, "LOC")]), _row("a", "Anna", [(0, 3, "PER"), (3, 4, "LOC")])],
    )
    assert [(document.id, document.source, document.row) for document in block.documents] == [
        ("a", "in", 3),
        ("b", "in", 0),
    ]
    assert block.documents[0].a == (Entity(0, 4, "PER", 0.5, "<0>"),)
    assert _spans(block.documents[0].b) == [(0, 3, "PER"), (3, 4, "LOC")]
    assert _spans(block.documents[1].b) == [(0, 4, "LOC")]
    assert block.documents[0].text is None
    assert not block.counts
    assert block.gold is None


def test_what_cannot_be_compared_is_counted_and_listed():
    block = _compare(
        [_row("a", "x"), _row("dead", "x", None), _row("both", "x", None), _row("other", "x"), _row("ok", "x")],
        [_row("b", "x"), _row("dead", "x"), _row("both", "x", None), _row("other", "y"), _row("ok", "x")],
    )
    assert [document.id for document in block.documents] == ["ok"]
    listed = {
        "only_a": ["a"],
        "only_b": ["b"],
        "dead_a": ["both", "dead"],
        "dead_b": ["both"],
        "other_texts": ["other"],
    }
    assert block.listed == listed
    assert block.counts == {name: len(ids) for name, ids in listed.items()}


def test_a_dead_letter_without_a_digest_meets_its_partner():
    block = _compare([_row("a", "x", None, digest=None)], [_row("a", "x")])
    assert dict(block.counts) == {"dead_a": 1}


def test_ids_that_occur_twice_meet_where_the_texts_agree_and_then_in_order():
    block = _compare(
        [
            _row("a", "one", [(0, 3, "X")], number=0),
            _row("a", "two", [(0, 3, "Y")], number=1),
            _row("a", "x", number=2),
        ],
        [
            _row("a", "two", [(0, 3, "Y")], number=0),
            _row("a", "one", [(0, 3, "X")], number=1),
            _row("a", "y", number=2),
        ],
    )
    assert all(document.a == document.b for document in block.documents)
    assert len(block.documents) == 2
    assert dict(block.counts) == {"duplicate_ids": 1, "other_texts": 1}


def test_the_order_of_arrival_decides_nothing():
    rng = random.Random(0)
    sides = [
        [_row(f"d{rng.randint(0, 9)}", rng.choice("xy"), [(0, 1, rng.choice("XY"))], number=at) for at in range(40)]
        for _ in range(2)
    ]
    gold = [_gold(f"d{at}", text, [(0, 1, "X")], at) for at in range(10) for text in "xy"]
    blocks = []
    for _ in range(3):
        blocks.append(_compare(*sides))
        for rows in (*sides, gold):
            rng.shuffle(rows)
    assert blocks[0].documents == blocks[1].documents == blocks[2].documents
    assert blocks[0].listed == blocks[1].listed == blocks[2].listed


def test_labels_are_renamed_and_left_out_on_both_sides_and_in_gold():
    block = _compare(
        [_row("a", "Anna in Rome", [(0, 4, "person"), (8, 12, "place")])],
        [_row("a", "Anna in Rome", [(0, 4, "PER"), (5, 7, "misc")])],
        [_gold("a", "Anna in Rome", [(0, 4, "person"), (8, 12, "misc")])],
        label_map={"person": "PER", "misc": "O"},
    )
    [document] = block.documents
    assert _spans(document.a) == [(0, 4, "PER"), (8, 12, "place")]
    assert _spans(document.b) == [(0, 4, "PER")]
    assert document.gold == {(0, 4, "PER")}


def test_gold_gives_text_and_spans_and_stands_beside_both_runs():
    block = _compare(
        [_row("a", "Anna", [(0, 4, "PER")]), _row("free", "Rome", [(0, 4, "LOC")])],
        [_row("a", "Anna"), _row("free", "Rome")],
        [_gold("a", "Anna", [(0, 4, "PER")]), _gold("lost", "x", [(0, 1, "PER")]), _gold("blank", "x", None)],
    )
    known, free = block.documents
    assert (known.text, known.gold) == ("Anna", {(0, 4, "PER")})
    assert (free.text, free.gold) == (None, None)
    for side in block.gold:
        assert [document.id for document in side.documents] == ["a", "lost"]
    assert [len(side.default.predicted) for side in block.gold] == [1, 0]
    counts = {name: count for name, count in block.counts.items() if count}
    assert counts == {"gold_unmatched_a": 1, "gold_unmatched_b": 1, "gold_unlabelled_documents": 1}
    assert block.listed == {"gold_unmatched_a": ["lost"], "gold_unmatched_b": ["lost"]}


def test_a_gold_document_that_died_in_one_run_counts_for_that_run():
    block = _compare([_row("a", "x", None)], [_row("a", "x", [(0, 1, "PER")])], [_gold("a", "x", [(0, 1, "PER")])])
    assert block.listed == {"dead_a": ["a"], "gold_dead_a": ["a"]}
    assert block.documents == ()
    assert [len(side.default.predicted) for side in block.gold] == [0, 1]


def test_offsets_in_two_units_are_compared_where_gold_has_the_text():
    text = "🙂é Anna"
    a = [_row("a", text, [(3, 7, "PER")]), _row("free", "x", [(0, 1, "PER")])]
    b = [_row("a", text, [(7, 11, "PER")], unit="utf8"), _row("free", "x", [(0, 1, "PER")], unit="utf8")]
    block = _compare(a, b, [_gold("a", text, [(3, 7, "PER")])])
    [document] = block.documents
    assert _spans(document.a) == _spans(document.b) == [(3, 7, "PER")]
    assert block.listed["other_units"] == ["free"]


def test_another_text_than_gold_is_an_error():
    with pytest.raises(ConfigError, match="expected the text of document 'a' as the run read it"):
        _compare([_row("a", "Bob", [(0, 3, "PER")])], [_row("a", "Bob")], [_gold("a", "Anna")])


def test_json_lines_and_empty_entities_are_read_as_parquet_is(tmp_path):
    entity = {"end": 4, "start": 0, "text": "Anna", "score": 1, "label": "PER"}
    rows = [{"id": "a", "source": "s", "row": 0, "digest": "d", "entities": [], "windows": 1}]
    store = open_store(str(tmp_path))
    store.put("empty.jsonl", json.dumps(rows[0]).encode())
    store.put("full.jsonl", json.dumps({**rows[0], "entities": [entity]}).encode())
    [empty] = read_annotated_rows(store, "empty.jsonl", unit="utf8")
    [full] = read_annotated_rows(store, "full.jsonl", unit="utf8")
    assert empty.schema == full.schema == ANNOTATED_SCHEMA
    assert empty.column("entities").to_pylist() == [[]]
    assert full.to_pylist()[0]["entities"] == [entity]
    assert full.column("unit").to_pylist() == ["utf8"]


def test_rows_pass_through_buckets_whole():
    rows = [_row(f"d{at}", "x", [(0, 1, "PER")] * (at % 3), number=at) for at in range(50)]
    rows += [_row("dead", "x", None, number=50)]
    table = pa.Table.from_pylist(rows, ANNOTATED_SCHEMA)
    buckets = {}
    for start in (0, 20):
        for bucket, message in spread_rows(table.slice(start, 20 if not start else 31), 4):
            buckets.setdefault(bucket, []).append(message)
    gathered = [row for messages in buckets.values() for row in gather_rows(messages, ANNOTATED_SCHEMA).to_pylist()]
    assert len(buckets) == 4
    assert sorted(gathered, key=lambda row: row["row"]) == rows
