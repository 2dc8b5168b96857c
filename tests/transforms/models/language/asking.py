"""Asks a server many prompts through a cache, in a process that a test can kill.

    python -m tests.transforms.models.language.asking URL ROOT N_PROMPTS

Prints how many were asked for once all have an answer.
"""

import sys

from schemas.prompts import Message, Prompt
from transforms.models.language.answer_cache import CachedModelConfig
from transforms.models.language.endpoint import EndpointConfig


def run(url: str, root: str, n_prompts: int) -> None:
    config = CachedModelConfig(EndpointConfig(url=url, model="tiny", concurrency=3, patience_s=1), root)
    answers = config.load().answer([Prompt((Message("user", f"{at}"),), 16) for at in range(n_prompts)])
    print(sum(answer.requests for answer in answers), *(answer.text for answer in answers))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
