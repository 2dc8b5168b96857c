"""One domain after another, and what is left of the earlier ones: ways of not forgetting beside each other.

    python -m benchmarks.continual --data DATA --base MODEL [--ways naive replay ...] [--output out/continual]

    news (conll2003) ──> tweets (btc) ──> crossner/ai ──> crossner/literature ──> crossner/politics

A model learns news, and goes on from there in each of the ways; every step is a `spanmill train` on the new domain's
sentences only, whose dev sentences choose the epoch. After each step the model is scored on test sentences of all five.

Labels: the four that news and tweets share with crossner have one name everywhere (person, organisation, location,
misc; PER, ORG and LOC of btc are renamed). What a domain has besides, such as politician or programlang, is a label of
its own and new rows of the head, for all ways alike. That a politician was a person before is part of what is
measured. A model is scored on a domain by the labels which that domain has: others are not labelled there, so finding
them is no error.

`adapters` trains one adapter per domain, LoRA, on the news model; the domain's name says which one a text is for. In
`routed` the same adapters are chosen sentence by sentence, by the nearest centroid of training texts, as MODEL sees
them.

`--tune` scores on dev sentences that choose no epoch. The strengths and rates below were found so, with a seed that is
not among those reported.

Finished steps stand in `OUTPUT/trials.jsonl` and are not done again, so the command may be stopped at any time.
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.peers.tables import Table
from pipelines.train import main as train
from training.config import PRECISIONS
from training.continual.charts import draw_matrices, draw_sequences
from training.continual.sequences import average_f1, backward_transfer, forgetting, learning_f1, mean_matrix
from training.encoders import open_encoder
from training.examples import read_files, split_words
from training.scorer import Scorer, keep_labels
from training.scores import micro_f1, score_tags
from transforms.models.embeddings import SentenceEncoder
from transforms.models.routing.centroids import choose_nearest, mean_direction
from transforms.text.tokens import ColumnTokenizer

RENAMED = {"PER": "person", "ORG": "organisation", "LOC": "location"}
N_DEV, N_TEST, MAX_TOKENS = 80, 200, 128


@dataclasses.dataclass(frozen=True)
class Task:
    """A domain.

    Attributes:
      name: what it is called.
      train: file of training sentences.
      dev: file, of whose sentences `N_DEV` choose the epoch.
      test: file, of whose sentences `N_TEST` are scored on; where it is the same, others.
      sentences: how many sentences are trained on.
      options: how.
    """

    name: str
    train: str
    dev: str
    test: str
    sentences: int
    options: tuple[str, ...]


FEW = ("--epochs", "6", "--batch-size", "8", "--learning-rate", "2e-4", "--patience", "6")
TASKS = (
    Task("news", "conll2003/train.txt", *["conll2003/dev.txt"] * 2, 2000, ("--epochs", "3", "--learning-rate", "2e-4")),
    Task("tweets", "btc/train.conll", *["btc/dev.conll"] * 2, 400, (*FEW, "--epochs", "3", "--batch-size", "16")),
    *(
        Task(name, *(f"crossner/{name}/{role}.txt" for role in ("train", "dev", "test")), 100, FEW)
        for name in ("ai", "literature", "politics")
    ),
)
FISHER, BUFFER = "fisher:samples=200", "buffer:size=400,choice=balanced"
REPLAY, EWC, DISTILLATION = "replay:share=0.4,size=400", "ewc:strength=100", "distillation:weight=1"
WAYS = {
    "naive": ("--keep-labels",),
    "replay": ("--continual", REPLAY, "--remember", BUFFER),
    "ewc": ("--continual", EWC, "--remember", FISHER),
    "l2": ("--continual", "l2:strength=0.1"),
    "distillation": ("--continual", DISTILLATION),
    "sum": ("--continual", REPLAY, "ewc:strength=20", "distillation:weight=0.5", "--remember", FISHER, BUFFER),
    "adapters": ("--keep-labels", "--method", "lora", "--learning-rate", "2e-3"),
}
ROUTED = "routed"


class Corpus:
    """The sentences of all domains, cut and renamed.

    Args:
      data: folder with conll2003/, btc/ and crossner/.
      base: the encoder, whose tokenizer splits words.
      folder: where cut files are written.
      is_tuning: whether to score on dev sentences that choose no epoch.
    """

    def __init__(self, data, base, folder, *, is_tuning=False):
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = open_encoder(str(base)).tokenizer
        own = ColumnTokenizer(self.tokenizer.backend_tokenizer.to_str())
        self.train, self.dev, self.labels, self.texts, self.tests = {}, {}, {}, {}, []
        for task in TASKS:
            train, dev, test = (read_blocks(data / path) for path in (task.train, task.dev, task.test))
            if task.dev == task.test:
                dev, test = dev[::2], test[1::2]
            chosen = spread(dev, N_DEV)
            if is_tuning:
                test = [block for block in dev if block not in chosen]
            self.train[task.name] = write_blocks(spread(train, task.sentences), folder, task, "train")
            self.dev[task.name] = write_blocks(chosen, folder, task, "dev")
            test = write_blocks(spread(test, N_TEST), folder, task, "test")
            file = read_files([str(self.train[task.name])], flag="--train")[0]
            self.labels[task.name] = set(file.entities)
            self.texts[task.name] = [" ".join(sentence.words) for sentence in file.sentences]
            self.tests += split_words(read_files([str(test)], flag="--test"), own)
        bare = [dataclasses.replace(one, spans=()) for file in self.tests for one in file.sentences]
        self._bare = dataclasses.replace(self.tests[0], sentences=tuple(bare))
        self._encoder = SentenceEncoder(str(base))

    def tag(self, model, tag_set):
        """Tags of the test sentences of each domain."""
        scorer = Scorer([self._bare], tag_set, self.tokenizer, max_tokens=MAX_TOKENS)
        tags = iter(scorer.tag_files(model)[0])
        return [[next(tags) for _ in file.sentences] for file in self.tests]

    def route(self, names):
        """The adapter for each test sentence of each domain, of those of the named domains."""
        encode = self._encoder.encode
        centroids = np.stack([mean_direction(encode(self.texts[name][:N_TEST])) for name in names])
        sentences = [[" ".join(one.words) for one in file.sentences] for file in self.tests]
        return [[names[at] for at in choose_nearest(encode(texts), centroids)] for texts in sentences]

    def score(self, tagged):
        """Tags of the test sentences of each domain to its F1, by the labels that it has."""
        return [
            micro_f1(score_tags([one.tags for one in file.sentences], keep_labels(tags, self.labels[task.name])))
            for task, file, tags in zip(TASKS, self.tests, tagged, strict=True)
        ]


def read_blocks(path):
    """Sentences of a CoNLL file as text."""
    return [block for block in path.read_text(encoding="utf-8").split("\n\n") if block.strip()]


def spread(blocks, count):
    """At most so many sentences, from all parts of a file, for these may differ.

    >>> spread("abcdef", 3)
    ['a', 'c', 'e']
    """
    count = min(count, len(blocks))
    return [blocks[at * len(blocks) // count] for at in range(count)]


def write_blocks(blocks, folder, task, role):
    """Sentences to a file, with the label names that all domains share."""
    lines = [rename_tag(line) for line in "\n\n".join(blocks).split("\n")]
    path = folder / f"{task.name}-{role}.conll"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rename_tag(line):
    """A line's tag, its last column, with the shared name of its label.

    >>> rename_tag("Rome\\tB-LOC"), rename_tag("")
    ('Rome\\tB-location', '')
    """
    word, tab, tag = line.rpartition("\t")
    return f"{word}{tab}{tag[:2]}{RENAMED.get(tag[2:], tag[2:])}"


def load(folder, base=None):
    """A checkpoint or adapter to a model and its tags."""
    import torch

    from schemas.labels import TagSet
    from training.heads import list_tags
    from transforms.models.torch_classifier import load_model

    model = load_model(folder, torch.float32, base=base)
    return model, TagSet(list_tags(model.config), "BIO")


class Sequence:
    """One way with one seed.

    Args:
      way: the way.
      seed: the seed.
      corpus: the sentences.
      folder: for checkpoints.
      trials: finished steps.
      precision: of the products of training.
    """

    def __init__(self, way, seed, corpus, folder, trials, precision="fp32"):
        self._way, self._seed, self._corpus, self._trials, self._precision = way, seed, corpus, trials, precision
        self._news = folder / f"seed={seed}" / "news"
        self._folder = folder / f"seed={seed}" / way

    def run(self, base):
        """Does the steps that are not finished."""
        last = f"{self._way}/{self._seed}/{TASKS[-1].name}"
        if last in self._trials.results:
            return
        self._learn(TASKS[0], base, self._news, f"first/{self._seed}", ("--remember", FISHER, BUFFER))
        base = self._news
        for at, task in enumerate(TASKS[1:], 1):
            output = self._folder / task.name
            self._learn(task, base, output, f"{self._way}/{self._seed}", WAYS[self._way], at)
            base = self._news if self._way == "adapters" else output
        shutil.rmtree(self._folder)

    def _learn(self, task, base, output, name, options, at=0):
        name = f"{name}/{task.name}"
        if name in self._trials.results and (output / "tags.json").exists():
            return
        shutil.rmtree(output, ignore_errors=True)
        wall, cpu = time.perf_counter(), time.process_time()
        train_options = {"--train": self._corpus.train[task.name], "--dev": self._corpus.dev[task.name], "--base": base}
        words = [str(word) for pair in train_options.items() for word in pair]
        words += ["--output", str(output), "--seed", str(self._seed), "--max-tokens", str(MAX_TOKENS)]
        words += ["--precision", self._precision]
        if train([*words, *task.options, *options]):
            raise SystemExit(f"training of {name} failed")
        seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        is_adapter = self._way == "adapters" and at
        tagged = self._corpus.tag(*load(output, base if is_adapter else None))
        (output / "tags.json").write_text(json.dumps(tagged), encoding="utf-8")
        rows = self._score_adapters(at) if is_adapter else {"f1": self._corpus.score(tagged)}
        self._trials.add(name, {**rows, **seconds})

    def _score_adapters(self, at):
        """F1 after so many adapters, each domain with its own where it has one, and routed."""
        folders = {TASKS[0].name: self._news, **{task.name: self._folder / task.name for task in TASKS[1 : at + 1]}}
        tags = {
            name: json.loads((folder / "tags.json").read_text(encoding="utf-8")) for name, folder in folders.items()
        }
        own = [tags[task.name if task.name in tags else TASKS[0].name][place] for place, task in enumerate(TASKS)]
        chosen = self._corpus.route(list(folders))
        routed = [
            [tags[name][place][number] for number, name in enumerate(names)] for place, names in enumerate(chosen)
        ]
        return {"f1": self._corpus.score(own), ROUTED: self._corpus.score(routed)}


class Trials:
    """Finished steps, in a file.

    Args:
      path: the file.
      console: what is told.
    """

    def __init__(self, path, console):
        self._path, self._console = path, console
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.results = {line["trial"]: line for line in map(json.loads, lines)}

    def add(self, name, result):
        """Writes a step down."""
        self.results[name] = {"trial": name, **result}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.results[name]) + "\n")
        scores = " ".join(f"{100 * f1:.1f}" for f1 in result["f1"])
        self._console.print(f"{name}: {scores}, {result['cpu_seconds']:.0f} CPU s", markup=False)

    def read_matrix(self, way, seed):
        """The matrix of a finished sequence, or None."""
        run, key = ("adapters", ROUTED) if way == ROUTED else (way, "f1")
        names = [f"first/{seed}/{TASKS[0].name}", *(f"{run}/{seed}/{task.name}" for task in TASKS[1:])]
        if not all(name in self.results for name in names):
            return None
        return [self.results[names[0]]["f1"], *(self.results[name][key] for name in names[1:])]

    def read_minutes(self, way, seed):
        """Minutes of a core for the steps after the first."""
        run = "adapters" if way == ROUTED else way
        return sum(self.results[f"{run}/{seed}/{task.name}"]["cpu_seconds"] for task in TASKS[1:]) / 60


def collect(trials, ways, seeds):
    """Matrices of finished sequences by way and seed."""
    shown = [*ways, *([ROUTED] if "adapters" in ways else [])]
    found = {way: {seed: trials.read_matrix(way, seed) for seed in seeds} for way in shown}
    return {
        way: {seed: matrix for seed, matrix in own.items() if matrix} for way, own in found.items() if any(own.values())
    }


def tabulate(trials, matrices):
    """A row per way."""
    rows = []
    naive = matrices.get("naive", {})
    for way, own in matrices.items():
        shared = sorted(own.keys() & naive.keys())
        cut = [1 - forgetting(own[seed]) / forgetting(naive[seed]) for seed in shared]
        learned = [100 * (learning_f1(own[seed]) - learning_f1(naive[seed])) for seed in shared]
        rows.append(
            (
                way,
                _mean([100 * average_f1(matrix) for matrix in own.values()]),
                _mean([100 * forgetting(matrix) for matrix in own.values()]),
                _mean([100 * backward_transfer(matrix) for matrix in own.values()]),
                _mean([100 * learning_f1(matrix) for matrix in own.values()]),
                "" if way == "naive" or not shared else f"{100 * statistics.fmean(cut):+.0f} %",
                "" if way == "naive" or not shared else f"{statistics.fmean(learned):+.1f}",
                f"{statistics.fmean(trials.read_minutes(way, seed) for seed in own):.1f}",
            )
        )
    columns = ("way", "average F1", "forgetting", "backward", "new domain", "forgetting cut", "new cost", "core min")
    n_seeds = max(map(len, matrices.values()), default=0)
    note = f"{' → '.join(task.name for task in TASKS)}; means and standard deviations over {n_seeds} seeds."
    return Table("One domain after another", columns, rows, (note, "Both differences are to naive, seed by seed."))


def _mean(values):
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def write_chart(svg, path):
    """Writes a chart that stands by itself: a namespace, and colours in place of a page's variables."""
    colors = {"var(--ink)": "#1b2027", "var(--muted)": "#68707b", "var(--line)": "#d9dde2"}
    for variable, color in colors.items():
        svg = svg.replace(variable, color)
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" ', 1)
    path.write_text(svg, encoding="utf-8")


def main():
    """Runs the sequences, prints the table and writes the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with conll2003/, btc/ and crossner/")
    parser.add_argument("--base", type=Path, required=True, help="the encoder to begin from")
    parser.add_argument("--output", type=Path, default=Path("out/continual"), help="folder for checkpoints and results")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the products of training")
    parser.add_argument("--tune", action="store_true", help="score on dev sentences, to choose strengths and rates")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    options = parser.parse_args()
    console = Console(highlight=False)
    output = options.output.absolute()
    corpus = Corpus(options.data.absolute(), options.base.absolute(), output / "data", is_tuning=options.tune)
    trials = Trials(output / "trials.jsonl", console)
    # Seeds outermost, so that a stop leaves whole rounds.
    for seed in options.seeds:
        for way in options.ways:
            Sequence(way, seed, corpus, output, trials, options.precision).run(options.base.absolute())
    matrices = collect(trials, options.ways, options.seeds)
    table = tabulate(trials, matrices)
    table.show(is_markdown=options.markdown)
    means = {way: mean_matrix(list(own.values())) for way, own in matrices.items()}
    names = [task.name for task in TASKS]
    write_chart(draw_matrices(means, names), output / "matrices.svg")
    write_chart(draw_sequences(means, names), output / "sequences.svg")


if __name__ == "__main__":
    main()
