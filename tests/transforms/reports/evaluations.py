"""Made-up reports of evaluations, for everything that shows them: a rich one, one of nothing, and a hostile one.

The rich one is grown from a list of gold entities and what became of each, so that its figures agree with each other.
"""

import copy
import itertools
import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

SCHEMA = json.loads(Path(__file__, "../../../../schemas/evaluation.schema.json").resolve().read_text(encoding="utf-8"))

LABELS = ("PER", "ORG", "LOC", "PRODUCT", "EVENT")
MANY_LABELS = (
    *("PERSON", "ORG", "GPE", "DATE", "CARDINAL", "NORP", "MONEY", "PERCENT", "WORK_OF_ART", "ORDINAL", "LOC"),
    *("TIME", "FAC", "EVENT", "LANGUAGE"),
)
_SENTENCE = "After the vote on Tuesday, {left} told reporters outside {right} that nothing had been decided yet."
_NAMES = (
    "Ada Lovelace",
    "the Bank of England",
    "New York City",
    "Charles Babbage",
    "Lake Victoria",
    "Analytical Engine",
)


def make_report(labels: tuple[str, ...] = LABELS, *, n_entities: int = 900) -> dict[str, Any]:
    """A report with every part filled."""
    events = _draw_events(labels, n_entities)
    exact = _score_exact(events)
    partial = _score_partial(events)
    errors = {kind: dict(sorted(Counter(_owner(e) for e in events if e[0] == kind).items())) for kind in _ERRORS}
    confused = Counter(event for event in events if event[0] in _ERRORS)
    report = {
        "report_version": 1,
        "kind": "evaluation",
        "seconds": 1.24,
        "gold": {"name": "uner_en_ewt/dev.conll"},
        "predicted": {"name": "out/run=3f9ac2417be0d51c"},
        "settings": {
            "scheme": "BIO",
            "repair": "conlleval",
            "label map": {"GPE": "LOC"},
            "by": ["genre"],
            "training files": [],
        },
        "versions": {"python": "3.11.2", "spanmill": "0.2.0", "numpy": "2.4.0"},
        "counts": {
            "documents": 318,
            "sentences": 2001,
            "tokens": 25_152,
            "gold_entities": exact["micro"]["support"],
            "predicted_entities": sum(row["found"] + row["spurious"] for row in exact["labels"].values()),
            "invalid_sequences": {"gold": 0, "predicted": 3},
            "spelling_differences": 2,
            "retokenized_sentences": 17,
            "widened_entities": 1,
            "overlapping_entities": 1,
            "unlabelled_documents": 2,
            "dead_documents": 1,
            "unmatched_gold": 2,
            "unmatched_predicted": 1,
            "duplicate_ids": 1,
        },
        "listed": {
            "unmatched_gold": ["weblog-11", "weblog-12"],
            "unmatched_predicted": ["email-7"],
            "duplicate_ids": ["answers-3"],
            "dead_documents": ["reviews-9"],
            "spelling": [
                {"source": "dev.conll", "line": 12, "gold": "don't", "predicted": "dont"},
                {"source": "dev.conll", "line": 981, "gold": "“", "predicted": '"'},
            ],
        },
        "exact": {"default": exact, "strict": _score_exact([e for e in events if e[1:] != (labels[-1], labels[-1])])},
        "partial": partial,
        "tokens": {"accuracy": 24_410 / 25_152, "correct": 24_410, "total": 25_152},
        "surface": {"micro": _prf(300, 60, 80), "is_sampled": False},
        "confusion": _count_confusion(events),
        "errors": errors,
        "confusions": [
            {"kind": kind, "gold": gold, "predicted": predicted, "count": count}
            for (kind, gold, predicted), count in confused.most_common(20)
        ],
        "breakdowns": {
            "document length in tokens": [_group("0 to 16", 60, 8, 9), _group("17 to 32", 200, 25, 31)],
            "entity length in tokens": [
                _group("1", 420, 40, 38),
                _group("2", 180, 22, 30),
                _group("3", 60, 14, 21),
                _group("4", 12, 6, 9),
                _group("5 or more", 5, 4, 11),
            ],
            "genre": [_group(name, 100 - 9 * at, 10 + at, 8 + 3 * at) for at, name in enumerate(("weblog", "email"))],
            "in the training data": [_group("seen", 400, 12, 15), _group("unseen", 250, 60, 81)],
            "source": [_group("uner_en_ewt/dev.conll", 650, 72, 96)],
        },
        "calibration": _calibrate(labels),
        "worst": [
            {
                "id": f"weblog-{k}",
                "source": "uner_en_ewt/dev.conll",
                "row": 17 * k,
                "gold": 20 - k,
                "predicted": 15 - k,
                "missed": 8 - k // 2,
                "spurious": 3,
                "errors": 14 - k // 2,
            }
            for k in range(8)
        ],
        "samples": _draw_samples(labels),
        "intervals": {"level": 0.95, "replicates": 1000},
    }
    report["intervals"] |= _bound(report)
    return report


def make_void_report() -> dict[str, Any]:
    """A report of no documents, without intervals."""
    report = make_report(labels=())
    nothing = dict.fromkeys(("missed", "spurious", "boundary", "label", "both"))
    return report | {
        "settings": {},
        "versions": {},
        "counts": {name: 0 for name in report["counts"]}
        | {"sentences": None, "tokens": None, "invalid_sequences": {"gold": 0, "predicted": 0}},
        "listed": {name: [] for name in report["listed"]},
        "tokens": None,
        "surface": {"micro": _prf(0, 0, 0), "is_sampled": False},
        "confusion": {},
        "errors": {kind: {} for kind in nothing},
        "confusions": [],
        "breakdowns": {},
        "calibration": None,
        "worst": [],
        "samples": [],
        "intervals": {"level": 0.95, "replicates": 0},
    }


def make_hostile_report(hostile: str) -> dict[str, Any]:
    """The rich report with one string wherever data can put one, and once with every setting of a part."""
    report = copy.deepcopy(make_report(labels=(hostile, "PER")))
    report |= {
        "gold": {"name": hostile},
        "predicted": {"name": hostile},
        "settings": {hostile: hostile, "repair": hostile, "list": [hostile]},
        "versions": {hostile: hostile, "spanmill": hostile},
        "listed": {name: [hostile] for name in report["listed"]}
        | {"spelling": [{"source": hostile, "line": 3, "gold": hostile, "predicted": hostile}]},
        "breakdowns": {hostile: [_group(hostile, 3, 1, 1), _group("x", 1, 0, 0)], "one": [_group(hostile, 3, 1, 1)]},
    }
    report["calibration"]["calibrator"]["kind"] = hostile
    for row in (*report["worst"], *report["samples"]):
        row |= {"id": hostile, "source": hostile}
    for sample in report["samples"]:
        sample |= {"context": f"{hostile} and {hostile}", "context_start": 5}
        for side in ("gold", "predicted"):
            if sample[side]:
                sample[side] |= {"start": 5, "end": 5 + len(hostile), "text": hostile, "label": hostile}
    return report


_ERRORS = ("missed", "spurious", "boundary", "label", "both")
_Event = tuple[str, str, str]


def _draw_events(labels: tuple[str, ...], n_entities: int) -> list[_Event]:
    """(what became of it, gold label, predicted label), `O` for none; later labels are rarer and harder."""
    dice = random.Random(7)
    events = []
    for rank, label in enumerate(labels):
        others = [other for other in labels if other != label] or [label]
        for _ in range(max(4, int(n_entities * 0.5 ** (rank + 1) if len(labels) < 9 else n_entities / (rank + 2)))):
            hard = 0.07 + 0.25 * rank / len(labels)
            if dice.random() > hard:
                events.append(("found", label, label))
                continue
            kind = dice.choices(_ERRORS, (4, 3, 3, 3, 1))[0]
            gold = "O" if kind == "spurious" else label
            predicted = {"missed": "O", "label": dice.choice(others), "both": others[0]}.get(kind, label)
            events.append((kind, gold, predicted))
    return events


def _owner(event: _Event) -> str:
    return event[2] if event[0] == "spurious" else event[1]


def _prf(found: int, spurious: int, missed: int) -> dict[str, Any]:
    precision = found / max(1, found + spurious)
    recall = found / max(1, found + missed)
    f1 = 2 * precision * recall / ((precision + recall) or 1)
    return {"precision": precision, "recall": recall, "f1": f1, "support": found + missed}


def _group(value: str, found: int, spurious: int, missed: int) -> dict[str, Any]:
    return {"value": value, **_prf(found, spurious, missed), "predicted": found + spurious}


def _score_exact(events: list[_Event]) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, gold, predicted in events:
        if kind == "found":
            counts[gold]["found"] += 1
            continue
        if gold != "O":
            counts[gold]["missed"] += 1
        if predicted != "O":
            counts[predicted]["spurious"] += 1
    rows = {
        label: {**_prf(n["found"], n["spurious"], n["missed"]), **{k: n[k] for k in ("found", "spurious", "missed")}}
        for label, n in sorted(counts.items())
    }
    total = sum(counts.values(), Counter())
    micro = _prf(total["found"], total["spurious"], total["missed"])
    macro, weighted = dict(micro), dict(micro)
    for name in ("precision", "recall", "f1") if rows else ():
        macro[name] = sum(row[name] for row in rows.values()) / len(rows)
        weighted[name] = sum(row[name] * row["support"] for row in rows.values()) / micro["support"]
    return {"micro": micro, "macro": macro, "weighted": weighted, "labels": rows}


def _score_partial(events: list[_Event]) -> dict[str, Any]:
    def score(chosen: list[_Event]) -> dict[str, Any]:
        kinds = Counter(kind for kind, _, _ in chosen)
        measures = {}
        for measure, right in (
            ("strict", ("found",)),
            ("exact", ("found", "label")),
            ("partial", ("found", "label")),
            ("type", ("found", "boundary")),
        ):
            correct = sum(kinds[kind] for kind in right)
            near = sum(kinds[kind] for kind in ("found", "boundary", "label", "both")) - correct
            partial, incorrect = (near, 0) if measure == "partial" else (0, near)
            credit = correct + partial / 2
            precision = credit / max(1, correct + near + kinds["spurious"])
            recall = credit / max(1, correct + near + kinds["missed"])
            measures[measure] = {
                "correct": correct,
                "incorrect": incorrect,
                "partial": partial,
                "missed": kinds["missed"],
                "spurious": kinds["spurious"],
                "precision": precision,
                "recall": recall,
                "f1": 2 * precision * recall / ((precision + recall) or 1),
            }
        return measures

    labels = sorted({_owner(event) for event in events})
    return {**score(events), "labels": {label: score([e for e in events if _owner(e) == label]) for label in labels}}


def _count_confusion(events: list[_Event]) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for (gold, predicted), count in sorted(Counter(event[1:] for event in events).items()):
        rows[gold][predicted] = count
    return dict(rows)


def _calibrate(labels: tuple[str, ...]) -> dict[str, Any]:
    dice = random.Random(3)
    described = {}
    for rank, label in enumerate(labels):
        bins = []
        for low, high in itertools.pairwise([k / 10 for k in range(11)]):
            entities = int(200 * (low**3 + 0.02) / (rank + 1))
            score = (low + high) / 2
            correct = min(entities, int(entities * max(0.0, score - 0.12 + dice.uniform(-0.06, 0.06))))
            row = {"low": low, "high": high, "entities": entities, "correct": correct, "mean_score": score}
            bins += [row] if entities else []
        curve = [
            [k / 20, 0.6 + 0.39 * (k / 20) ** (1 + rank / 3), 0.97 - 0.6 * (k / 20) ** max(1, 4 - rank / 5)]
            for k in range(20)
        ]
        described[label] = {
            "ece": 0.04 + 0.01 * rank,
            "entities": sum(each["entities"] for each in bins),
            "correct": sum(each["correct"] for each in bins),
            "bins": bins,
            "curve": curve,
        }
    thresholds = {
        label: next((at for at, precision, _ in row["curve"] if precision >= 0.9), None)
        for label, row in described.items()
    }
    return {
        "ece": 0.052,
        "labels": described,
        "thresholds": {"precision": 0.9, "labels": thresholds | dict.fromkeys(labels[-1:])},
        "calibrator": {"kind": "isotonic", "ece_before": 0.052, "ece_after": 0.013},
    }


def _draw_samples(labels: tuple[str, ...]) -> list[dict[str, Any]]:
    samples = []
    for k in range(30 if labels else 0):
        kind = _ERRORS[k % 5]
        left, right = _NAMES[k % 6], _NAMES[(k + 2) % 6]
        text = _SENTENCE.format(left=left, right=right)
        gold = _span(text, left, labels[k // 5 % len(labels)], 1200)
        predicted = dict(gold)
        if kind in ("label", "both"):
            predicted["label"] = labels[(k // 5 + 1) % len(labels)]
        if kind in ("boundary", "both"):
            predicted = _span(text, left.split()[-1], predicted["label"], 1200)
        samples.append(
            {
                "id": f"weblog-blogspot.com_{k:04d}",
                "source": "uner_en_ewt/dev.conll",
                "row": 3 * k,
                "kind": kind,
                "gold": None if kind == "spurious" else gold,
                "predicted": None
                if kind == "missed"
                else predicted | {"score": None if k % 7 == 0 else 0.61 + k / 100},
                "context": text,
                "context_start": 1200,
            }
        )
    return samples


def _span(text: str, part: str, label: str, offset: int) -> dict[str, Any]:
    start = text.index(part) + offset
    return {"start": start, "end": start + len(part), "label": label, "text": part}


def _bound(report: dict[str, Any]) -> dict[str, list[float]]:
    """An interval around every score, wider for fewer entities."""
    bounds = {}
    scores = {
        f"exact.{mode}.{name}": row[name] for mode, row in report["exact"].items() for name in row if name != "labels"
    }
    for mode, row in report["exact"].items():
        scores |= {f"exact.{mode}.labels.{label}": values for label, values in row["labels"].items()}
    scores |= {f"partial.{name}": row | {"support": 900} for name, row in report["partial"].items() if name != "labels"}
    scores["surface.micro"] = report["surface"]["micro"]
    for name, row in scores.items():
        width = 0.9 / (row["support"] + 4) ** 0.5
        for measure in ("precision", "recall", "f1"):
            value = row[measure]
            bounds[f"{name}.{measure}"] = [max(0.0, value - width), min(1.0, value + 0.8 * width)]
    bounds["tokens.accuracy"] = [0.967, 0.974]
    return bounds
