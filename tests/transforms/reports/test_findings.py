"""What a report says in words."""

import copy

import pytest

from tests.transforms.reports.evaluations import make_hostile_report, make_report, make_void_report
from transforms.reports import findings
from transforms.reports.findings import Finding

REPORT = make_report()


def _change(**counts):
    report = copy.deepcopy(make_void_report())
    report["counts"] |= counts
    return report


def _texts(report):
    return [notice.text for notice in findings.find_notices(report)]


def test_describe_quality_says_how_good_in_one_sentence():
    report = copy.deepcopy(REPORT)
    report["exact"]["default"]["micro"] |= {"precision": 0.9, "recall": 0.8, "f1": 0.847}
    report["intervals"]["exact.default.micro.f1"] = [0.81, 0.88]
    assert findings.describe_quality(report) == (
        "F1 is 84.7 (95 % interval 81.0 to 88.0): 80.0 % of the gold entities are found, "
        "and 90.0 % of the predicted ones are right."
    )


def test_describe_quality_does_without_an_interval():
    report = REPORT | {"intervals": {"level": 0.95, "replicates": 0}}
    assert "interval" not in findings.describe_quality(report)


@pytest.mark.parametrize(
    ("gold", "predicted", "fragment"),
    [(0, 0, "nothing to score"), (0, 3, "all 3 predicted ones are wrong"), (1200, 0, "all 1,200 gold entities")],
)
def test_describe_quality_speaks_of_one_side_where_the_other_is_empty(gold, predicted, fragment):
    assert fragment in findings.describe_quality(_change(gold_entities=gold, predicted_entities=predicted))


def test_describe_certainty_warns_of_wide_intervals():
    report = copy.deepcopy(REPORT)
    report["intervals"]["exact.default.micro.f1"] = [0.5, 0.59]
    assert findings.describe_certainty(report) == "95 % intervals from 1,000 resamples of 318 documents."
    report["intervals"]["exact.default.micro.f1"] = [0.5, 0.7]
    assert "wide" in findings.describe_certainty(report)


def test_describe_certainty_says_where_there_are_no_intervals():
    assert "No intervals" in findings.describe_certainty(make_void_report())


def _with_labels(**rows):
    report = copy.deepcopy(REPORT)
    report["exact"]["default"]["labels"] = {
        label: {"f1": f1, "support": support} for label, (f1, support) in rows.items()
    }
    return report


def test_find_weakest_passes_over_labels_with_little_support():
    assert findings.find_weakest(_with_labels(PER=(0.9, 50), ORG=(0.7, 10), LOC=(0.0, 9))) == "ORG"


def test_find_weakest_takes_what_there_is_where_all_have_little_support():
    assert findings.find_weakest(_with_labels(PER=(0.9, 5), ORG=(0.7, 4), LOC=(0.0, 0))) == "ORG"


@pytest.mark.parametrize("rows", [{}, {"PER": (0.9, 50)}, {"PER": (0.9, 50), "LOC": (0.0, 0)}])
def test_find_weakest_needs_two_labels(rows):
    assert findings.find_weakest(_with_labels(**rows)) is None


def test_find_largest_error_counts_all_errors():
    report = make_void_report() | {"errors": {"missed": {"PER": 2, "LOC": 5}, "label": {"PER": 4}, "both": {}}}
    assert findings.find_largest_error(report) == Finding("missed", "LOC", 5, 11)


def test_find_largest_error_of_a_perfect_prediction_is_none():
    assert findings.find_largest_error(make_void_report()) is None


def test_rank_labels_finds_every_label_once():
    report = copy.deepcopy(make_void_report())
    report["exact"]["default"]["labels"] = {"A": {"support": 1}, "B": {"support": 5}}
    report["exact"]["strict"]["labels"] = {"A": {"support": 9}, "C": {"support": 2}}
    report["confusion"] = {"A": {"O": 1, "D": 1}, "O": {"E": 1}}
    report["errors"] |= {"spurious": {"F": 1}}
    report["confusions"] = [{"kind": "label", "gold": "G", "predicted": "O", "count": 1}]
    report["calibration"] = {"labels": {"H": {}}}
    report["samples"] = [{"gold": None, "predicted": {"label": "I"}}]
    assert findings.rank_labels(report) == ["B", "C", "A", "D", "E", "F", "G", "H", "I"]


def test_rank_labels_keeps_a_label_that_is_called_like_none():
    report = copy.deepcopy(make_void_report())
    report["exact"]["default"]["labels"] = {"O": {"support": 1}}
    assert findings.rank_labels(report) == ["O"]


def test_rank_wrong_puts_the_label_with_the_most_errors_first():
    wrong = findings.rank_wrong(REPORT)
    totals = [sum(counts.values()) for counts in wrong.values()]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == sum(sum(by_label.values()) for by_label in REPORT["errors"].values())
    assert all(list(counts) == list(findings.KINDS) for counts in wrong.values())


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"unmatched_gold": 2}, "2 gold documents without a prediction."),
        ({"unmatched_predicted": 1}, "1 predicted document without gold."),
        ({"dead_documents": 1000}, "1,000 documents that could not be annotated."),
        ({"duplicate_ids": 1}, "1 id of more than one document."),
        ({"spelling_differences": 1}, "1 token spelled differently in gold and prediction."),
        ({"retokenized_sentences": 3}, "3 sentences cut into other tokens; matched by their characters."),
        ({"widened_entities": 2}, "2 predicted entities widened to whole tokens of gold."),
        ({"invalid_sequences": {"gold": 1, "predicted": 0}}, "1 gold sequence with tags against the scheme."),
    ],
)
def test_find_notices_tells_of_each_count(counts, text):
    assert _texts(_change(documents=5, **counts)) == [text]


@pytest.mark.parametrize(("policy", "fragment"), [("conlleval", "begins an entity"), ("discard", "are dropped")])
def test_find_notices_tells_how_illegal_sequences_were_read(policy, fragment):
    report = _change(documents=5, invalid_sequences={"gold": 0, "predicted": 2}) | {"settings": {"repair": policy}}
    [text] = _texts(report)
    assert text.startswith("2 predicted sequences")
    assert fragment in text


def test_find_notices_of_clean_data_says_nothing():
    assert _texts(_change(documents=5)) == []


def test_find_notices_tells_of_no_documents_and_of_samples():
    report = make_void_report()
    assert _texts(report | {"surface": report["surface"] | {"is_sampled": True}}) == [
        "No documents were scored.",
        "Surface forms were scored on a sample of the mentions.",
    ]


def test_sentences_hold_nothing_from_data():
    report = make_hostile_report("HOSTILE")
    sentences = [findings.describe_quality(report), findings.describe_certainty(report), *_texts(report)]
    assert len(sentences) == 12
    assert not [text for text in sentences if "HOSTILE" in text]


def test_every_notice_with_examples_names_a_list_of_the_report():
    listed = [notice.listed for notice in findings.find_notices(REPORT) if notice.listed]
    assert listed
    assert set(listed) <= set(REPORT["listed"])
