"""Seconds and memory of scoring tags: spanmill beside seqeval's classification_report, on the same sequences.

    python -m benchmarks.evaluate [--tokens 1000000 10000000] [--rounds 1]

Random sentences with seven entities in a hundred tokens, and predictions that differ in three sentences of ten, are
written to two CoNLL files. Each row is measured in a process of its own, one after the other in turn: the first four
score tags that are in memory already, the last is the whole `spanmill evaluate` from files to report, with intervals
from 1,000 replicates, both modes, overlaps, errors and breakdowns. Memory is what the peak grows by after the tags are
in memory, and the whole peak for the job. Scores must be equal, or nothing is printed.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

LABELS = ("PER", "LOC", "ORG", "MISC")
ROWS = {
    "seqeval": "seqeval classification_report",
    "seqeval-strict": "seqeval classification_report, strict",
    "spanmill": "spanmill count_sequences",
    "spanmill-strict": "spanmill count_sequences, strict",
    "job": "spanmill evaluate, files to report",
}
PEERS = {"spanmill": "seqeval", "spanmill-strict": "seqeval-strict", "job": "seqeval"}


def write_corpus(folder, n_tokens):
    """Writes gold.conll and predicted.conll with about that many tokens."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(50_000)]
    written = 0
    with (folder / "gold.conll").open("w") as gold_file, (folder / "predicted.conll").open("w") as predicted_file:
        while written < n_tokens:
            gold = []
            length = rng.randint(5, 35)
            while len(gold) < length:
                label = rng.choice(LABELS)
                entity = [f"B-{label}", *[f"I-{label}"] * rng.randrange(3)]
                gold += entity if rng.random() < 0.07 else ["O"]
            predicted = list(gold)
            if rng.random() < 0.3:
                predicted[rng.randrange(len(gold))] = rng.choice(("O", "B-PER", "I-LOC"))
            sentence = rng.choices(words, k=len(gold))
            for file, tags in ((gold_file, gold), (predicted_file, predicted)):
                file.write("".join(f"{word}\t{tag}\n" for word, tag in zip(sentence, tags, strict=True)) + "\n")
            written += len(gold)


def read_tags(path):
    """The tags of a file as lists of strings, one list per sentence."""
    return [[line.partition("\t")[2] for line in block.split("\n")] for block in path.read_text()[:-2].split("\n\n")]


def score(name, gold, predicted):
    """Micro F1, by one of the four in-memory rows."""
    is_strict = name.endswith("-strict")
    if name.startswith("seqeval"):
        from seqeval.metrics import classification_report
        from seqeval.scheme import IOB2

        mode = {"mode": "strict", "scheme": IOB2} if is_strict else {}
        return classification_report(gold, predicted, output_dict=True, **mode)["micro avg"]["f1-score"]
    from transforms.scoring.matching import score_matches
    from transforms.scoring.sequences import count_sequences

    return score_matches(count_sequences(gold, predicted, is_strict=is_strict))[-1].f1


def measure_in_process(name, folder):
    """Prints seconds, added MiB and micro F1 of one row, for the parent to read."""
    warnings.simplefilter("ignore")
    gold, predicted = (read_tags(folder / f"{side}.conll") for side in ("gold", "predicted"))
    score(name, gold[:10], predicted[:10])
    before = peak_mib(resource.RUSAGE_SELF)
    started = time.perf_counter()
    f1 = score(name, gold, predicted)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "mib": peak_mib(resource.RUSAGE_SELF) - before, "f1": f1}))


def measure_job(folder):
    """Seconds, peak MiB and micro F1 of the whole job."""
    files = [f"--{side}={folder / side}.conll" for side in ("gold", "predicted")]
    output = folder / "evaluation"
    command = [sys.executable, "-m", "pipelines", "evaluate", *files, "--output", str(output), "--no-progress"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # wait4 tells the peak of this child alone.
    usage = resource_of(process)
    seconds = time.perf_counter() - started
    f1 = json.loads((output / "report.json").read_text())["exact"]["default"]["micro"]["f1"]
    return {"seconds": seconds, "mib": usage.ru_maxrss / 1024, "f1": f1}


def resource_of(process):
    """What a child process used, once it has ended well."""
    import os

    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"spanmill evaluate ended with status {os.waitstatus_to_exitcode(status)}")
    return usage


def peak_mib(who):
    """Peak of resident memory so far, in MiB."""
    return resource.getrusage(who).ru_maxrss / 1024


def measure(name, folder):
    """One row, in a process of its own."""
    if name == "job":
        return measure_job(folder)
    command = [sys.executable, "-m", "benchmarks.evaluate", "--row", name, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        measure_in_process(options.row, options.folder)
        return
    table = Table(title="scoring tags", title_justify="left", box=None)
    for column in ("tokens", "what", "seconds", "times as fast", "MiB"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for n_tokens in options.tokens:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_corpus(folder, n_tokens)
            rows = list(ROWS) * options.rounds
            found = [
                (row, measure(row, folder)) for row in track(rows, f"{n_tokens:,} tokens", console=Console(stderr=True))
            ]
        seconds = {row: statistics.median(each["seconds"] for other, each in found if other == row) for row in ROWS}
        f1 = {row: each["f1"] for row, each in found}
        if len({f1["seqeval"], f1["spanmill"], f1["job"]}) > 1 or f1["seqeval-strict"] != f1["spanmill-strict"]:
            sys.exit(f"expected equal scores, found {f1}")
        for row, title in ROWS.items():
            ratio = f"{seconds[PEERS[row]] / seconds[row]:.1f}" if row in PEERS else ""
            mib = max(each["mib"] for other, each in found if other == row)
            table.add_row(f"{n_tokens:,}", title, f"{seconds[row]:.2f}", ratio, f"{mib:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
