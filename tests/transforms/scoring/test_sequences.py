"""Tag sequences in memory, scored as seqeval scores them."""

import random
import warnings

import pytest
from seqeval.metrics import classification_report
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from transforms.scoring.matching import score_matches
from transforms.scoring.sequences import count_sequences

SCHEMES = {"IOB1": (IOB1, "BI"), "BIO": (IOB2, "BI"), "BIOES": (IOBES, "BIES"), "BILOU": (BILOU, "BILU")}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("is_strict", [False, True])
def test_thousands_of_random_sequences_score_as_in_seqeval(scheme, is_strict):
    rng = random.Random(len(scheme))
    tags = ["O", "O", *(f"{prefix}-{label}" for prefix in SCHEMES[scheme][1] for label in ("PER", "LOC", "a-b"))]
    gold = [rng.choices(tags, k=rng.randint(1, 10)) for _ in range(3000)]
    predicted = [[rng.choice(tags) if rng.random() < 0.3 else tag for tag in line] for line in gold]
    mode = {"mode": "strict", "scheme": SCHEMES[scheme][0]} if is_strict else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = classification_report(gold, predicted, output_dict=True, zero_division=0, **mode)
    rows = score_matches(count_sequences(gold, predicted, scheme=scheme, is_strict=is_strict))
    assert {row.label for row in rows} == {name for name in expected if not name.endswith(" avg")} | {"micro"}
    for row in rows:
        values = expected["micro avg" if row.label == "micro" else row.label]
        assert (row.precision, row.recall, row.f1) == tuple(
            values[name] for name in ("precision", "recall", "f1-score")
        )
        assert row.support == values["support"]


def test_sequences_of_unequal_length_or_number_are_refused():
    with pytest.raises(ValueError, match="expected as many predicted tags as gold tags, found 1 and 2"):
        count_sequences([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="expected as many predicted sequences"):
        count_sequences([["O"], ["O"]], [["O"]])
