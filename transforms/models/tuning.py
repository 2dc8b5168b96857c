"""The budget of a batch that is fastest on this machine, by a short measurement, and a memory of what was found.

    token counts of real windows ──> batches as they would be packed ──> some of them, evenly ──> tokens per second

Budgets are measured in turn, several times over, and compared by their medians, so that a machine whose speed drifts
favours none. What takes the time of a batch is its shape, so the tokens themselves are made up.
"""

import dataclasses
import hashlib
import json
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from transforms.models.backends import BackendConfig
from transforms.models.checkpoint import cache_folder
from transforms.models.processor import read_flags, read_processor
from transforms.models.tagger import FloatArray, IntArray, TokenClassifier
from transforms.text.packing import Batch, fill_lengths, pack_windows

BUDGETS = {"cpu": (512, 1024, 2048, 4096, 8192), "cuda": (16384, 32768, 65536, 131072)}
_ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a budget gave.

    Attributes:
      batch_tokens: the budget, in padded tokens.
      tokens_per_s: median of its rounds, in real tokens.
    """

    batch_tokens: int
    tokens_per_s: float


def measure_budgets(
    classifier: TokenClassifier,
    lengths: IntArray,
    budgets: Sequence[int],
    *,
    most_tokens: int,
    trial_tokens: int = 4096,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Trial]:
    """Budgets to their speeds, the fastest last.

    Args:
      classifier: the model.
      lengths: (n_windows,) tokens of windows as the corpus has them, special tokens included.
      budgets: padded tokens per batch.
      most_tokens: most tokens of a window.
      trial_tokens: fewest padded tokens in a round of one budget.
      clock: gives seconds.
    """
    picked = {budget: _pick(pack_windows(lengths, budget, most_tokens=most_tokens), trial_tokens) for budget in budgets}
    rates: dict[int, list[float]] = {budget: [] for budget in budgets}
    for turn in range(_ROUNDS + 1):
        for budget, batches in picked.items():
            started = clock()
            deque(run_batches(classifier, (_make_up(batch, lengths) for batch in batches)), maxlen=0)
            seconds = clock() - started
            # The first turn pays for shapes that the backend has not seen yet.
            if turn:
                rates[budget].append(sum(int(lengths[batch.windows].sum()) for batch in batches) / max(seconds, 1e-9))
    return sorted(
        (Trial(budget, statistics.median(found)) for budget, found in rates.items()),
        key=lambda trial: trial.tokens_per_s,
    )


def _make_up(batch: Batch, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """Ids and lengths of a batch, for the time it takes does not depend on what the ids are."""
    return np.ones((batch.rows, batch.longest), dtype=np.int64), fill_lengths(lengths[batch.windows], batch.rows)


def _pick(batches: Sequence[Batch], trial_tokens: int) -> list[Batch]:
    """Batches spread evenly from the longest windows to the shortest, until they hold enough padded tokens."""
    cost = np.array([batch.rows * batch.longest for batch in batches])
    count = min(len(batches), max(1, -(-trial_tokens * len(batches) // max(1, int(cost.sum())))))
    middles = (np.arange(count) + 0.5) * len(batches) / count
    return [batches[int(at)] for at in middles]


def run_batches(classifier: TokenClassifier, batches: Iterable[tuple[IntArray, IntArray]]) -> Iterator[FloatArray]:
    """The answers to batches (ids, lengths) in order, with as many in flight as when documents are annotated."""
    flying: deque[Callable[[], FloatArray]] = deque()
    for ids, lengths in batches:
        flying.append(classifier.submit(ids, lengths))
        if len(flying) >= classifier.in_flight:
            yield flying.popleft()()
    while flying:
        yield flying.popleft()()


class TuningCache:
    """Budgets found earlier, by model, engine and machine, in the user's cache folder.

    Args:
      digest: of the model or engine.
      backend: what runs it.
      window_tokens: most tokens in a window.
    """

    def __init__(self, digest: str, backend: BackendConfig, window_tokens: int) -> None:
        described = [digest, dataclasses.asdict(backend), window_tokens, describe_processor(), os.cpu_count()]
        key = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]
        self._path = cache_folder("tuning") / f"{key}.json"

    def read(self) -> int | None:
        """The budget, or None where none is known; a file that cannot be read is as good as none."""
        try:
            return int(json.loads(self._path.read_text(encoding="utf-8"))["batch_tokens"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, trials: Sequence[Trial]) -> None:
        """Keeps the fastest budget, beside what the others gave; without a cache folder it is forgotten."""
        best = max(trials, key=lambda trial: trial.tokens_per_s)
        content = {"batch_tokens": best.batch_tokens, "trials": [dataclasses.asdict(trial) for trial in trials]}
        partial = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            partial.replace(self._path)
        except OSError:
            return


def describe_processor() -> str:
    """The processor's name and the instructions that decide how fast a model runs."""
    wanted = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}
    return " ".join([read_processor().get("model name", ""), *sorted(wanted & read_flags())])
