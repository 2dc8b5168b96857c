"""Tokens per second of spanmill and of transformers' pipeline on the sample corpus, one after the other in turn.

    python -m benchmarks.annotate [--rounds 3] [--documents 120] [--model DIR]

Both run the same model on the same documents in fp32, in this process, models loaded beforehand. A token counts once,
without padding and overlap. The table gives medians and the ratio of medians.
"""

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent


def load_texts(n_documents):
    """The first documents of the sample corpus that fit one window, so that both read all of them."""
    import pyarrow.parquet as pq

    texts = pq.read_table(ROOT / "assets/corpus/uner-ewt-dev.parquet").column("text").to_pylist()
    return [text for text in texts if len(text) < 1500][:n_documents]


def build_spanmill(model):
    """Our tagger as a function from texts to nothing, and its number of tokens."""
    from transforms.models.backends import BackendConfig
    from transforms.models.catalog import configure_tagger
    from transforms.models.checkpoint import find_checkpoint
    from transforms.models.window_tagger import DecodingConfig
    from transforms.text.windows import WindowConfig

    config = configure_tagger(
        find_checkpoint(model),
        backend=BackendConfig(),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=2048,
    )
    return config.build(config.load()).tag


def build_pipeline(folder, batch_size):
    """transformers' pipeline as a function from texts to nothing."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder, dtype="float32")
    pipe = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda texts: pipe(texts, aggregation_strategy="first", batch_size=batch_size)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    from transforms.models.checkpoint import find_checkpoint

    texts = load_texts(options.documents)
    tag = build_spanmill(options.model)
    n_tokens = int(tag(texts).tokens.sum())
    folder = find_checkpoint(options.model).folder
    contenders = {"spanmill": tag, **{f"pipeline, batch {n}": build_pipeline(folder, n) for n in (1, 8, 32)}}
    seconds = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run(texts)
            seconds[name].append(time.perf_counter() - started)
            print(f"round {number + 1}: {name} {n_tokens / seconds[name][-1]:,.0f} tokens/s", file=sys.stderr)
    table = Table("", "tokens/s", "spanmill is faster by", title=f"{len(texts)} documents, {n_tokens:,} tokens")
    ours = statistics.median(seconds["spanmill"])
    for name, times in seconds.items():
        median = statistics.median(times)
        table.add_row(name, f"{n_tokens / median:,.0f}", f"{median / ours:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
