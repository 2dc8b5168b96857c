"""Bare forward passes of one of our engines over perfectly packed windows: what is left when all else costs nothing.

Windows are sorted over the whole corpus and packed as `annotate` packs them, in the budget that `--tune` found. Each
batch is run once to warm up and once for the clock, so that no first call of a shape is in the figure.
"""

import time
from collections import deque

import numpy as np

from benchmarks.peers.documents import read_documents


def run(source, target, model, *, backend, precision):  # noqa: ARG001 - it writes nothing
    """Times the passes; returns their seconds, since the rest of the process is not part of it."""
    from pipelines.taggers.tuning import recall_budget
    from transforms.models.backends import BackendConfig
    from transforms.models.catalog import configure_tagger, load_classifier
    from transforms.models.checkpoint import find_checkpoint
    from transforms.tags.entities import DecodingConfig
    from transforms.text.windows import WindowConfig

    checkpoint = find_checkpoint(str(model))
    config = BackendConfig(backend=backend, precision=precision)
    tagger = configure_tagger(
        checkpoint, backend=config, windows=WindowConfig(), decoding=DecodingConfig(), batch_tokens=1
    )
    texts = cut_texts(checkpoint, read_documents(source)[1])
    batches = pad_batches(*texts, recall_budget(tagger), tagger.windows.max_tokens)
    classifier = load_classifier(checkpoint, config)
    time_batches(classifier, batches)
    return {"most_tokens": None, "seconds": time_batches(classifier, batches)}


def time_batches(classifier, batches):
    """Seconds that batches take, their answers thrown away."""
    from transforms.models.tuning import run_batches

    started = time.perf_counter()
    deque(run_batches(classifier, batches), maxlen=0)
    return time.perf_counter() - started


def pad_batches(tokenizer, columns, windows, batch_tokens, most_tokens):
    """Windows to batches of padded ids (n_windows, longest) and lengths (n_windows,)."""
    from transforms.text.packing import pack_windows

    prefix, suffix = tokenizer.prefix_ids, tokenizer.suffix_ids
    lengths = windows.last - windows.first + len(prefix) + len(suffix)
    batches = []
    for packed, longest, _ in pack_windows(lengths, batch_tokens, most_tokens=most_tokens):
        ids = np.full((len(packed), longest), tokenizer.pad_id, dtype=np.int64)
        for row, window in enumerate(packed):
            inner = columns.ids[windows.first[window] : windows.last[window]]
            ids[row, : lengths[window]] = [*prefix, *inner, *suffix]
        batches.append((ids, lengths[packed]))
    return batches


def cut_texts(checkpoint, texts):
    """Texts to our tokenizer, their tokens, and the windows that `annotate` cuts them into by default."""
    from transforms.models.checkpoint import read_tokenizer
    from transforms.text.tokens import ColumnTokenizer
    from transforms.text.windows import WindowConfig, cut_windows

    tokenizer = ColumnTokenizer(read_tokenizer(checkpoint.folder))
    columns = tokenizer.tokenize(texts)
    config = WindowConfig().within(checkpoint.max_tokens)
    windows = cut_windows(
        columns.bounds,
        columns.starts_word,
        max_tokens=config.max_tokens - len(tokenizer.prefix_ids) - len(tokenizer.suffix_ids),
        overlap_tokens=config.overlap_tokens,
    )
    return tokenizer, columns, windows
