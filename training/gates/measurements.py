"""Candidate and champion on the same test sets, in the tagger that annotates.

gold table ──> texts ──> tags of the candidate ─┐
└──> tags of the champion ──┴─> joined with gold ──> evaluations, drawn alike ──> paired gains
"""

import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.labels import OUTSIDE
from schemas.registry import SetScore
from schemas.scores import MICRO, LabelScore
from transforms.models.tagger import Tagger
from transforms.pairing.joined import PREDICTED_SCHEMA, JoinConfig, digest_text, join_documents
from transforms.scoring.averages import Prf
from transforms.scoring.calibration import ScoreHistogram, calibration_error
from transforms.scoring.evaluation import Evaluation, EvaluationConfig, evaluate_block
from transforms.scoring.results import LEVEL, exact_scores
from transforms.scoring.significance import difference

N_REPLICATES = 1000
_MODE = "default"
_BLOCK_DOCUMENTS = 1024
_ROUNDS = 5


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GoldSet:
    """Labelled documents.

    Attributes:
      name: what the set is called.
      digest: SHA-256 of what it was read from, hex.
      gold: the documents, a table of `transforms.pairing.joined.GOLD_SCHEMA`.
      config: how they are compared.
      files: SHA-256 of each file that it was read from, hex.
    """

    name: str
    digest: str
    gold: pa.Table
    config: JoinConfig
    files: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The lines of the texts in order, which for CoNLL are the sentences, without white space."""
        texts = self.gold.column("text").to_pylist()
        return [squeezed for text in texts for line in text.split("\n") if (squeezed := "".join(line.split()))]

    @property
    def support(self) -> Counter[str]:
        """How many gold entities there are of each label."""
        names = self.config.tags.label_map
        spans = (span["label"] for spans in self.gold.column("gold").to_pylist() for span in spans or ())
        counts = Counter(names.get(label, label) for label in spans)
        del counts[OUTSIDE]
        return counts


@dataclasses.dataclass(frozen=True)
class Gain:
    """How far the F1 of a candidate lies above the champion's, in points.

    Attributes:
      value: the difference.
      low: where it lies at least, with a chance of 95 % that it lies between.
      high: where it lies at most.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SetMeasurement:
    """Candidate and champion on one test set.

    Attributes:
      name: of the set.
      digest: of the set.
      support: how many gold entities there are of each label.
      candidate: evaluation of the candidate.
      champion: evaluation of the champion; None where there is none.
    """

    name: str
    digest: str
    support: Mapping[str, int]
    candidate: Evaluation
    champion: Evaluation | None

    def compare_label(self, label: str) -> Gain:
        """The gain of one label, or of all under the name MICRO; documents are drawn alike for both."""
        assert self.champion is not None
        labels = sorted(
            {key[1] for side in (self.candidate, self.champion) for key in side.counters if key[0] == _MODE}
        )
        name = label if label == MICRO else f"labels.{label}"
        before, after = (
            (_score(side.counters, labels, name), _score(side.replicates, labels, name))
            for side in (self.champion, self.candidate)
        )
        bounds = difference(np.asarray(before[1].f1), np.asarray(after[1].f1), LEVEL)
        return Gain(100 * float(after[0].f1 - before[0].f1), 100 * bounds.low, 100 * bounds.high)

    def measure_ece(self) -> tuple[float, float]:
        """Expected calibration error of candidate and champion."""
        assert self.champion is not None
        return _calibration_error(self.candidate), _calibration_error(self.champion)

    def score(self) -> SetScore:
        """How the candidate does."""
        labels = sorted({key[1] for key in self.candidate.counters if key[0] == _MODE})
        scores = dict(exact_scores(self.candidate.counters, _MODE, labels))
        named = {**{label: scores[f"labels.{label}"] for label in labels}, MICRO: scores["micro"]}
        return SetScore(
            name=self.name,
            digest=self.digest,
            documents=self.candidate.tallies["count", "documents"],
            scores=tuple(_to_score(label, score) for label, score in named.items()),
            ece=_calibration_error(self.candidate),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurements:
    """All that gates look at.

    Attributes:
      sets: measurements by test set.
      ratios: how many times as fast as the champion the candidate was in each round; none where that was not measured.
    """

    sets: Mapping[str, SetMeasurement]
    ratios: tuple[float, ...] = ()


def measure_set(test: GoldSet, candidate: Tagger, champion: Tagger | None) -> SetMeasurement:
    """Evaluates candidate and champion on a test set."""
    return SetMeasurement(
        name=test.name,
        digest=test.digest,
        support=test.support,
        candidate=_evaluate(test, candidate),
        champion=_evaluate(test, champion) if champion else None,
    )


def measure_ratios(
    texts: Sequence[str],
    candidate: Tagger,
    champion: Tagger,
    *,
    rounds: int = _ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, ...]:
    """How many times as fast as the champion the candidate tags some texts, by round.

    Both take turns, the one that begins in turn too, so that a machine whose speed drifts favours none.
    """
    ratios = []
    for turn in range(rounds + 1):
        seconds = {}
        for name, tagger in (("a", candidate), ("b", champion)) if turn % 2 else (("b", champion), ("a", candidate)):
            started = clock()
            tagger.tag(texts)
            seconds[name] = max(clock() - started, 1e-9)
        # The first turn pays for what is set up once.
        if turn:
            ratios.append(seconds["b"] / seconds["a"])
    return tuple(ratios)


def middle(ratios: Sequence[float]) -> float:
    """The median."""
    return statistics.median(ratios)


def _evaluate(test: GoldSet, tagger: Tagger) -> Evaluation:
    config = EvaluationConfig(n_replicates=N_REPLICATES, by_source=False)
    total = Evaluation.empty(N_REPLICATES)
    for begin in range(0, test.gold.num_rows, _BLOCK_DOCUMENTS):
        gold = test.gold.slice(begin, _BLOCK_DOCUMENTS)
        # Documents with one id may lie in two blocks; their places tell them apart.
        total += evaluate_block(join_documents(gold, _tag_documents(gold, tagger), test.config), config)
    return total


def _tag_documents(gold: pa.Table, tagger: Tagger) -> pa.Table:
    """Gold documents to the rows of a run that annotated them."""
    texts = gold.column("text").to_pylist()
    tagging = tagger.tag(texts)
    entities: list[list[dict[str, Any]]] = [[] for _ in texts]
    columns = (tagging.document, tagging.start, tagging.end, tagging.label, tagging.score)
    for document, start, end, label, score in zip(*(column.tolist() for column in columns), strict=True):
        entities[document].append({"start": start, "end": end, "label": tagger.labels[label], "score": score})
    places = zip(*(gold.column(name).to_pylist() for name in ("id", "source", "row")), strict=True)
    rows = [
        {
            "id": id_,
            "source": source,
            "row": row,
            "digest": digest_text(text),
            "unit": "codepoint",
            "entities": None if at in tagging.failures else entities[at],
        }
        for at, ((id_, source, row), text) in enumerate(zip(places, texts, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTED_SCHEMA)


def _score(counts: Mapping[Any, Any], labels: Sequence[str], name: str) -> Prf:
    return dict(exact_scores(counts, _MODE, labels))[name]


def _calibration_error(evaluation: Evaluation) -> float:
    return calibration_error((evaluation.scores or ScoreHistogram()).overall)


def _to_score(label: str, score: Prf) -> LabelScore:
    precision, recall, f1 = (float(value) for value in (score.precision, score.recall, score.f1))
    return LabelScore(label=label, precision=precision, recall=recall, f1=f1, support=int(score.support))
