"""Gold documents and rows of a run, joined by id."""

import hashlib

import pyarrow as pa
import pytest

from schemas.errors import ConfigError
from transforms.pairing.joined import GOLD_SCHEMA, PREDICTED_SCHEMA, JoinConfig, join_documents
from transforms.pairing.tagged import TagConfig

BIO = TagConfig(scheme="BIO", predicted_scheme="BIO")


def _gold(id_, text, spans=(), tags=None, groups=()):
    spans = None if spans is None else [{"start": s, "end": e, "label": label} for s, e, label in spans]
    return {"id": id_, "source": "g", "row": 0, "text": text, "gold": spans, "tags": tags, "groups": list(groups)}


def _tags(text, tags):
    found, cursor = [], 0
    for word, tag in zip(text.split(), tags, strict=True):
        start = text.index(word, cursor)
        cursor = start + len(word)
        found.append({"start": start, "end": cursor, "tag": tag, "opens": start == 0})
    return found


def _row(id_, text, entities=(), unit="codepoint", own=None, below=(), digest=None):
    def scored(spans):
        return None if spans is None else [{"start": s, "end": e, "label": name, "score": 0.5} for s, e, name in spans]

    digest = digest or hashlib.sha256(text.encode()).hexdigest()
    columns = {"entities": scored(entities), "below": scored(below), "groups": []}
    return {"id": id_, "source": "r", "row": 0, "digest": digest, "unit": unit, "text": own, **columns}


def _join(gold, predicted, boundaries="characters", tags=BIO):
    tables = pa.Table.from_pylist(gold, GOLD_SCHEMA), pa.Table.from_pylist(predicted, PREDICTED_SCHEMA)
    return join_documents(*tables, JoinConfig(tags=tags, boundaries=boundaries))


def _spans(block, spans):
    rows = zip(spans.document.tolist(), spans.first.tolist(), spans.last.tolist(), spans.label.tolist(), strict=True)
    return [(block.documents[d].id, first, last, block.labels[label]) for d, first, last, label in rows]


def test_documents_meet_by_id_in_any_order():
    block = _join(
        [_gold("a", "Anna", [(0, 4, "PER")]), _gold("b", "Rome", [(0, 4, "LOC")])],
        [_row("b", "Rome", [(0, 4, "LOC")], below=[(0, 2, "PER")]), _row("a", "Anna")],
    )
    assert _spans(block, block.default.gold) == [("a", 0, 4, "PER"), ("b", 0, 4, "LOC")]
    assert _spans(block, block.default.predicted) == [("b", 0, 4, "LOC")]
    assert _spans(block, block.below[0]) == [("b", 0, 2, "PER")]
    assert block.scores.tolist() == [0.5]
    assert block.strict is block.default
    assert block.tokens is None


def test_what_finds_no_partner_is_counted_and_listed():
    block = _join(
        [_gold("a", "x", [(0, 1, "A")]), _gold("dead", "x", [(0, 1, "A")]), _gold("nobody", "x", None)],
        [_row("b", "x"), _row("dead", "x", None, below=None), _row("nobody", "x")],
    )
    counts = {name: count for name, count in block.counts.items() if count}
    assert counts == {"unmatched_gold": 1, "unmatched_predicted": 1, "dead_documents": 1, "unlabelled_documents": 1}
    assert {name: [value for _, value in rows] for name, rows in block.listed.items()} == {
        "unmatched_gold": ["a"],
        "unmatched_predicted": ["b"],
        "dead_documents": ["dead"],
    }
    assert _spans(block, block.default.gold) == [("a", 0, 1, "A"), ("dead", 0, 1, "A")]


def test_ids_that_occur_twice_meet_where_the_texts_agree():
    block = _join(
        [_gold("a", "one", [(0, 3, "X")]), _gold("a", "two", [(0, 3, "Y")])],
        [_row("a", "two", [(0, 3, "Y")]), _row("a", "one", [(0, 3, "X")]), _row("a", "three")],
    )
    assert block.counts["duplicate_ids"] == 1
    assert block.counts["unmatched_predicted"] == 1
    assert _spans(block, block.default.gold) == _spans(block, block.default.predicted)


def test_another_text_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match=r"expected the text of document 'a' as the run read it.*--reread-inputs"):
        _join([_gold("a", "Anna  slept")], [_row("a", "Anna slept", [(0, 4, "PER")])])
    with pytest.raises(ConfigError, match=r"found another in 'g'$"):
        _join([_gold("a", "Anna slept")], [_row("a", "Bob slept", [(0, 3, "PER")], own="Bob slept")])


def test_texts_that_differ_in_white_space_are_joined_through_their_characters():
    gold = _gold("a", "Ada\nLovelace  met Bo", [(0, 12, "PER"), (18, 20, "PER")])
    own = "Ada Lovelace met Bo "
    block = _join([gold], [_row("a", own, [(0, 12, "PER"), (17, 19, "PER")], own=own)])
    assert _spans(block, block.default.predicted) == [("a", 0, 12, "PER"), ("a", 18, 20, "PER")]


@pytest.mark.parametrize(("unit", "place"), [("codepoint", (2, 5)), ("utf8", (5, 9)), ("utf16", (3, 6))])
def test_offsets_of_any_unit_become_code_points(unit, place):
    text = "😀 Zoë"
    block = _join([_gold("a", text, [(2, 5, "PER")])], [_row("a", text, [(*place, "PER")], unit=unit)])
    assert _spans(block, block.default.predicted) == _spans(block, block.default.gold) == [("a", 2, 5, "PER")]


def test_tags_are_read_in_both_modes_and_sentences_end_entities():
    text = "Ada Lovelace\nAda met"
    tags = _tags(text, ["B-PER", "I-PER", "I-PER", "O"])
    tags[2]["opens"] = True
    block = _join([_gold("a", text, [], tags)], [_row("a", text, [(0, 12, "PER"), (13, 16, "PER")])])
    assert _spans(block, block.default.gold) == [("a", 0, 12, "PER"), ("a", 13, 16, "PER")]
    assert _spans(block, block.strict.gold) == [("a", 0, 12, "PER")]
    assert block.counts["gold invalid sequences"] == 1
    # The tags that the predicted spans would be are legal, so that the stray one differs.
    assert block.tokens.tolist() == [[3, 4]]


def test_spans_are_widened_to_tokens_on_demand():
    text = "@ada met Bo-ann"
    gold = _gold("a", text, [], _tags(text, ["B-PER", "O", "B-PER"]))
    row = _row("a", text, [(1, 4, "PER"), (9, 11, "PER"), (12, 15, "PER")])
    plain, widened = _join([gold], [row]), _join([gold], [row], "tokens")
    assert _spans(plain, plain.default.predicted) == [("a", 1, 4, "PER"), ("a", 9, 11, "PER"), ("a", 12, 15, "PER")]
    assert _spans(widened, widened.default.predicted) == [("a", 0, 4, "PER"), ("a", 9, 15, "PER")]
    assert (widened.counts["widened_entities"], widened.counts["overlapping_entities"]) == (2, 1)
    assert len(widened.scores) == 2
    assert plain.tokens.tolist() == widened.tokens.tolist() == [[3, 3]]


def test_labels_are_renamed_and_left_out_on_both_sides():
    tags = TagConfig(scheme="BIO", predicted_scheme="BIO", label_map={"corporation": "ORG", "product": "O"})
    gold = _gold("a", "x y", [(0, 1, "corporation"), (2, 3, "product")])
    block = _join([gold], [_row("a", "x y", [(0, 1, "ORG"), (2, 3, "product")])], tags=tags)
    assert _spans(block, block.default.gold) == _spans(block, block.default.predicted) == [("a", 0, 1, "ORG")]
