"""How well a labelled file is tagged, before and after training, and how sure that is.

    gold tags ─────┐
    tags before ───┼─ one block per file ──> evaluation ──> F1 with interval, by label; confusion; kinds of errors
    tags after ────┘

The counting and the bootstrap are those of `spanmill evaluate`. Documents are drawn where the file marks them, else
sentences. Before and after draw alike, so the interval of the gain is a paired one. No text is kept, only numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.checkpoints import FileScore
from schemas.scores import MICRO, LabelScore
from training.examples import LabelledFile
from transforms.corpora.conll import Sentence, group_documents
from transforms.pairing.tagged import TagConfig, pair_sentences
from transforms.scoring.evaluation import Evaluation, EvaluationConfig, evaluate_block
from transforms.scoring.results import LEVEL, exact_scores, summarise
from transforms.scoring.significance import difference

Tags = Sequence[Sequence[str]]

_MODE = "strict"
_SCORES = ("precision", "recall", "f1", "support")
_WHOLE = ("confusion", "errors", "confusions")
N_REPLICATES = 1000


def compare_tags(file: LabelledFile, before: Tags, after: Tags, *, n_replicates: int = N_REPLICATES) -> dict[str, Any]:
    """A file and the tags of its sentences to JSON values.

    Args:
      file: the file.
      before: a BIO tag per word of each sentence, by the model as it was before the first step.
      after: the same by the checkpoint.
      n_replicates: bootstrap replicates; 0 for no intervals.

    Returns:
      `name`; `counts` of documents, sentences and entities; `before` and `after`, each with `micro` and `labels`
      of precision, recall, f1, support and `interval` of f1 (None where there is none); `gain` of micro F1 with its
      interval; and of the checkpoint `confusion`, `errors` and `confusions` as in the report of an evaluation.
    """
    sides = {name: _evaluate(file, tags, n_replicates) for name, tags in (("before", before), ("after", after))}
    reports = {name: summarise(side) for name, side in sides.items()}
    counts = reports["after"]["counts"]
    scores = {name: _choose_scores(report) for name, report in reports.items()}
    return {
        "name": file.name,
        "counts": {
            "documents": counts["documents"],
            "sentences": len(file.sentences),
            "entities": counts["gold_entities"],
        },
        "level": LEVEL,
        "replicates": n_replicates,
        **scores,
        "gain": {
            "f1": scores["after"]["micro"]["f1"] - scores["before"]["micro"]["f1"],
            "interval": _compare_replicates(sides["before"], sides["after"], counts["documents"]),
        },
        **{name: reports["after"][name] for name in _WHOLE},
    }


def read_score(comparison: Mapping[str, Any]) -> FileScore:
    """What `compare_tags` gave, with its `role`, to the scores that a card holds."""
    sides = {side: {**comparison[side]["labels"], MICRO: comparison[side]["micro"]} for side in ("before", "after")}
    scores = {
        side: tuple(LabelScore(label=label, **{key: row[key] for key in _SCORES}) for label, row in rows.items())
        for side, rows in sides.items()
    }
    intervals, intervals_before = (
        {label: (row["interval"][0], row["interval"][1]) for label, row in sides[side].items() if row["interval"]}
        for side in ("after", "before")
    )
    return FileScore(
        role=comparison["role"],
        name=comparison["name"],
        before=scores["before"],
        after=scores["after"],
        intervals=intervals,
        intervals_before=intervals_before,
    )


def _evaluate(file: LabelledFile, tags: Tags, n_replicates: int) -> Evaluation:
    documents = _join_documents(file, tags)
    block = pair_sentences(documents, source=file.name, config=TagConfig(scheme="BIO", predicted_scheme="BIO"))
    return evaluate_block(block, EvaluationConfig(n_replicates=n_replicates, by_source=False))


def _join_documents(file: LabelledFile, tags: Tags) -> Iterator[list[Sentence]]:
    sentences = [
        Sentence(own.words, tuple(own.tags), opens_document=own.opens_document, predicted_tags=tuple(found))
        for own, found in zip(file.sentences, tags, strict=True)
    ]
    return group_documents(sentences, is_marked=any(own.opens_document for own in sentences))


def _choose_scores(report: dict[str, Any]) -> dict[str, Any]:
    exact, intervals = report["exact"][_MODE], report["intervals"]
    return {
        "micro": {**exact["micro"], "interval": intervals.get(f"exact.{_MODE}.micro.f1")},
        "labels": {
            label: {
                **{name: row[name] for name in _SCORES},
                "interval": intervals.get(f"exact.{_MODE}.labels.{label}.f1"),
            }
            for label, row in exact["labels"].items()
        },
    }


def _compare_replicates(before: Evaluation, after: Evaluation, n_documents: int) -> list[float] | None:
    if n_documents < 2 or not before.replicates or not after.replicates:
        return None
    first, second = (
        dict(exact_scores(side.replicates, _MODE, sorted({key[1] for key in side.counters if key[0] == _MODE})))[
            "micro"
        ]
        for side in (before, after)
    )
    gain = difference(first.f1, second.f1, LEVEL)
    return [gain.low, gain.high]
