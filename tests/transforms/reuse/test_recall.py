import dataclasses

import numpy as np
import pytest

from tests.conftest import TAGS
from tests.transforms.reuse.conftest import digest
from transforms.models.catalog import find_tagger
from transforms.reuse.earlier import Written, read_digests
from transforms.reuse.index import write_index
from transforms.reuse.recall import RecallConfig
from transforms.storage.posix import PosixStore
from transforms.text.offsets import convert_offsets

TEXTS = ["Zoë saw 😀 Anna", "", "Berlin 😀 Bonn"]
SPANS = [[(0, 3, "PER", 0.25), (10, 14, "PER", 0.75)], [], [(0, 6, "LOC", 0.75), (9, 13, "LOC", 0.5)]]


def _write_entities(unit, keep):
    """For each text, its entities with a wanted score in a unit of offsets."""
    columns = []
    for text, spans in zip(TEXTS, SPANS, strict=True):
        kept = [span for span in spans if keep(span[3])]
        bounds = [convert_offsets(text, np.array(span[:2]), unit).tolist() for span in kept]
        columns.append(
            [
                {"start": start, "end": end, "label": label, "score": score, "text": text[first:last]}
                for (start, end), (first, last, label, score) in zip(bounds, kept, strict=True)
            ]
        )
    return columns


@pytest.fixture
def recall(tmp_path, commit):
    """Remembers the texts, from a run that wrote offsets in a unit and kept what was under 0.6 or did not."""

    def build(unit, has_below):
        store = PosixStore(str(tmp_path / "run"))
        above = _write_entities(unit, lambda score: score >= 0.6 or not has_below)
        below = _write_entities(unit, lambda score: score < 0.6)
        receipt = commit(store, 0, TEXTS, has_below=has_below, entities=above, below=below)
        return RecallConfig(
            run=str(tmp_path / "run"),
            shown="run",
            into=str(tmp_path / "run"),
            shards=write_index(store, "x", read_digests(store, [receipt.slice_id])),
            written=Written(("",), has_below=has_below, is_routed=False),
            unit=unit,
            is_calibrated=False,
            labels=("LOC", "PER"),
        ).open()

    return build


@pytest.mark.parametrize("unit", ["codepoint", "utf8", "utf16"])
@pytest.mark.parametrize("has_below", [True, False])
def test_entities_are_told_by_position_in_code_points(recall, unit, has_below):
    asked = [TEXTS[2], "Otto", TEXTS[0], TEXTS[1], TEXTS[2]]
    places, tagging = recall(unit, has_below).find(asked, list(map(digest, asked)))
    assert places.tolist() == [0, 2, 3, 4]
    spans = [
        (int(at), int(start), int(end), ("LOC", "PER")[label], float(score))
        for at, start, end, label, score in zip(
            tagging.document, tagging.start, tagging.end, tagging.label, tagging.score, strict=True
        )
    ]
    assert spans == [(at, *span) for at, own in enumerate((2, 0, 1, 2)) for span in SPANS[own]]
    assert tagging.tokens.tolist() == [len(asked[place]) for place in places]
    assert (tagging.windows.tolist(), tagging.computed_tokens) == ([1, 1, 1, 1], 0)


def test_nothing_is_told_of_texts_that_were_never_read(recall):
    places, tagging = recall("codepoint", has_below=False).find(["Otto"], [digest("Otto")])
    assert [len(column) for column in (places, tagging.document, tagging.score, tagging.tokens)] == [0, 0, 0, 0]


@pytest.fixture
def remember(tmp_path, commit, tiny_checkpoint):
    """Remembers texts by the probabilities of their tokens, given as a list for each, decoded as a tagger has it."""

    def build(texts, probabilities, output_format="parquet", **changes):
        store = PosixStore(str(tmp_path / "run"))
        receipt = commit(store, 0, texts, output_format=output_format, probabilities=probabilities)
        return RecallConfig(
            run=str(tmp_path / "run"),
            shown="run",
            into=str(tmp_path / "run"),
            shards=write_index(store, "x", read_digests(store, [receipt.slice_id])),
            written=Written(("",), has_below=False, is_routed=False, has_probabilities=True),
            unit="codepoint",
            is_calibrated=False,
            labels=("LOC", "ORG", "PER"),
            tagger=dataclasses.replace(find_tagger(str(tiny_checkpoint)), **changes),
        ).open()

    return build


def _of(*tags):
    """Probabilities of tokens with these tags."""
    rows = np.full((len(tags), len(TAGS)), 0.0625, dtype=np.float32)
    rows[np.arange(len(tags)), [TAGS.index(tag) for tag in tags]] = 0.625
    return rows.ravel().tolist()


@pytest.mark.parametrize("output_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("keeps", [True, False])
def test_entities_are_decided_from_probabilities(remember, output_format, keeps):
    texts = ["Anna in Berlin", "", "Anna"]
    kept = [_of("B-PER", "O", "B-LOC"), [], _of("B-ORG")]
    places, tagging = remember(texts, kept, output_format, keep_probabilities=keeps).find(
        ["Otto", texts[2], texts[1], texts[0]], list(map(digest, ["Otto", texts[2], texts[1], texts[0]]))
    )
    assert places.tolist() == [1, 2, 3]
    spans = zip(tagging.document, tagging.start, tagging.end, tagging.label, tagging.score, strict=True)
    assert list(spans) == [(0, 0, 4, 1, 0.625), (2, 0, 4, 2, 0.625), (2, 8, 14, 0, 0.625)]
    assert (tagging.tokens.tolist(), tagging.windows.tolist()) == ([1, 0, 3], [1, 1, 1])
    own = tagging.probabilities and [numbers.ravel().tolist() for numbers in tagging.probabilities]
    assert own == ([kept[2], kept[1], kept[0]] if keeps else None)


def test_a_text_that_is_cut_into_other_tokens_now_is_not_known(remember):
    texts = ["Anna", "Anna in", "Berlin"]
    recall = remember(texts, [_of("B-PER"), _of("B-PER"), _of("B-LOC")])
    places, tagging = recall.find(texts, list(map(digest, texts)))
    assert places.tolist() == [0, 2]
    assert (tagging.document.tolist(), tagging.label.tolist()) == ([0, 1], [2, 0])


def test_no_probabilities_are_told_of_texts_that_were_never_read(remember):
    places, tagging = remember(["Anna"], [_of("O")], keep_probabilities=True).find(["Otto"], [digest("Otto")])
    assert (places.tolist(), tagging.document.tolist(), tagging.probabilities) == ([], [], ())
