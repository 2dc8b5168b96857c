"""Two runs as a sum: what is told of their changes, and that any split of the documents gives the same."""

import functools
import operator
import random
from collections import Counter

import numpy as np
import pytest

from transforms.scoring.averages import score_labels
from transforms.scoring.comparison import (
    ComparedBlock,
    ComparedDocument,
    Comparison,
    Entity,
    compare_block,
    summarise_comparison,
)
from transforms.scoring.intervals import document_keys, draw_weights
from transforms.scoring.matching import SpanColumns, count_matches
from transforms.scoring.pairs import Document, PairBlock, Reading
from transforms.scoring.significance import mcnemar

LABELS = ("PER", "LOC", "micro")
TEXT = "abcdefghijklmnopqrstuvwxyz" * 8


class _Texts:
    def text(self, document):
        return TEXT


def _entities(spans, score=0.5):
    return tuple(Entity(start, end, label, score, TEXT[start:end]) for start, end, label in spans)


def _document(a, b, at=0, **more):
    return ComparedDocument(f"d{at}", "in.txt", at, _entities(a), _entities(b), **more)


def _pair_block(documents, golds, side, shift):
    """Gold beside a run; labels are numbered by whoever makes the block."""
    labels = [*LABELS[shift:], *LABELS[:shift]]

    def columns(spans):
        rows = [(at, *span[:2], labels.index(span[2])) for at, own in enumerate(spans) for span in own]
        return SpanColumns(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)

    predicted = [[entity[:3] for entity in getattr(document, side)] for document in documents]
    reading = Reading(columns(golds), columns(predicted))
    described = tuple(Document(document.id, "gold", document.row, 1) for document in documents)
    return PairBlock(
        documents=described,
        labels=tuple(labels),
        default=reading,
        strict=reading,
        explained=reading,
        texts=_Texts(),
    )


def _block(documents, golds=None, **more):
    gold = None if golds is None else tuple(_pair_block(documents, golds, *way) for way in (("a", 0), ("b", 1)))
    return ComparedBlock(documents=tuple(documents), gold=gold, **more)


def _report(block, n_replicates=0):
    return summarise_comparison(compare_block(block, n_replicates), has_gold=block.gold is not None)


def test_every_change_has_its_kind_and_its_label():
    a = [(0, 2, "PER"), (4, 6, "LOC"), (8, 10, "LOC"), (12, 14, "PER"), (16, 18, "PER")]
    b = [(0, 2, "PER"), (4, 7, "LOC"), (8, 10, "PER"), (13, 15, "LOC"), (20, 21, "LOC")]
    report = _report(_block([_document(a, b)]))
    assert report["changes"] == {
        "added": {"LOC": 1},
        "removed": {"PER": 1},
        "relabelled": {"LOC": 1},
        "moved": {"LOC": 1},
        "both": {"PER": 1},
        "unchanged": {"PER": 1},
    }
    assert report["relabellings"] == [
        {"a": "LOC", "b": "PER", "kind": "relabelled", "count": 1},
        {"a": "PER", "b": "LOC", "kind": "both", "count": 1},
    ]
    kinds = {"added": 1, "removed": 1, "relabelled": 1, "moved": 1, "both": 1}
    assert report["documents"] == [{"id": "d0", "source": "in.txt", "row": 0, "a": 5, "b": 5, **kinds, "changes": 5}]
    assert report["counts"]["entities"] == {"a": 5, "b": 5}
    assert report["gold"] is None


def test_entities_in_another_order_are_no_change_and_copies_are():
    report = _report(_block([_document([(0, 2, "PER"), (4, 6, "LOC")], [(4, 6, "LOC"), (0, 2, "PER")])]))
    assert report["counts"]["changed_documents"] == 0
    assert report["changes"]["unchanged"] == {"LOC": 1, "PER": 1}
    report = _report(_block([_document([(0, 2, "PER")] * 2, [(0, 2, "PER")])]))
    assert report["counts"]["changed_documents"] == 1
    assert report["changes"]["unchanged"] == {"PER": 1}
    assert report["changes"]["removed"] == {"PER": 1}


def test_what_changed_adds_up_to_the_entities_of_both_runs():
    documents, _ = _draw(seed=3)
    report = _report(_block(documents))
    totals = {kind: sum(by_label.values()) for kind, by_label in report["changes"].items()}
    common = totals["unchanged"] + totals["relabelled"] + totals["moved"] + totals["both"]
    assert common + totals["removed"] == sum(len(document.a) for document in documents)
    assert common + totals["added"] == sum(len(document.b) for document in documents)
    assert all(totals.values())


def test_a_sampled_change_stands_in_the_text_where_that_is_known():
    a, b = [(100, 102, "PER")], [(100, 103, "PER")]
    known = _document(a, b, text=TEXT, gold=frozenset({(100, 103, "PER")}))
    [sample] = _report(_block([known]))["samples"]
    assert sample["context"][sample["a"]["start"] - sample["context_start"] :].startswith(TEXT[100:102])
    assert (sample["a"]["is_right"], sample["b"]["is_right"]) == (False, True)
    assert sample["b"] == {"start": 100, "end": 103, "label": "PER", "text": "wxy", "score": 0.5, "is_right": True}
    [sample] = _report(_block([_document(a, [])]))["samples"]
    assert (sample["context"], sample["context_start"], sample["b"]) == (None, None, None)
    assert (sample["a"]["text"], sample["a"]["is_right"]) == ("wx", None)


def test_samples_are_bounded_and_reach_every_part_of_the_documents():
    documents = [_document([(0, 2, "PER")], [], at=at) for at in range(1000)]
    report = _report(_block(documents, listed={"only_a": [f"x{at:04d}" for at in range(500)]}, counts={"only_a": 500}))
    rows = [sample["row"] for sample in report["samples"]]
    assert len(set(rows)) == 50
    assert all(any(low <= row < low + 250 for row in rows) for low in range(0, 1000, 250))
    assert len(report["documents"]) == 20
    assert report["listed"]["only_a"] == [f"x{at:04d}" for at in range(100)]
    assert report["counts"]["only_a"] == 500


def _draw(seed, n_documents=150):
    """Documents with gold, and two runs that err each in its own way."""
    rng = random.Random(seed)
    documents, golds = [], []
    for at in range(n_documents):
        gold = [(4 * k, 4 * k + rng.randint(1, 3), rng.choice(LABELS)) for k in range(rng.randint(0, 6))]
        sides = [[_err(span, rng) for span in gold if rng.random() < share] for share in (0.7, 0.9)]
        sides[0] += [(60, 62, "LOC")] * (rng.random() < 0.2)
        documents.append(_document(*sides, at=at, text=TEXT, gold=frozenset(gold)))
        golds.append(gold)
    return documents, golds


def _err(span, rng):
    start, end, label = span
    return (start, end + (rng.random() < 0.15), rng.choice(LABELS) if rng.random() < 0.15 else label)


def test_any_split_and_order_of_the_documents_gives_the_same_report():
    documents, golds = _draw(seed=1)
    reports = []
    for size in (1000, 40, 7, 1):
        parts = [
            compare_block(_block(documents[at : at + size], golds[at : at + size]), 60)
            for at in range(0, len(documents), size)
        ]
        random.Random(size).shuffle(parts)
        reports.append(summarise_comparison(functools.reduce(operator.add, parts, Comparison.empty()), has_gold=True))
    assert reports[0] == reports[1] == reports[2] == reports[3]
    assert len(reports[0]["samples"]) == 50
    assert reports[0]["gold"]["replicates"] == 60


def test_scores_are_those_of_each_run_alone():
    documents, golds = _draw(seed=2)
    report = _report(_block(documents, golds), 50)["gold"]
    assert list(report["labels"]) == sorted(LABELS)
    for side in ("a", "b"):
        counts = Counter()
        for document, gold in zip(documents, golds, strict=True):
            spans = [entity[:3] for entity in getattr(document, side)]
            for label, (found, spurious, missed) in count_matches(gold, spans).items():
                counts.update({(label, 0): found, (label, 1): spurious, (label, 2): missed})
        for label in LABELS:
            expected = score_labels(*(np.array(counts[label, at]) for at in range(3)))
            assert report["labels"][label][side]["f1"] == float(expected.f1)
            assert report["labels"][label][side]["support"] == int(expected.support)
        micro = score_labels(*(np.array(sum(counts[label, at] for label in LABELS)) for at in range(3)))
        assert report["micro"][side]["precision"] == float(micro.precision)
    change = report["micro"]["difference"]["f1"]
    assert change["value"] == report["micro"]["b"]["f1"] - report["micro"]["a"]["f1"]
    assert change["low"] <= change["value"] <= change["high"]


def test_both_runs_are_resampled_alike():
    documents, golds = _draw(seed=4)
    found = _report(_block(documents, golds), 200)["gold"]["micro"]["difference"]["recall"]
    weights = draw_weights(document_keys(document.id for document in documents), 200).T
    n_gold = np.array([len(gold) for gold in golds])
    recall = []
    for side in ("a", "b"):
        n_found = [
            len(Counter(gold) & Counter(entity[:3] for entity in getattr(document, side)))
            for document, gold in zip(documents, golds, strict=True)
        ]
        recall.append(weights @ np.array(n_found) / (weights @ n_gold))
    low, high = np.quantile(recall[1] - recall[0], [0.025, 0.975])
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_gold_entities_are_told_apart_by_who_found_them():
    gold = [(0, 2, "PER"), (4, 6, "PER"), (8, 10, "LOC"), (12, 14, "LOC"), (16, 18, "LOC")]
    document = _document([gold[0], gold[1], gold[2]], [gold[0], gold[3]])
    report = _report(_block([document], [gold]), 10)["gold"]
    assert report["micro"]["found"] == {"both": 1, "only_a": 2, "only_b": 1, "neither": 1, "p_value": mcnemar(2, 1)}
    assert report["labels"]["PER"]["found"] == {"both": 1, "only_a": 1, "only_b": 0, "neither": 0, "p_value": 1.0}
    assert report["counts"]["entities"] == 5


@pytest.mark.parametrize(("worse", "better"), [("a", "b"), ("b", "a")])
def test_the_run_that_finds_more_of_every_document_is_better(worse, better):
    gold = [(0, 2, "PER"), (4, 6, "LOC")]
    sides = {worse: gold[:1], better: gold}
    documents = [_document(sides["a"], sides["b"], at=at) for at in range(40)]
    report = _report(_block(documents, [gold] * 40), 200)["gold"]
    assert report["better"] == better
    assert report["micro"]["difference"]["f1"]["p_value"] < 0.05
    assert report["labels"]["PER"]["difference"]["f1"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}


def test_runs_that_differ_in_one_document_of_many_are_not_told_apart():
    gold = [(0, 2, "PER")]
    documents = [_document(gold if at else [], gold, at=at) for at in range(40)]
    report = _report(_block(documents, [gold] * 40), 200)["gold"]
    assert report["better"] is None
    assert report["micro"]["difference"]["f1"]["low"] == 0
    assert report["micro"]["found"]["only_b"] == 1


def test_the_same_run_twice_shows_no_difference():
    documents, golds = _draw(seed=5)
    twice = [_document([e[:3] for e in d.b], [e[:3] for e in d.b], at=d.row) for d in documents]
    report = _report(_block(twice, golds), 100)
    assert report["counts"]["changed_documents"] == 0
    assert report["samples"] == report["documents"] == []
    assert report["gold"]["better"] is None
    assert report["gold"]["micro"]["difference"]["f1"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}


def test_without_replicates_there_is_no_interval_and_nobody_is_better():
    report = _report(_block([_document([], [(0, 2, "PER")])], [[(0, 2, "PER")]]))["gold"]
    assert report["micro"]["difference"]["f1"] == {"value": 1.0, "low": None, "high": None, "p_value": None}
    assert (report["better"], report["replicates"]) == (None, 0)


def test_no_documents_compare_to_nothing():
    report = summarise_comparison(Comparison.empty(), has_gold=True)
    assert report["counts"]["documents"] == report["gold"]["counts"]["entities"] == 0
    assert report["gold"]["micro"]["a"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert report["gold"]["labels"] == {}
    report = _report(_block([_document([], [])], [[]]), 20)
    assert report["counts"]["documents"] == report["gold"]["counts"]["documents"] == 1
    assert report["gold"]["better"] is None
