"""Several taggers as one, and their way into columns and back."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigError, TaggingError
from transforms.models.annotator import Annotator, EntityConfig
from transforms.models.panel import PanelTagger, check_names
from transforms.storage.annotations import gather_entities
from transforms.storage.commits import flatten_entities

TEXTS = ["Anna lives in Berlin", "word", "Anna Anna"]


class Failing:
    """A tagger in front of another that fails on one text."""

    names = ("",)

    def __init__(self, tagger, at):
        self.labels = tagger.labels
        self._tagger, self._at = tagger, at

    def begin(self, texts):
        found = self._tagger.tag(texts)
        failures = {self._at: TaggingError("poison", "it was told to fail")}
        return lambda: dataclasses.replace(found, failures=failures)


@pytest.fixture
def panel(build_tagger):
    return PanelTagger({"a": build_tagger()[0], "b": build_tagger()[0]})


def _documents(texts):
    columns = {"id": [f"d{at}" for at in range(len(texts))], "row": list(range(len(texts))), "text": texts}
    return pa.table(columns)


def _annotate(tagger, **options):
    config = EntityConfig(**options)
    return Annotator(tagger, config, model="m").annotate(_documents(TEXTS), source="f")


def test_labels_stand_behind_the_name_of_their_tagger(panel):
    assert panel.labels == ("a/PER", "a/LOC", "b/PER", "b/LOC")


def test_entities_of_all_come_by_document_and_position(panel, build_tagger):
    one, all_ = build_tagger()[0].tag(TEXTS), panel.tag(TEXTS)
    assert all_.document.tolist() == np.repeat(one.document, 2).tolist()
    assert all_.start.tolist() == np.repeat(one.start, 2).tolist()
    assert [all_.label[at] for at in (0, 1)] == [0, 2]
    assert all_.tokens.tolist() == one.tokens.tolist()
    assert all_.unknown.tolist() == one.unknown.tolist()
    assert all_.computed_tokens == 2 * one.computed_tokens


def test_a_text_that_one_cannot_tag_has_failed_for_all(build_tagger):
    panel = PanelTagger({"a": build_tagger()[0], "b": Failing(build_tagger()[0], at=0)})
    tagging = panel.tag(TEXTS)
    assert list(tagging.failures) == [0]
    assert 0 not in tagging.document
    assert 2 in tagging.document


def test_each_tagger_has_a_column_with_its_own_labels(panel, build_tagger):
    alone, part = _annotate(build_tagger()[0]), _annotate(panel)
    assert "entities" not in part.annotations.column_names
    for name in ("entities_a", "entities_b"):
        assert part.annotations.column(name).to_pylist() == alone.annotations.column("entities").to_pylist()
    assert part.tally.entities == {f"{name}/{label}": n for name in "ab" for label, n in alone.tally.entities.items()}


def test_a_threshold_may_be_that_of_one_tagger(panel):
    part = _annotate(panel, label_thresholds=(("b/PER", 0.99),), keep_below=True)
    labels = {name: _labels(part.annotations, name) for name in ("entities_a", "entities_b", "below_a", "below_b")}
    assert labels == {"entities_a": {"PER", "LOC"}, "entities_b": {"LOC"}, "below_a": set(), "below_b": {"PER"}}


def test_columns_read_back_are_what_was_counted(panel):
    part = _annotate(panel, label_thresholds=(("b/PER", 0.99),), keep_below=True)
    rows = part.annotations.to_pylist()
    assert [entity["label"] for entity in gather_entities(rows[0])] == ["a/PER", "a/LOC", "b/LOC"]
    assert [entity["label"] for entity in gather_entities(rows[0], is_below=True)] == ["b/PER"]


def test_flat_rows_name_their_tagger_and_keep_documents_together(panel):
    part = _annotate(panel)
    rows = flatten_entities(part.annotations).to_pylist()
    assert [(row["row"], row["tagger"], row["label"]) for row in rows[:4]] == [
        (0, "a", "PER"),
        (0, "a", "LOC"),
        (0, "b", "PER"),
        (0, "b", "LOC"),
    ]
    assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)


def test_gold_counts_for_every_tagger(panel):
    gold = [[{"start": 0, "end": 4, "label": "PER"}], [], None]
    type_ = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))
    documents = _documents(TEXTS).append_column("gold", pa.array(gold, type_))
    part = Annotator(panel, EntityConfig(), model="m").annotate(documents, source="f")
    assert part.tally.matches["a/PER"] == part.tally.matches["b/PER"] == [1, 0, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "b", "a"], "with different names, found ['a'] twice"), (["a/b"], "letters, digits, _, . or -")],
)
def test_names_that_cannot_be_columns_are_refused(names, message):
    with pytest.raises(ConfigError) as error:
        check_names(names, flag="--adapter", example="a=FOLDER")
    assert message in str(error.value)


def _labels(table, column):
    return {entity["label"] for entities in table.column(column).to_pylist() for entity in entities}
