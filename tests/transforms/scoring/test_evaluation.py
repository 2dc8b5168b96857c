"""An evaluation as a sum: what it counts, and that any split of the documents gives the same."""

import functools
import operator
import random

import numpy as np
import pytest

from schemas.errors import ConfigError
from transforms.corpora.files import stat_file
from transforms.pairing.tagged import TagConfig, TaggedFiles, read_tagged_blocks
from transforms.scoring.evaluation import Evaluation, EvaluationConfig, evaluate_block
from transforms.scoring.matching import SpanColumns
from transforms.scoring.pairs import Document, PairBlock, Reading
from transforms.scoring.results import ResultsConfig, make_results

LABELS = ("PER", "LOC", "ORG")


class _Words:
    """Texts of numbered words, one character each."""

    def text(self, document):
        return "abcdefghijklmnopqrstuvwxyz"

    def place(self, document, first, last):
        return first, last

    def surface(self, document, first, last):
        return self.text(document)[first:last]

    def count_tokens(self, document, first, last):
        return last - first


def _columns(rows):
    return SpanColumns(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)


def _block(gold, predicted, scores=None, n_documents=1, groups=(), **more):
    reading = Reading(_columns(gold), _columns(predicted))
    return PairBlock(
        documents=tuple(Document(f"d{at}", "g", at, 26, groups) for at in range(n_documents)),
        labels=LABELS,
        default=reading,
        strict=reading,
        explained=reading,
        texts=_Words(),
        scores=None if scores is None else np.array(scores, dtype=np.float32),
        **more,
    )


def _report(evaluation, **config):
    return make_results(evaluation, ResultsConfig(**config)).report


def test_every_error_has_its_kind():
    gold = [(0, 0, 2, 0), (0, 4, 6, 1), (0, 8, 10, 2), (0, 12, 14, 0)]
    predicted = [(0, 0, 2, 0), (0, 4, 7, 1), (0, 8, 10, 0), (0, 13, 15, 1), (0, 20, 21, 2)]
    report = _report(evaluate_block(_block(gold, predicted), EvaluationConfig()))
    assert report["errors"] == {
        "missed": {},
        "spurious": {"ORG": 1},
        "boundary": {"LOC": 1},
        "label": {"ORG": 1},
        "both": {"PER": 1},
    }
    assert report["confusion"] == {"LOC": {"LOC": 1}, "O": {"ORG": 1}, "ORG": {"PER": 1}, "PER": {"LOC": 1, "PER": 1}}
    assert report["partial"]["partial"]["partial"] == 2
    assert {sample["kind"] for sample in report["samples"]} == {"boundary", "label", "both", "spurious"}
    assert report["worst"][0]["errors"] == 4
    sample = next(sample for sample in report["samples"] if sample["kind"] == "boundary")
    assert (sample["gold"]["text"], sample["predicted"]["text"]) == ("ef", "efg")
    assert sample["context"][sample["gold"]["start"] - sample["context_start"] :].startswith("ef")


def test_entities_under_their_threshold_count_for_calibration_only():
    below = (_columns([(0, 4, 6, 1)]), np.array([0.2], dtype=np.float32))
    block = _block([(0, 0, 2, 0), (0, 4, 6, 1)], [(0, 0, 2, 0)], [0.9], below=below)
    report = _report(evaluate_block(block, EvaluationConfig()), precision=0.9)
    assert report["exact"]["default"]["micro"]["recall"] == 0.5
    assert report["calibration"]["labels"]["LOC"]["correct"] == 1
    assert report["calibration"]["thresholds"]["labels"]["PER"] == pytest.approx(0.0)
    assert report["samples"][0]["predicted"] is None


def test_the_score_of_a_sampled_error_is_its_own():
    report = _report(evaluate_block(_block([], [(0, 0, 2, 0), (0, 4, 6, 1)], [0.9, 0.25]), EvaluationConfig()))
    scores = {sample["predicted"]["label"]: sample["predicted"]["score"] for sample in report["samples"]}
    assert scores == {"PER": pytest.approx(0.9), "LOC": 0.25}


def test_scores_are_broken_down():
    seen = {"ab": frozenset({"PER"}), "ef": frozenset({"ORG"})}
    gold = [(0, 0, 2, 0), (0, 4, 6, 1), (0, 8, 16, 2)]
    predicted = [(0, 0, 2, 0), (0, 20, 21, 2)]
    config = EvaluationConfig(groups=("genre",), by_source=False, seen=seen)
    breakdowns = _report(evaluate_block(_block(gold, predicted, groups=("news",)), config))["breakdowns"]
    rows = {
        name: {row["value"]: (row["support"], row["predicted"], row["recall"]) for row in groups}
        for name, groups in breakdowns.items()
    }
    assert rows == {
        "document length in tokens": {"17 to 32": (3, 2, pytest.approx(1 / 3))},
        "entity length in tokens": {"1": (0, 1, 0), "2": (2, 1, 0.5), "5 or more": (1, 0, 0)},
        "genre": {"news": (3, 2, pytest.approx(1 / 3))},
        "in the training data": {"seen": (1, 1, 1), "seen with another label": (1, 0, 0), "unseen": (1, 1, 0)},
    }


def test_a_column_with_too_many_values_is_refused():
    gold = [(at, 0, 2, 0) for at in range(10_010)]
    block = _block(gold, [], n_documents=10_010)
    documents = tuple(Document(f"d{at}", "g", at, 26, (f"v{at}",)) for at in range(10_010))
    block = PairBlock(**{**vars(block), "documents": documents})
    with pytest.raises(
        ConfigError, match="expected at most 10,000 values to break scores down by, found more in 'url'"
    ):
        evaluate_block(block, EvaluationConfig(n_replicates=0, groups=("url",)))


def test_no_documents_score_zero():
    report = _report(Evaluation.empty(100))
    assert report["exact"]["default"]["micro"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert report["counts"]["documents"] == 0
    assert report["tokens"] is None
    assert _report(evaluate_block(_block([], []), EvaluationConfig()))["exact"]["strict"]["labels"] == {}


def test_calibration_needs_scores():
    with pytest.raises(ConfigError, match="expected predictions with scores"):
        make_results(Evaluation.empty(10), ResultsConfig(calibrator="isotonic"))


@pytest.fixture
def conll(tmp_path):
    """Two files of 120 sentences with illegal tags among them."""
    rng = random.Random(1)
    tags = ["O", "O", "O", *(f"{prefix}-{label}" for prefix in "BI" for label in LABELS)]
    words = ["Anna", "Bo", "Rome", "UNO", "x"]
    for name in ("gold", "predicted"):
        rng = random.Random(2)
        lines = []
        for at in range(120):
            for _ in range(1 + at % 9):
                tag = rng.choice(tags)
                other = rng.choice(tags) if rng.random() < 0.3 else tag
                lines.append(f"{rng.choice(words)}\t{tag if name == 'gold' else other}")
            lines.append("")
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    return TaggedFiles(*(stat_file(str(tmp_path / f"{name}.conll")) for name in ("gold", "predicted")))


def test_any_split_and_order_of_the_documents_gives_the_same_report(conll):
    config = EvaluationConfig(n_replicates=60, seen={"Anna": frozenset({"PER"})})
    tags = TagConfig(scheme="BIO", predicted_scheme="BIO")
    reports = []
    for block_tokens in (10_000, 100, 7, 1):
        parts = [evaluate_block(block, config) for block in read_tagged_blocks(conll, tags, block_tokens=block_tokens)]
        random.Random(block_tokens).shuffle(parts)
        reports.append(_report(functools.reduce(operator.add, parts, Evaluation.empty(60))))
    assert reports[0] == reports[1] == reports[2] == reports[3]
    assert len(reports[0]["samples"]) == 50
    assert reports[0]["counts"]["invalid_sequences"]["predicted"] > 0


def test_resamples_without_a_label_say_nothing_about_it(tmp_path):
    gold = [(at, 0, 2, 0) for at in range(20)] + [(0, 4, 6, 1), (0, 8, 9, 1)]
    predicted = [(at, 0, 2, 0) for at in range(20)] + [(0, 4, 6, 1)]
    report = _report(evaluate_block(_block(gold, predicted, n_documents=20), EvaluationConfig()))
    recall = report["exact"]["default"]["labels"]["LOC"]["recall"]
    assert report["intervals"]["exact.default.labels.LOC.recall"] == [recall, recall]
    low, high = report["intervals"]["exact.default.macro.f1"]
    assert low <= report["exact"]["default"]["macro"]["f1"] <= high


def test_one_document_has_no_intervals():
    report = _report(evaluate_block(_block([(0, 0, 2, 0)], [(0, 0, 2, 0)]), EvaluationConfig()))
    assert report["intervals"] == {"level": 0.95, "replicates": 1000}


def test_intervals_do_not_depend_on_the_folder_of_the_files(tmp_path):
    reports = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "x.conll"
        path.write_text("".join(f"w B-PER\nv {'B' if at % 3 else 'I'}-LOC\n\n" for at in range(30)))
        files = TaggedFiles(stat_file(str(path)), stat_file(str(path)))
        tags = TagConfig(scheme="BIO", predicted_scheme="BIO")
        (block,) = read_tagged_blocks(files, tags)
        reports.append(_report(evaluate_block(block, EvaluationConfig(n_replicates=50))))
    assert reports[0]["intervals"] == reports[1]["intervals"]


def test_intervals_hold_the_scores_and_shrink_with_documents(conll):
    tags = TagConfig(scheme="BIO", predicted_scheme="BIO")
    blocks = list(read_tagged_blocks(conll, tags, block_tokens=100))
    parts = [evaluate_block(block, EvaluationConfig(n_replicates=300)) for block in blocks]
    few, all_of_them = _report(parts[0]), _report(functools.reduce(operator.add, parts))
    widths = []
    for report in (few, all_of_them):
        for mode in ("default", "strict"):
            low, high = report["intervals"][f"exact.{mode}.micro.f1"]
            assert low <= report["exact"][mode]["micro"]["f1"] <= high
        low, high = report["intervals"]["tokens.accuracy"]
        assert low <= report["tokens"]["accuracy"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0]
    names = {name for name in all_of_them["intervals"] if name.endswith(".f1")}
    assert {f"exact.strict.labels.{label}.f1" for label in LABELS} < names
    assert {"exact.default.macro.f1", "exact.default.weighted.f1", "partial.type.f1", "surface.micro.f1"} < names
