import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.documents import DOCUMENT_FIELDS, GOLD_TYPE
from schemas.errors import ConfigError
from transforms.models.annotator import Annotator, EntityConfig


def _documents(texts, **extra):
    columns = [
        pa.array([f"d{at}" for at in range(len(texts))]),
        pa.array(range(len(texts)), pa.int64()),
        pa.array(texts, pa.large_string()),
    ]
    table = pa.table(columns, schema=pa.schema(DOCUMENT_FIELDS))
    for name, column in extra.items():
        table = table.append_column(name, column)
    return table


@pytest.fixture
def annotate(build_tagger):
    def run(texts, *, config=None, extra=None, **misbehaviour):
        annotator = Annotator(build_tagger(**misbehaviour)[0], config or EntityConfig(), model="m0")
        return annotator.annotate(_documents(texts, **(extra or {})), source="a.txt")

    return run


def test_annotate_gives_a_row_per_document(annotate):
    part = annotate(["Anna lives in Berlin", None, " \t", ""])
    rows = part.annotations.to_pylist()
    assert [row["id"] for row in rows] == ["d0", "d1", "d2", "d3"]
    assert [len(row["entities"]) for row in rows] == [2, 0, 0, 0]
    assert rows[0]["source"] == "a.txt"
    assert rows[0]["model"] == "m0"
    assert rows[0]["digest"] == hashlib.sha256(b"Anna lives in Berlin").hexdigest()
    assert rows[1]["digest"] == hashlib.sha256(b"").hexdigest()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.lists(
        st.one_of(
            st.sampled_from(
                ["Anna", "Berlin", " ", "\n", "\r\n", "\u2028", "\u0000", "\ufeff", "👩‍👩‍👧", "שלום", "é", "e\u0301"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        ),
        max_size=30,
    ).map("".join),
    unit=st.sampled_from(["codepoint", "utf8", "utf16"]),
)
def test_annotate_cuts_every_surface_out_of_the_text(annotate, text, unit):
    part = annotate([text], config=EntityConfig(offset_unit=unit))
    encode = {"codepoint": str, "utf8": str.encode, "utf16": lambda s: s.encode("utf-16-le")}[unit]
    width = 2 if unit == "utf16" else 1
    for entity in part.annotations.to_pylist()[0]["entities"]:
        surface = encode(text)[entity["start"] * width : entity["end"] * width]
        assert surface == encode(entity["text"])
        assert entity["text"].strip() == entity["text"] != ""


def test_annotate_drops_entities_under_their_threshold(annotate):
    config = EntityConfig(threshold=0.95, label_thresholds=(("LOC", 0.5),))
    rows = annotate(["Anna lives in Berlin"], config=config).annotations.to_pylist()
    assert [entity["text"] for entity in rows[0]["entities"]] == ["Berlin"]
    assert "below" not in rows[0]


def test_annotate_keeps_entities_under_their_threshold_on_request(annotate):
    config = EntityConfig(threshold=0.95, label_thresholds=(("LOC", 0.5),), keep_below=True)
    part = annotate(["Anna lives in Berlin"], config=config)
    row = part.annotations.to_pylist()[0]
    assert [entity["text"] for entity in row["below"]] == ["Anna"]
    assert (part.tally.entities, part.tally.below) == ({"LOC": 1}, {"PER": 1})


def test_annotate_makes_a_dead_letter_of_a_document_that_fails(annotate):
    part = annotate(["Anna", "Poison Anna", "Berlin"], poison="Poison")
    assert part.annotations.column("id").to_pylist() == ["d0", "d2"]
    (letter,) = part.rejects
    assert (letter["id"], letter["row"], letter["error"], letter["stage"]) == ("d1", 1, "inference_failed", "annotate")
    assert letter["size_bytes"] == len("Poison Anna")
    assert "Anna" not in letter["message"]
    assert (part.tally.documents, part.tally.dead_rows, part.tally.dead) == (2, 1, {"inference_failed": 1})


def test_annotate_makes_a_dead_letter_of_a_document_over_the_size_limit(annotate):
    part = annotate(["Anna", "é" * 6], config=EntityConfig(max_document_bytes=11))
    assert [letter["error"] for letter in part.rejects] == ["too_large"]
    assert part.annotations.column("id").to_pylist() == ["d0"]


def test_annotate_copies_kept_columns(annotate):
    part = annotate(["Anna", "Poison", "Berlin"], poison="Poison", extra={"year": pa.array([1, 2, 3], pa.int16())})
    assert part.annotations.column("year").to_pylist() == [1, 3]
    assert part.annotations.schema.field("year").type == pa.int16()


def test_annotate_counts_what_it_did(annotate):
    tally = annotate(["Anna lives in Berlin", "", "Anna"]).tally
    assert tally.entities == {"LOC": 1, "PER": 2}
    assert (tally.tokens, tally.windows, tally.characters) == (5, 2, 24)
    assert tally.lengths[:4] == (1, 1, 0, 1)
    assert sum(tally.scores["PER"]) == 2
    assert tally.scores["PER"][18] == 2, "0.92 lies in the bin from 0.90 to 0.95"


def test_annotate_scores_against_gold(annotate):
    gold = [
        [{"start": 0, "end": 4, "label": "PER"}, {"start": 14, "end": 20, "label": "PER"}],
        [{"start": 0, "end": 6, "label": "PER"}],
    ]
    part = annotate(["Anna lives in Berlin", "Poison"], poison="Poison", extra={"gold": pa.array(gold, GOLD_TYPE)})
    assert part.tally.matches == {"LOC": [0, 1, 0], "PER": [1, 0, 2]}


def test_annotator_refuses_a_threshold_for_a_label_it_never_gives(build_tagger):
    with pytest.raises(ConfigError, match="'ORG'"):
        Annotator(build_tagger()[0], EntityConfig(label_thresholds=(("ORG", 0.5),)), model="m0")


def test_annotate_takes_a_table_without_rows(annotate):
    part = annotate([])
    assert part.annotations.num_rows == 0
    assert part.tally.lengths == tuple(np.zeros(24, dtype=int))


@pytest.mark.parametrize("option", [{"threshold": 1.5}, {"offset_unit": "bytes"}, {"max_document_bytes": 0}])
def test_entity_config_refuses_values_out_of_range(option):
    with pytest.raises(ConfigError, match="expected"):
        EntityConfig(**option)
