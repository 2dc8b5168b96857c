"""Training methods beside each other: entity F1, weights trained, minutes, memory; and what helps with few sentences.

    python -m benchmarks.methods --data DATA --base MODEL [--sections methods few-shot] [--output out/methods]

Every training is a `spanmill train` in a fresh process, as a person would type it. `methods` trains each method on
`conll2003/train` and scores it on `conll2003/dev`, which also chooses the epoch. `few-shot` trains full, lora and
frozen on the first 100 sentences of `crossner/ai/train`, plain and with each augmentation and objective, five seeds
each, and scores them on `crossner/ai/test`; the first 100 sentences of `dev` choose the epoch. Synonyms are those of
WordNet (see `benchmarks.synonyms`), and left out without `--synonyms FILE`. Augmentation makes ten passes half as long
again; `more passes` takes as many steps without it. Finished trainings stand in `OUTPUT/trials.jsonl` and are not done
again, so the command may be stopped at any time, and several of it, with seeds of their own, may share an OUTPUT.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.peers.processes import ContenderError, run_fresh
from benchmarks.peers.tables import Table
from training.config import PRECISIONS

METHODS = {
    "full": ("--epochs", "3", "--learning-rate", "2e-4"),
    "lora": ("--epochs", "4", "--learning-rate", "2e-3"),
    "adapter": ("--epochs", "4", "--learning-rate", "1e-3"),
    "bitfit": ("--epochs", "4", "--learning-rate", "3e-3"),
    "ia3": ("--epochs", "4", "--learning-rate", "1e-2"),
    "prefix": ("--epochs", "4", "--learning-rate", "1e-2"),
    "prompt": ("--epochs", "4", "--learning-rate", "1e-2"),
    "frozen": ("--epochs", "4", "--learning-rate", "5e-3"),
}
FEW_METHODS = {
    "full": ("--learning-rate", "2e-4"),
    "lora": ("--learning-rate", "1e-3"),
    "frozen": ("--learning-rate", "1e-2"),
}
FEW_SENTENCES = 100
FEW_OPTIONS = ("--epochs", "10", "--batch-size", "4")
VARIANTS = {
    "plain": (),
    "more passes": ("--epochs", "15"),
    "mention-swap": ("--augment", "mention-swap"),
    "casing": ("--augment", "casing"),
    "typos": ("--augment", "typos"),
    "synonyms": ("--augment", "synonyms:file={synonyms}"),
    "token-swap": ("--augment", "token-swap"),
    "token-masking": ("--augment", "token-masking"),
    "concatenation": ("--augment", "concatenation"),
    "fgm": ("--objective", "fgm"),
    "pgd": ("--objective", "pgd"),
    "freelb": ("--objective", "freelb"),
    "rdrop": ("--objective", "rdrop"),
    "focal": ("--objective", "focal"),
    "smoothing": ("--objective", "cross-entropy:smoothing=0.1"),
    "crf": ("--head", "crf"),
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
      section: methods or few-shot.
      method: the method.
      variant: what is added to it.
      seed: the seed.
      options: the rest of the command.
    """

    section: str
    method: str
    variant: str
    seed: int
    options: tuple[str, ...]

    @property
    def name(self):
        """What it is known by in the file of finished trainings."""
        return f"{self.section}/{self.method}/{self.variant}/{self.seed}/{' '.join(self.options)}"


def plan_methods(data, base, methods, precision, seeds):
    """One training per method and seed."""
    files = ("--train", f"{data}/conll2003/train.txt", "--dev", f"{data}/conll2003/dev.txt", "--base", str(base))
    files += ("--precision", precision)
    return [Trial("methods", method, "plain", seed, (*files, *METHODS[method])) for seed in seeds for method in methods]


def plan_few(files, variants, seeds, synonyms):
    """One training per method, variant and seed, seeds outermost, so that a stop leaves whole rounds."""
    added = {name: [word.format(synonyms=synonyms) for word in VARIANTS[name]] for name in variants}
    return [
        Trial("few-shot", method, variant, seed, (*files, *rate, *FEW_OPTIONS, *added[variant]))
        for seed in seeds
        for variant in variants
        for method, rate in FEW_METHODS.items()
    ]


def take_sentences(source, target, count):
    """Copies the first sentences of a CoNLL file."""
    blocks = [block for block in source.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    target.write_text("\n\n".join(blocks[:count]) + "\n", encoding="utf-8")


def run_trial(trial, folder):
    """Trains, and returns what the card, the folder and the process say."""
    output = folder / f"checkpoint-{os.getpid()}"
    command = [sys.executable, "-m", "pipelines", "train", "--method", trial.method, "--seed", str(trial.seed)]
    run = run_fresh([*command, "--output", str(output), *trial.options])
    card = json.loads((output / "card.json").read_text(encoding="utf-8"))
    micro = {score["role"]: score["after"][-1]["f1"] for score in card["scores"]}
    weights = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    shutil.rmtree(output)
    return {
        "f1": micro.get("test", micro["dev"]),
        "trained": card["trained_parameters"],
        "parameters": card["parameters"],
        "steps": card["steps"],
        "seconds": run.seconds,
        "mib": run.peak_mib,
        "weights_mib": weights / 2**20,
    }


def run_trials(trials, folder, console):
    """Runs what is not finished yet; returns all results by trial."""
    kept = folder / "trials.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    results = {line["trial"]: line for line in map(json.loads, lines)}
    for number, trial in enumerate(trials, 1):
        if trial.name not in results:
            console.print(f"{number} of {len(trials)}: {trial.section}, {trial.method}, {trial.variant}, {trial.seed}")
            try:
                result = run_trial(trial, folder)
            except ContenderError as error:
                console.print(f"    {error}", markup=False)
                continue
            results[trial.name] = {"trial": trial.name, **result}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[trial.name]) + "\n")
            console.print(f"    F1 {100 * result['f1']:.2f}, {result['seconds'] / 60:.1f} min", markup=False)
    return {trial: results[trial.name] for trial in trials if trial.name in results}


def tabulate_methods(results):
    """A row per method."""
    rows = []
    for method in dict.fromkeys(trial.method for trial in results):
        own = [result for trial, result in results.items() if trial.method == method]
        one = own[0]
        rows.append(
            (
                method,
                _mean([100 * result["f1"] for result in own], 2),
                f"{one['trained']:,}",
                f"{one['trained'] / one['parameters']:.2%}",
                f"{statistics.median(result['seconds'] for result in own) / 60:.1f}",
                f"{max(result['mib'] for result in own):,.0f}",
                f"{one['weights_mib']:.1f}",
            )
        )
    columns = ("method", "F1 on dev", "trained weights", "share", "minutes", "peak MiB", "checkpoint MiB")
    return Table("Training on conll2003", columns, rows)


def tabulate_few(results):
    """A row per variant, with the difference to the plain training of the same seeds."""
    rows = []
    for variant in dict.fromkeys(trial.variant for trial in results):
        cells = [variant]
        for method in FEW_METHODS:
            scores = _by_seed(results, method, variant)
            plain = _by_seed(results, method, "plain")
            shared = sorted(scores.keys() & plain.keys())
            gain = _mean([scores[seed] - plain[seed] for seed in shared], 1, signed=True) if shared else "-"
            cells += [_mean(list(scores.values()), 1), "" if variant == "plain" else gain]
        rows.append(tuple(cells))
    columns = ("variant", *(name for method in FEW_METHODS for name in (method, "gain")))
    note = f"F1 on crossner/ai/test after {FEW_SENTENCES} sentences: mean and standard deviation over seeds."
    return Table("Few sentences", columns, rows, (note, "A gain is the mean of the differences seed by seed."))


def _by_seed(results, method, variant):
    return {
        trial.seed: 100 * result["f1"]
        for trial, result in results.items()
        if (trial.method, trial.variant) == (method, variant)
    }


def _mean(values, digits, *, signed=False):
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):{'+' if signed else ''}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main():
    """Runs the sections and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with conll2003/ and crossner/ai/")
    parser.add_argument("--base", type=Path, required=True, help="the encoder to begin from")
    parser.add_argument("--output", type=Path, default=Path("out/methods"), help="folder for trainings and results")
    parser.add_argument("--sections", nargs="+", choices=("methods", "few-shot"), default=["methods", "few-shot"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="of the few-shot section")
    parser.add_argument("--synonyms", type=Path, help="file for the augmentation of that name")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the products of training")
    parser.add_argument("--markdown", action="store_true", help="print tables for a README")
    options = parser.parse_args()
    console = Console(highlight=False)
    options.output.mkdir(parents=True, exist_ok=True)
    data, base = options.data.absolute(), options.base.absolute()
    tables = []
    if "methods" in options.sections:
        trials = plan_methods(data, base, options.methods, options.precision, [0])
        tables.append(tabulate_methods(run_trials(trials, options.output, console)))
    if "few-shot" in options.sections:
        ai, files = data / "crossner" / "ai", {}
        for role in ("train", "dev"):
            files[role] = options.output.absolute() / f"{role}.conll"
            take_sentences(ai / f"{role}.txt", files[role], FEW_SENTENCES)
        words = ("--train", files["train"], "--dev", files["dev"], "--test", ai / "test.txt", "--base", base)
        words += ("--precision", options.precision)
        variants = [name for name in options.variants if name != "synonyms" or options.synonyms]
        synonyms = options.synonyms and options.synonyms.absolute()
        trials = plan_few(tuple(map(str, words)), variants, options.seeds, synonyms)
        tables.append(tabulate_few(run_trials(trials, options.output, console)))
    for table in tables:
        table.show(is_markdown=options.markdown)


if __name__ == "__main__":
    main()
