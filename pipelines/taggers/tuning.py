"""`spanmill annotate --tune`: measures which batches are fastest here, on the corpus itself, and says so."""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.slices import Slice
    from transforms.corpora.documents import CorpusConfig
    from transforms.models.catalog import CheckpointTaggerConfig
    from transforms.models.tagger import IntArray
    from transforms.text.tokens import TokenColumns
    from transforms.text.windows import WindowConfig

_SAMPLE_CHARACTERS = 1 << 20
_SAMPLE_SLICES = 16
_WINDOWS = (128, 256, 512)


def recall_budget(tagger: "CheckpointTaggerConfig") -> int:
    """The budget that an earlier `--tune` found for this model on this machine, else the usual one."""
    from transforms.models.backends import default_batch_tokens
    from transforms.models.tuning import TuningCache

    known = TuningCache(tagger.digest, tagger.backend, tagger.windows.max_tokens).read()
    return known or default_batch_tokens(tagger.backend.device)


def tune_budget(
    tagger: "CheckpointTaggerConfig", corpus: "CorpusConfig", slices: Sequence["Slice"]
) -> "CheckpointTaggerConfig":
    """The tagger with the fastest budget on a sample of the corpus, which is kept for later runs.

    The window is measured too, but only told of: another window gives other answers near its edges, and so belongs to
    the person who asks for them.
    """
    from transforms.models.catalog import load_classifier
    from transforms.models.checkpoint import find_checkpoint, read_tokenizer
    from transforms.models.tuning import BUDGETS, TuningCache, measure_budgets
    from transforms.text.tokens import ColumnTokenizer

    checkpoint = find_checkpoint(tagger.model, scheme=tagger.scheme, base=tagger.base)
    tokenizer = ColumnTokenizer(read_tokenizer(checkpoint.folder))
    columns = tokenizer.tokenize(_sample(corpus, slices))
    n_special = len(tokenizer.prefix_ids) + len(tokenizer.suffix_ids)
    lengths = _measure_windows(columns, tagger.windows, n_special)
    if not len(lengths):
        _say("there is no text to measure on")
        return tagger
    classifier = load_classifier(checkpoint, tagger.backend)
    own = tagger.windows.max_tokens
    budgets = BUDGETS[tagger.backend.device.partition(":")[0]]
    _say(f"measuring batches of {budgets[0]:,} to {budgets[-1]:,} tokens on {len(lengths):,} windows of the corpus")
    trials = measure_budgets(classifier, lengths, budgets, most_tokens=own)
    for trial in sorted(trials, key=lambda trial: trial.batch_tokens):
        _say(f"  --batch-tokens {trial.batch_tokens:<6} {trial.tokens_per_s:>9,.0f} tokens/s")
    best = trials[-1].batch_tokens
    TuningCache(tagger.digest, tagger.backend, own).write(trials)
    _say(f"taking {best:,}, here and in later runs of this model on this machine")
    for most in sorted({own, *(window for window in _WINDOWS if window < own)}):
        lengths = _measure_windows(columns, tagger.windows.within(most), n_special)
        (trial,) = measure_budgets(classifier, lengths, [best], most_tokens=most)
        # Overlap and special tokens cost time and are nobody's text.
        speed = trial.tokens_per_s * len(columns.ids) / int(lengths.sum())
        _say(f"  --window-tokens {most:<5} {speed:>9,.0f} tokens/s" + (" (this run's)" if most == own else ""))
    _say("a shorter window is another run: it sees less around each word, so it is never chosen for you")
    return dataclasses.replace(tagger, batch_tokens=best)


def _measure_windows(columns: "TokenColumns", config: "WindowConfig", n_special: int) -> "IntArray":
    """The length of each window that tokens are cut into, (n_windows,), special tokens included."""
    from transforms.text.windows import cut_windows

    windows = cut_windows(
        columns.bounds,
        columns.starts_word,
        max_tokens=config.max_tokens - n_special,
        overlap_tokens=config.overlap_tokens,
    )
    return windows.last - windows.first + n_special


def _sample(corpus: "CorpusConfig", slices: Sequence["Slice"]) -> list[str]:
    """Texts from slices spread over the corpus, as many as the tagger looks at together."""
    from transforms.corpora.formats import read_parts

    picked = slices[:: max(1, len(slices) // _SAMPLE_SLICES)][:_SAMPLE_SLICES]
    texts: list[str] = []
    for slice_ in picked:
        left = _SAMPLE_CHARACTERS // len(picked)
        for text in itertools.chain.from_iterable(
            part.documents.column("text").to_pylist() for part in read_parts(slice_, corpus)
        ):
            texts.append((text or "")[:left])
            left -= len(texts[-1])
            if left <= 0:
                break
    return texts


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
