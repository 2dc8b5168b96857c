"""What answers took, by name."""

import pytest

from schemas.errors import ConfigError, RecordError
from schemas.prompts import Answer
from transforms.models.language.usage import Prices, count_usage

ASKED = Answer("a", (), (), False, prompt_tokens=100, cached_tokens=40, answer_tokens=10)
TRIED = Answer("b", (), (), True, prompt_tokens=50, cached_tokens=0, answer_tokens=20, requests=3)
KEPT = Answer("c", (), (), False, prompt_tokens=70, cached_tokens=0, answer_tokens=30, requests=0)
FAILED = RecordError("endpoint_failed", "expected an answer")


def test_outcomes_are_counted_by_what_they_took():
    assert count_usage([ASKED, TRIED, KEPT, FAILED]) == {
        "prompts": 4,
        "prompts/failed": 1,
        "answers/kept": 1,
        "requests/retries": 2,
        "tokens/prompt": 150,
        "tokens/prompt-cached": 40,
        "tokens/answer": 30,
    }


def test_tokens_cost_what_the_prices_say_in_millionths():
    assert count_usage([ASKED, TRIED, KEPT, FAILED], Prices(prompt=2.5, answer=10))["cost/millionths"] == 675


def test_nothing_is_counted_of_no_prompts():
    assert not any(count_usage([], Prices(prompt=1)).values())


@pytest.mark.parametrize("prices", [{"prompt": -1}, {"answer": float("nan")}, {"answer": float("inf")}])
def test_a_price_that_makes_no_sense_is_refused(prices):
    with pytest.raises(ConfigError, match="expected a price of 0 or more for a million"):
        Prices(**prices)
