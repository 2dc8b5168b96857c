import hashlib
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.calibration import Calibrator, Isotonic, LabelCurve, Temperature, Thresholds
from schemas.documents import DOCUMENT_FIELDS, GOLD_TYPE
from schemas.errors import ConfigError
from schemas.sketches import FormSketch
from transforms.models.annotator import Annotator, EntityConfig

# Every entity of the rule classifier has the score 0.92.
_CALIBRATOR = Calibrator(
    kind="isotonic",
    overall=Isotonic((0.5,), (0.25,)),
    labels={"LOC": LabelCurve(40, Isotonic((0.9, 1.0), (0.5, 0.75)))},
    fitted_on={},
)


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


def test_annotate_counts_pieces_and_forms_of_the_documents_that_it_writes(annotate):
    texts = ["Anna lives in Berlin", "𓀀 Anna", "Berlin 𓀀 " * 9]
    part = annotate(texts, config=EntityConfig(max_document_bytes=40))
    assert part.tally.dead_rows == 1
    assert part.tally.pieces == {"known": part.tally.tokens - 1, "unknown": 1}
    assert part.tally.forms == FormSketch.of(["anna", "berlin"])


def test_annotate_counts_forms_of_entities_at_or_above_their_threshold(annotate):
    config = EntityConfig(label_thresholds=(("PER", 0.95),), keep_below=True)
    assert annotate(["Anna lives in Berlin"], config=config).tally.forms == FormSketch.of(["Berlin"])


def test_annotate_writes_calibrated_scores_and_compares_thresholds_with_them(annotate):
    config = EntityConfig(calibrator=_CALIBRATOR, threshold=0.5, keep_below=True)
    part = annotate(["Anna lives in Berlin"], config=config)
    row = part.annotations.to_pylist()[0]
    assert [(entity["text"], entity["score"]) for entity in row["entities"]] == [("Berlin", pytest.approx(0.55))]
    assert [(entity["text"], entity["score"]) for entity in row["below"]] == [("Anna", 0.25)]
    assert (part.tally.scores["PER"][5], part.tally.scores["LOC"][11]) == (1, 1), "histograms are of calibrated scores"


def test_annotate_takes_thresholds_by_label_and_writes_no_label_that_has_none(annotate):
    thresholds = Thresholds(precision=0.9, labels={"PER": None, "LOC": 0.9})
    part = annotate(["Anna lives in Berlin"], config=EntityConfig(thresholds=thresholds, keep_below=True))
    assert (part.tally.entities, part.tally.below) == ({"LOC": 1}, {"PER": 1})
    part = annotate(["Anna lives in Berlin"], config=EntityConfig(thresholds=thresholds))
    assert (part.tally.entities, part.tally.below) == ({"LOC": 1}, {})


def test_a_threshold_for_one_label_wins_over_that_for_a_precision_and_both_over_the_general_one(annotate):
    thresholds = Thresholds(precision=0.9, labels={"PER": None})
    for own, entities in ((0.9, {"PER": 1}), (0.95, {})):
        config = EntityConfig(threshold=1.0, thresholds=thresholds, label_thresholds=(("PER", own),))
        assert annotate(["Anna lives in Berlin"], config=config).tally.entities == entities


def test_a_score_that_is_the_threshold_as_float32_is_at_the_threshold(annotate):
    calibrator = Calibrator(kind="isotonic", overall=Isotonic((0.5,), (0.701,)), labels={}, fitted_on={})
    for threshold, entities in ((0.701, {"PER": 1}), (0.702, {})):
        thresholds = Thresholds(precision=0.9, labels={"PER": threshold}, calibrator=calibrator.digest)
        config = EntityConfig(calibrator=calibrator, thresholds=thresholds)
        assert annotate(["Anna"], config=config).tally.entities == entities


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
    part = annotate(["Anna", "Poison", "Berlin"], poison="Poison", extra={"kept:year": pa.array([1, 2, 3], pa.int16())})
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


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"thresholds": Thresholds(precision=0.9, labels={"LOC": 0.5, "ORG": None})}, "thresholds"),
        (
            {
                "calibrator": Calibrator(
                    kind="temperature", overall=Temperature(1.0), labels={"ORG": LabelCurve(3, None)}, fitted_on={}
                )
            },
            "calibrator",
        ),
    ],
)
def test_annotator_refuses_artefacts_that_know_other_labels(build_tagger, option, name):
    with pytest.raises(ConfigError, match=f"in the {name}, found 'ORG'"):
        Annotator(build_tagger()[0], EntityConfig(**option), model="m0")


@pytest.mark.parametrize(
    ("calibrator", "digest", "message"),
    [
        (None, "a" * 64, "scores of no calibrator, found some of calibrator aaaaaaaaaaaaaaaa;"),
        (_CALIBRATOR, "a" * 64, f"calibrator {_CALIBRATOR.digest[:16]}, found some of calibrator aaaaaaaaaaaaaaaa;"),
        (_CALIBRATOR, "", f"calibrator {_CALIBRATOR.digest[:16]}, found some of no calibrator;"),
    ],
)
def test_entity_config_refuses_thresholds_for_other_scores(calibrator, digest, message):
    thresholds = Thresholds(precision=0.9, labels={}, calibrator=digest)
    with pytest.raises(ConfigError, match=message):
        EntityConfig(calibrator=calibrator, thresholds=thresholds)


def test_entity_config_describes_what_changes_output():
    plain = {
        "threshold": 0.0,
        "label_thresholds": (),
        "keep_below": False,
        "offset_unit": "codepoint",
        "max_document_bytes": 64 << 20,
    }
    assert EntityConfig().describe() == plain, "a run without artefacts keeps its fingerprint"
    thresholds = Thresholds(precision=0.9, labels={"PER": 0.5, "LOC": None}, calibrator=_CALIBRATOR.digest)
    assert EntityConfig(calibrator=_CALIBRATOR, thresholds=thresholds).describe() == {
        **plain,
        "calibrator": _CALIBRATOR.digest,
        "thresholds": {"PER": 0.5, "LOC": None},
    }


def test_entity_config_travels_with_its_artefacts():
    thresholds = Thresholds(precision=0.9, labels={"PER": 0.5}, calibrator=_CALIBRATOR.digest)
    config = EntityConfig(calibrator=_CALIBRATOR, thresholds=thresholds)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("calibrator", [None, _CALIBRATOR])
def test_annotate_takes_a_table_without_rows(annotate, calibrator):
    part = annotate([], config=EntityConfig(calibrator=calibrator))
    assert part.annotations.num_rows == 0
    assert part.tally.lengths == tuple(np.zeros(24, dtype=int))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"threshold": 1.5}, "expected a threshold between 0 and 1, found 1.5"),
        ({"label_thresholds": (("ORG", -1),)}, "expected a threshold of ORG between 0 and 1, found -1"),
        ({"offset_unit": "bytes"}, "expected the offset unit to be one of .*, found 'bytes'"),
        ({"max_document_bytes": 0}, "expected a limit of 1 byte or more for documents, found 0"),
    ],
)
def test_entity_config_refuses_values_out_of_range(option, message):
    with pytest.raises(ConfigError, match=message):
        EntityConfig(**option)
