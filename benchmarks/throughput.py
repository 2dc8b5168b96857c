"""Tokens per second from Parquet to Parquet: spanmill's engines, the peers a user would pick, and the machine's limits.

    python -m benchmarks.throughput --model DIR --docs 200 [--corpus news] [--rounds 3] [--sections 1,2,3,4,5,6,7]
        [--contenders NAMES | --peers NAMES] [--markdown] [--output results.json]

Every contender runs in a fresh process with the threads that it takes by itself, one after the other in every round;
tables show medians and ranges. A token is one of our tokenizer's, counted once, without special tokens, padding and
overlap, and the same for everybody; who truncates is rated on what it reads, with the share that it never sees beside
it. Start-up is what the same process takes on one short document, and is no part of tokens/s; peers/processes.py says
how all is measured, peers/corpora.py what is read (no document comes twice).

    1 the machine        4 ceilings: bare forward passes, and end to end as a share of them
    2 matrix products    5 scaling from one core to all      7 shapes of corpora
    3 end to end         6 growth to ten times the documents

Engines that the model lacks are exported beforehand into a copy of it, and each is tuned once (`--tune`). In bf16
nothing runs where the processor has to emulate it, unless --contenders names it. Peers whose packages are missing are
left out, and listed.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.contenders import CEILINGS, CONTENDERS, MATRIX, OURS, PEERS, missing_packages
from benchmarks.peers.corpora import SHAPES, has_shape, make_corpus, write_calibration
from benchmarks.peers.documents import read_entities
from benchmarks.peers.machine import describe_machine, has_bf16
from benchmarks.peers.measurements import interleave, median, say, show_range, show_rates
from benchmarks.peers.processes import ROOT, ContenderError, run_fresh
from benchmarks.peers.tables import Table

RARE = ("loop-512",)
"""Peers that run only when they are named."""

_SLICES_PER_CORE = 8
_TUNING_DOCUMENTS = 100

SHAPE_FACTORS = {"btc": 10.0, "sentences": 10.0, "wikitext2": 0.05}
"""Documents of a shape for one of news, so that all have about as many tokens."""


class Bench:
    """What the sections share: the model, the contenders, the corpora, and what was found.

    Args:
      options: the command line.
      folder: a folder for everything that is written.
    """

    def __init__(self, options, folder):
        from transforms.models.checkpoint import find_checkpoint

        self.options = options
        self.folder = folder
        self.checkpoint = find_checkpoint(options.model)
        self.model = self.checkpoint.folder
        self.left_out = {}
        self.contenders = [each for each in choose_contenders(options) if self._is_usable(each)]
        self.peaks = {}
        self.found = {}
        self.measurements = []
        self._corpora = {}

    def _is_usable(self, contender):
        """Whether a contender can run here; why not is kept."""
        if missing := missing_packages(contender):
            self.left_out[contender.title] = f"{' and '.join(missing)} not installed"
        elif "bf16" in contender.name and not has_bf16() and not self.options.contenders:
            self.left_out[contender.title] = "the processor has no bf16 instructions"
        return contender.title not in self.left_out

    def corpus(self, shape="", factor=1.0):
        """A corpus of some shape and so many times --docs, made once."""
        key = (shape or self.options.corpus, max(2, round(self.options.docs * factor)))
        if key not in self._corpora:
            self._corpora[key] = make_corpus(
                *key, data=self.options.data, folder=self.folder / "corpora", checkpoint=self.checkpoint
            )
        return self._corpora[key]

    def ours(self):
        """Our own contenders."""
        return [each for each in self.contenders if each.is_ours]

    def fastest(self):
        """Our fastest contender: as section 3 found, else the last of ours that is here; None without any."""
        ours = self.ours()
        measured = [each for each in ours if each.name in self.found]
        if measured:
            return max(measured, key=lambda each: median(self.found[each.name], "tokens_per_s"))
        return ours[-1] if ours else None

    def measure(self, entries, section):
        """Interleaved measurements of (contender, corpus) pairs; those that fail are left out."""
        measured, failures = interleave(entries, self.model, self.options.rounds, section=section)
        self.left_out.update(failures)
        self.measurements += [
            {"section": section, "contender": contender.title, "corpus": str(corpus), **dataclasses.asdict(each)}
            for (contender, corpus), found in zip(entries, measured, strict=True)
            for each in found
        ]
        return measured


def choose_contenders(options):
    """The contenders that the command line asks for."""
    if options.contenders:
        return [CONTENDERS[name] for name in options.contenders]
    peers = [each for each in PEERS if (each.name in options.peers if options.peers else each.name not in RARE)]
    return [*OURS, *peers]


def has_dedupe():
    """Whether `annotate` computes identical windows once, and can be told not to."""
    from pipelines.runs.options import AnnotateOptions

    return "dedupe" in {field.name for field in dataclasses.fields(AnnotateOptions)}


def prepare_engines(bench):
    """Exports the engines that are asked for and not there, into a copy of the model's folder."""
    wanted = [each for each in bench.ours() if each.engine[0] != "torch"]
    missing = [each for each in wanted if not (bench.model / "engines" / "-".join(each.engine)).is_dir()]
    if not missing:
        return
    copy = bench.folder / bench.model.name
    shutil.copytree(bench.model, copy)
    write_calibration(bench.folder / "calibration.parquet", bench.options.data)
    dev = bench.options.data / "conll2003" / "dev.txt"
    if dev.exists():
        # Under a suffix that tells its format.
        shutil.copyfile(dev, bench.folder / "dev.conll")
    for contender in missing:
        say(f"exporting {' '.join(contender.engine)}")
        try:
            run_fresh(export_command(*contender.engine, copy, bench.folder))
        except ContenderError as error:
            bench.left_out[contender.title] = f"spanmill export: {error}"
            bench.contenders.remove(contender)
    bench.model = copy


def tune_engines(bench):
    """Measures the budget of each of our engines beforehand, as the pipeline's best batch size was."""
    # Where annotate and the ceilings look for it; nobody's own cache is touched.
    os.environ["XDG_CACHE_HOME"] = str(bench.folder / "cache")
    corpus = bench.corpus(factor=min(1.0, _TUNING_DOCUMENTS / bench.options.docs))
    for contender in bench.ours():
        say(f"tuning {contender.title}")
        tuned = contender.with_flags(contender.title, "--tune")
        try:
            run_fresh(tuned.command(corpus.path, bench.folder / "tuned" / contender.name, bench.model))
        except ContenderError as error:
            say(f"  not tuned: {error}")


def export_command(backend, precision, model, folder):
    """The command that exports an engine; one that loses too much is kept all the same, and the loss is shown."""
    gold, calibration = folder / "dev.conll", folder / "calibration.parquet"
    labels = ("person=PER", "location=LOC", "organisation=ORG", "misc=MISC")
    return [
        *(sys.executable, "-m", "pipelines", "export", "--no-progress", "--model", str(model), "--output", str(model)),
        *("--backend", backend, "--precision", precision, "--max-f1-loss", "100"),
        *(("--calibration", str(calibration)) if (backend, precision) == ("openvino", "int8") else ()),
        *(("--gold", str(gold), "--map", *labels) if gold.exists() else ()),
    ]


def tabulate_engines(bench):
    """How the engines compare with their checkpoint, by their own cards."""
    from transforms.models.checkpoint import find_checkpoint
    from transforms.models.engines import find_engines

    cards = [engine.card for engine in find_engines(find_checkpoint(str(bench.model)))]
    rows = [
        (
            f"{card.backend} {card.precision}",
            card.parity.source,
            f"{card.parity.documents:,}",
            f"{card.parity.equal_tags:.3%}",
            *("" if f1 is None else f"{f1:.2f}" for f1 in (card.parity.checkpoint_f1, card.parity.engine_f1)),
        )
        for card in cards
        if card.parity and (card.backend, card.precision) in [each.engine for each in bench.ours()]
    ]
    columns = ("", "compared on", "documents", "equal tags", "entity F1 of the checkpoint", "of the engine")
    return [Table("Engines beside their checkpoint", columns, rows)] if rows else []


def show_machine(bench):
    """Section 1."""
    facts = {**describe_machine(), "model": bench.checkpoint.folder.name, "digest": bench.checkpoint.digest[:16]}
    return [Table("The machine", ("what", "found"), list(facts.items()))]


def measure_matrices(bench):
    """Section 2."""
    say("section 2: matrix products")
    bench.peaks = run_fresh(MATRIX.command(os.devnull, os.devnull, bench.model)).answer["peaks"]
    precisions = ("fp32", "bf16", "int8")
    rows = [
        (f"{n} thread{'s' * (n != '1')}", *(f"{peaks[each]:,.0f}" for each in precisions))
        for n, peaks in bench.peaks.items()
    ]
    return [Table("Peak of matrix products, 10^9 operations per second", ("", *precisions), rows)]


def measure_contenders(bench):
    """Sections 3 and 4, whose contenders and ceilings run in the same rounds."""
    sections = bench.options.sections
    corpus = bench.corpus()
    contenders = list(bench.contenders) if "3" in sections else bench.ours()
    if "3" in sections and bench.ours() and has_dedupe():
        # Documents are distinct, so it should make no difference.
        last = bench.ours()[-1]
        contenders.append(last.with_flags(f"{last.title}, --no-dedupe", "--no-dedupe"))
    if "4" in sections:
        engines = [each.engine for each in bench.ours()]
        contenders += [each for each in CEILINGS if each.engine in engines]
    measured = bench.measure([(each, corpus) for each in contenders], " and ".join(sorted({*sections} & {"3", "4"})))
    bench.found = {each.name: found for each, found in zip(contenders, measured, strict=True) if found}
    tables = []
    if "3" in sections:
        tables += [tabulate_contenders(bench, corpus, contenders), *compare_outputs(bench, corpus)]
        tables += tabulate_engines(bench)
    if "4" in sections:
        tables.append(tabulate_ceilings(bench, corpus))
    return tables


def tabulate_contenders(bench, corpus, contenders):
    """The table of section 3, fastest first."""
    rates = {
        each: median(bench.found[each.name], "tokens_per_s")
        for each in contenders
        if each.name in bench.found and not each.is_ceiling
    }
    pipelines = {each.title: rate for each, rate in rates.items() if each.name.startswith("pipeline-fp32")}
    best = max(pipelines.values(), default=None)
    rows = []
    for contender in sorted(rates, key=rates.get, reverse=True):
        found = bench.found[contender.name]
        rows.append(
            (
                contender.title,
                show_rates(found),
                f"{rates[contender] / best:.2f}" if best else "",
                f"{median(found, 'start_up_s'):.1f}",
                f"{median(found, 'wall_s'):.1f}",
                f"{max(each.peak_mib for each in found):,.0f}",
                f"{found[0].lost:.1%}" if found[0].lost else "none",
            )
        )
    columns = ("", "tokens/s", "times the pipeline", "start-up s", "whole s", "peak MiB", "text not read")
    notes = [
        f"{corpus}. Rounds: {bench.options.rounds}; medians [range]. The pipeline: in fp32, at its best batch size."
    ]
    return Table("End to end, Parquet to Parquet", columns, rows, tuple(notes + _ratios(rates)))


def _ratios(rates):
    """How our fastest compares, in one sentence."""
    ours = [each for each in rates if each.is_ours]
    groups = {"the pipeline in fp32": "pipeline-fp32", "the pipeline in bf16": "pipeline-bf16", "spaCy": "spacy"}
    if not ours:
        return []
    fastest = max(ours, key=rates.get)
    parts = []
    for title, prefix in groups.items():
        if peers := [rate for each, rate in rates.items() if each.name.startswith(prefix)]:
            parts.append(f"{rates[fastest] / max(peers):.2f} times {title}")
    return [f"{fastest.title} is {', '.join(parts)}."] if parts else []


def compare_outputs(bench, corpus):
    """Entities of our fp32 engines beside those of the pipeline, document by document; one more run for each."""
    ours = [each for each in bench.ours() if each.engine[1] == "fp32" and each.name in bench.found]
    peer = CONTENDERS["pipeline-fp32-1"]
    most = min(512, bench.checkpoint.max_tokens) - 2
    whole = {str(at) for at, n_tokens in enumerate(corpus.tokens) if n_tokens <= most}
    rows = []
    try:
        wanted = annotate_once(peer, corpus, bench) if ours else {}
        for contender in ours:
            argmax, viterbi = (
                annotate_once(contender.with_flags(contender.title, "--decoder", decoder), corpus, bench)
                for decoder in ("argmax", "viterbi")
            )
            different = (sum(found[id_] != wanted[id_] for id_ in whole) for found in (argmax, viterbi))
            rows.append((contender.title, f"{len(whole):,}", *(f"{count:,}" for count in different)))
    except ContenderError as error:
        bench.left_out["comparison of outputs"] = str(error)
    columns = ("", "documents", "differ with --decoder argmax", "with viterbi, the default")
    notes = (
        "Documents of one window whose entities (start, end, label) are not exactly the pipeline's. Argmax takes the "
        "most probable tag of each word, as the pipeline does; viterbi the most probable legal sequence of tags.",
    )
    return [Table("Equal output", columns, rows, notes)] if rows else []


def annotate_once(contender, corpus, bench):
    """A contender's entities by document."""
    say(f"comparing outputs: {contender.name}")
    with tempfile.TemporaryDirectory(prefix="spanmill-") as name:
        run_fresh(contender.command(corpus.path, Path(name) / "output", bench.model))
        runs = sorted(Path(name, "output").glob("run=*/data"))
        return read_entities(runs[0] if runs else Path(name, "output"))


def tabulate_ceilings(bench, corpus):
    """The table of section 4."""
    rows = []
    operations = count_operations(bench.checkpoint.folder, corpus.windows)
    for ceiling in CEILINGS:
        if ceiling.name not in bench.found:
            continue
        found = bench.found[ceiling.name]
        rate = median(found, "tokens_per_s")
        ours = bench.found.get(f"spanmill-{'-'.join(ceiling.engine)}")
        peaks = bench.peaks.get(max(bench.peaks, key=int)) if bench.peaks else None
        used = operations * rate / corpus.tokens.sum() / 1e9
        rows.append(
            (
                ceiling.title,
                show_rates(found),
                show_rates(ours) if ours else "",
                f"{median(ours, 'tokens_per_s') / rate:.0%}" if ours else "",
                f"{used:,.0f}" if operations else "",
                f"{used / peaks[ceiling.engine[1]]:.0%}" if operations and peaks else "",
            )
        )
    columns = ("", "ceiling, tokens/s", "end to end", "share", "10^9 operations/s", "of matrix peak")
    notes = ("A ceiling is bare forward passes over windows sorted and packed over the whole corpus, after a warm-up.",)
    return Table("Ceiling of each engine", columns, rows, notes)


def count_operations(folder, windows):
    """Multiplications and additions of an encoder's matrix products over windows; 0 if its config does not tell."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    except KeyError:
        return 0
    tokens = int(windows.sum())
    return layers * (tokens * (8 * hidden**2 + 4 * hidden * inner) + 4 * hidden * int((windows**2).sum()))


def measure_scaling(bench):
    """Section 5: one core, then all of them in one process, then a worker for each."""
    cores = sorted(os.sched_getaffinity(0))
    fastest = bench.fastest()
    if fastest is None or len(cores) < 2:
        return []
    n = str(len(cores))
    # A small corpus is few slices by default, which cannot be dealt out evenly.
    corpus = bench.corpus()
    fastest = fastest.with_flags(fastest.title, "--slice-size", str(corpus.n_bytes // (_SLICES_PER_CORE * len(cores))))
    contenders = [
        fastest.with_flags("one core", "--threads", "1", cores=(cores[0],)),
        fastest.with_flags(f"{n} cores, {n} threads in one process", "--threads", n),
        fastest.with_flags(f"{n} cores, {n} workers", "--workers", n),
    ]
    measured = bench.measure([(each, corpus) for each in contenders], "5")
    base = median(measured[0], "tokens_per_s") if measured[0] else float("nan")
    rows = [
        (
            contender.title,
            show_rates(found),
            f"{median(found, 'tokens_per_s') / base:.2f}",
            f"{median(found, 'start_up_s'):.1f}",
            f"{max(each.peak_mib for each in found):,.0f}",
        )
        for contender, found in zip(contenders, measured, strict=True)
        if found
    ]
    columns = ("", "tokens/s", "times one core", "start-up s", "peak MiB")
    return [Table(f"Scaling: {fastest.title}", columns, rows, (f"{corpus}.",))]


def measure_growth(bench):
    """Section 6."""
    fastest = bench.fastest()
    if fastest is None:
        return []
    corpora = [bench.corpus(), bench.corpus(factor=10.0)]
    measured = bench.measure([(fastest, corpus) for corpus in corpora], "6")
    if not all(measured):
        return []
    base, memory = 1 / median(measured[0], "tokens_per_s"), median(measured[0], "peak_mib")
    rows = [
        (
            f"{len(corpus.tokens):,}",
            f"{1e3 * median(found, 'work_s') / (len(corpus.tokens) - 1):.1f}",
            show_range([1e6 / each.tokens_per_s for each in found]),
            f"{1 / median(found, 'tokens_per_s') / base:.2f}",
            f"{median(found, 'peak_mib'):,.0f}",
            f"{median(found, 'peak_mib') / memory:.2f}",
        )
        for corpus, found in zip(corpora, measured, strict=True)
    ]
    columns = ("documents", "ms/document", "microseconds/token", "times", "peak MiB", "times")
    notes = tuple(f"{corpus}." for corpus in corpora)
    return [Table(f"Growth: {fastest.title}", columns, rows, notes)]


def measure_shapes(bench):
    """Section 7: our fastest engine and the pipeline on each shape."""
    shapes = [shape for shape in SHAPE_FACTORS if has_shape(shape, bench.options.data)]
    corpora = [bench.corpus(shape, SHAPE_FACTORS[shape]) for shape in shapes]
    contenders = [each for each in (CONTENDERS["pipeline-fp32-1"], bench.fastest()) if each]
    entries = [(contender, corpus) for corpus in corpora for contender in contenders]
    rows, pipeline = [], {}
    for (contender, corpus), found in zip(entries, bench.measure(entries, "7"), strict=True):
        if not found:
            continue
        rate = median(found, "tokens_per_s")
        base = pipeline.setdefault(corpus.name, rate)
        rows.append((corpus.name, contender.title, show_rates(found), f"{rate / base:.2f}"))
    notes = tuple(f"{corpus}." for corpus in corpora)
    return (
        [Table("Shapes of corpora", ("", "contender", "tokens/s", "times the pipeline"), rows, notes)] if rows else []
    )


SECTIONS = {
    "1": show_machine,
    "2": measure_matrices,
    "3": measure_contenders,
    "4": measure_contenders,
    "5": measure_scaling,
    "6": measure_growth,
    "7": measure_shapes,
}


def run_sections(bench):
    """The tables of the sections that are asked for, in order; one that two sections share runs once."""
    wanted = dict.fromkeys(SECTIONS[number] for number in bench.options.sections)
    tables = [table for section in wanted for table in section(bench)]
    if bench.left_out:
        tables.append(Table("Left out", ("", "why"), list(bench.left_out.items())))
    return tables


def parse_options():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*(each.name for each in OURS), *(each.name for each in PEERS)]
    parser.add_argument("--model", default="default", help="model folder, or default for the one that comes along")
    parser.add_argument("--docs", type=int, default=200, help="documents of the corpus (default: 200)")
    parser.add_argument("--corpus", choices=SHAPES, default="news", help="shape of sections 3 to 6 (default: news)")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the data sets (default: data)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender (default: 3)")
    parser.add_argument("--sections", type=_names(list(SECTIONS)), default=list(SECTIONS), help="default: all")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--contenders", type=_names(names), help=f"these only, of {', '.join(names)}")
    group.add_argument("--peers", type=_names([each.name for each in PEERS]), help="these beside all of our engines")
    parser.add_argument("--markdown", action="store_true", help="print the tables for GitHub")
    parser.add_argument("--output", type=Path, help="file for all that was measured, as JSON")
    options = parser.parse_args()
    if options.docs < 2 or options.rounds < 1:
        parser.error(f"expected --docs of 2 or more and --rounds of 1 or more, found {options.docs}, {options.rounds}")
    if not has_shape(options.corpus, options.data):
        parser.error(f"expected the data set of --corpus {options.corpus} under --data, found none; use --corpus news")
    return options


def _names(known):
    """A type for argparse: names between commas."""

    def parse(text):
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {', '.join(unknown)}")
        return names

    return parse


def main():
    """Measures, then prints the tables."""
    options = parse_options()
    # Ending as Python ends removes what was written on the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A table that is kept in a file needs no terminal's width.
    with tempfile.TemporaryDirectory(prefix="spanmill-bench-") as name:
        bench = Bench(options, Path(name))
        # The first two sections run no engine.
        if {*options.sections} - {"1", "2"}:
            prepare_engines(bench)
            tune_engines(bench)
        tables = run_sections(bench)
    for table in tables:
        table.show(is_markdown=options.markdown)
    if options.output:
        content = {
            "machine": describe_machine(),
            "peaks": bench.peaks,
            "measurements": bench.measurements,
            "left_out": bench.left_out,
            "tables": [dataclasses.asdict(table) for table in tables],
        }
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
