"""What answers took: requests, tokens and money, counted for reports."""

import dataclasses
from collections.abc import Sequence

from schemas.errors import ConfigError
from schemas.prompts import Answer
from transforms.models.language.language_model import Outcome


@dataclasses.dataclass(frozen=True)
class Prices:
    """What tokens cost, in any currency.

    Attributes:
      prompt: price of a million tokens of prompts.
      answer: price of a million tokens of answers.
    """

    prompt: float = 0.0
    answer: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompt", "answer"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(
                    f"expected a price of 0 or more for a million {name} tokens, found {getattr(self, name)}"
                )


def count_usage(outcomes: Sequence[Outcome], prices: Prices | None = None) -> dict[str, int]:
    """Outcomes of prompts to counts by name.

    An answer that was kept from an earlier time counts under `answers/kept` and has no tokens and no cost; those of
    prompts that failed are not known. The cost is in millionths of the currency, and takes no discount for tokens that
    the server had computed before.

    Args:
      outcomes: one for each prompt.
      prices: what tokens cost.
    """
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    asked = [answer for answer in answers if answer.requests]
    n_prompt, n_answer = (
        sum(answer.prompt_tokens for answer in asked),
        sum(answer.answer_tokens for answer in asked),
    )
    counts = {
        "prompts": len(outcomes),
        "prompts/failed": len(outcomes) - len(answers),
        "answers/kept": len(answers) - len(asked),
        "requests/retries": sum(answer.requests - 1 for answer in asked),
        "tokens/prompt": n_prompt,
        "tokens/prompt-cached": sum(answer.cached_tokens for answer in asked),
        "tokens/answer": n_answer,
    }
    if prices and (prices.prompt or prices.answer):
        # A price for a million tokens is a price in millionths for one.
        counts["cost/millionths"] = round(n_prompt * prices.prompt + n_answer * prices.answer)
    return counts
