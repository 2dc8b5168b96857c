import pytest

from tests.transforms.reports.conftest import make_sample
from transforms.reports.excerpts import EXCERPT_CHARACTERS, Sample, mark_excerpts


def _shown(sample: Sample) -> list[tuple[str, str]]:
    return [(s.kind, "".join(piece.text for piece in s.pieces)) for s in mark_excerpts(sample)]


def _missed(sample: Sample) -> list[tuple[str, str, bool]]:
    pieces = [piece for segment in mark_excerpts(sample) for piece in segment.pieces if piece.missed]
    return [(piece.text, piece.missed, piece.is_missed_end) for piece in pieces]


def test_mark_excerpts_splits_around_entities():
    sample = make_sample("Ada met Babbage.", ("Ada", "PER"), ("Babbage", "PER"))
    assert _shown(sample) == [("found", "Ada"), ("text", " met "), ("found", "Babbage"), ("text", ".")]


def test_mark_excerpts_skips_the_inner_of_overlapping_entities():
    sample = make_sample(
        "Bank of England today", ("England", "LOC"), ("Bank of England", "ORG"), ("England today", "MISC")
    )
    assert _shown(sample) == [("found", "Bank of England"), ("text", " today")]


def test_mark_excerpts_tells_spurious_from_found():
    sample = make_sample("Ada in London", ("Ada", "PER"), ("London", "ORG"), gold=(("Ada", "PER"), ("London", "LOC")))
    assert _shown(sample) == [("found", "Ada"), ("text", " in "), ("spurious", "London")]
    assert _missed(sample) == [("London", "LOC", True)]


def test_mark_excerpts_cuts_missed_gold_at_the_edges_of_predictions():
    sample = make_sample(
        "The European Commission said", ("European Commission said", "ORG"), gold=(("The European", "ORG"),)
    )
    assert _missed(sample) == [("The ", "ORG", False), ("European", "ORG", True)]


def test_mark_excerpts_without_gold_marks_nothing_as_spurious():
    assert _shown(make_sample("Ada", ("Ada", "PER"))) == [("found", "Ada")]
    assert _shown(make_sample("Ada", ("Ada", "PER"), gold=())) == [("spurious", "Ada")]


def test_mark_excerpts_keeps_short_documents_whole():
    text = " \n\tline one\r\n\n  line two\n"
    assert _shown(make_sample(text)) == [("text", text)]
    assert _shown(make_sample("")) == []


def test_mark_excerpts_shortens_around_entities():
    text = "word " * 2000 + "Ada Lovelace" + " word" * 2000 + " Babbage" + " word" * 2000
    shown = _shown(make_sample(text, ("Ada Lovelace", "PER"), ("Babbage", "PER")))
    assert [kind for kind, _ in shown] == ["gap", "text", "found", "text", "gap", "text", "found", "text", "gap"]
    assert ("found", "Ada Lovelace") in shown
    assert EXCERPT_CHARACTERS / 2 < sum(len(part) for _, part in shown) <= EXCERPT_CHARACTERS + 100
    assert all(set(part.split()) == {"word"} for kind, part in shown if kind == "text")


def test_mark_excerpts_shows_missed_gold_of_long_documents():
    text = "word " * 2000 + "Ada" + " word" * 2000
    assert _missed(make_sample(text, gold=(("Ada", "PER"),))) == [("Ada", "PER", True)]


@pytest.mark.parametrize("size", [EXCERPT_CHARACTERS, 10 * EXCERPT_CHARACTERS, 100 * EXCERPT_CHARACTERS])
def test_mark_excerpts_never_shows_much_more_than_its_budget(size):
    text = "x" * size
    spans = [{"start": k, "end": k + 3, "label": "A", "score": 1.0} for k in range(0, size - 3, 5)]
    giant = [{"start": 10, "end": size, "label": "A", "score": 1.0}]
    for entities in ([], spans, giant):
        sample = Sample("doc", "a", 0, text, entities)
        assert sum(len(part) for _, part in _shown(sample)) <= EXCERPT_CHARACTERS


def test_mark_excerpts_shortens_around_what_is_in_focus():
    text = "Ada" + " word" * 2000 + " Babbage" + " word" * 2000
    sample = make_sample(text, ("Ada", "PER"), ("Babbage", "PER"))
    segments = list(mark_excerpts(sample, sample.entities[1:]))
    assert [segment.kind for segment in segments] == ["gap", "text", "found", "text", "gap"]
    assert [piece.text for piece in segments[2].pieces] == ["Babbage"]


def test_mark_excerpts_counts_an_entity_under_its_threshold_as_not_predicted():
    sample = make_sample("Ada in London", ("Ada", "PER"), ("London", "ORG"), gold=(("Ada", "PER"),))
    for entity in sample.entities:
        entity["is_below"] = True
    assert _shown(sample) == [("below", "Ada"), ("text", " in "), ("below", "London")]
    assert _missed(sample) == [("Ada", "PER", True)]
