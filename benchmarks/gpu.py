"""Tokens per second on a GPU: padded, unpadded and static shapes as CUDA graphs, in every precision, and equal tags.

    python -m benchmarks.gpu [--model DIR] [--documents 2000] [--batch-tokens 16384] [--rounds 5] [--device cuda]

The windows of the sample corpus, repeated up to the wanted number of documents and packed as in a run, go through each
network in turn, round by round, two batches in flight. A token counts once, without padding and overlap. "equal tags"
compares the most probable tag of every real token with fp32 on the CPU, over the first --compared batches.
"""

import argparse
import itertools
import statistics
import sys
import warnings

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peers.ceiling import cut_texts, pad_batches, time_batches
from benchmarks.peers.corpora import SAMPLE
from benchmarks.peers.documents import read_documents

NETWORKS = {
    "transformers": "transformers, padded",
    "unpadded": "unpadded",
    "bucketed": "static shapes, CUDA graphs",
}


def pack_sample(checkpoint, n_documents, batch_tokens):
    """Padded batches (ids, lengths) of the sample corpus, and its number of tokens."""
    texts = list(itertools.islice(itertools.cycle(read_documents(SAMPLE)[1]), n_documents))
    tokenizer, columns, windows = cut_texts(checkpoint, texts)
    batches = pad_batches(tokenizer, columns, windows, batch_tokens, checkpoint.max_tokens)
    return batches, len(columns.ids)


def share_equal(answers, expected, batches):
    """The share of real tokens whose most probable tag is the expected one."""
    from transforms.text.packing import padding_mask

    equal = [
        (answer.argmax(-1) == right.argmax(-1))[padding_mask(lengths, ids.shape[1]) == 1]
        for answer, right, (ids, lengths) in zip(answers, expected, batches, strict=True)
    ]
    return float(np.concatenate(equal).mean())


def measure(options, checkpoint):
    """Rows of the table: name, tokens per second of every round, share of equal tags."""
    from schemas.errors import ConfigError
    from transforms.models.backends import BackendConfig
    from transforms.models.torch_classifier import TorchClassifier
    from transforms.models.tuning import run_batches

    batches, n_tokens = pack_sample(checkpoint, options.documents, options.batch_tokens)
    compared = batches[:: max(1, len(batches) // options.compared)][: options.compared]
    expected = list(run_batches(TorchClassifier(checkpoint.folder, checkpoint.tag_set, BackendConfig()), compared))
    rows = {}
    for precision, network in itertools.product(options.precisions, NETWORKS):
        config = BackendConfig(device=options.device, precision=precision)
        try:
            classifier = TorchClassifier(checkpoint.folder, checkpoint.tag_set, config, network=network)
        except ConfigError as error:
            print(f"{NETWORKS[network]}, {precision}: {error}", file=sys.stderr)
            continue
        # The first pass sets up libraries and graphs, and is not measured.
        time_batches(classifier, batches)
        share = share_equal(run_batches(classifier, compared), expected, compared)
        rows[f"{NETWORKS[network]}, {precision}"] = (classifier, [], share)
    for number, (name, (classifier, rates, _)) in itertools.product(range(options.rounds), rows.items()):
        rates.append(n_tokens / time_batches(classifier, batches))
        print(f"round {number + 1}: {name} {rates[-1]:,.0f} tokens/s", file=sys.stderr)
    return [(name, rates, share) for name, (_, rates, share) in rows.items()], n_tokens


def main():
    """Prints the table, or in one line that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compared", type=int, default=8)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp16", "fp32"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    from schemas.errors import ConfigError
    from transforms.models.backends import BackendConfig, check_device
    from transforms.models.checkpoint import find_checkpoint

    try:
        check_device(BackendConfig(device=options.device))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    rows, n_tokens = measure(options, find_checkpoint(options.model))
    where = torch.cuda.get_device_name(options.device) if options.device != "cpu" else "cpu"
    table = Table(
        "", "tokens/s", "range", "equal tags", title=f"{where}: {options.documents:,} documents, {n_tokens:,} tokens"
    )
    for name, rates, share in rows:
        table.add_row(
            name, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}", f"{share:.3%}"
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
