import numpy as np
import pytest

from tests.transforms.reuse.conftest import digest
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
