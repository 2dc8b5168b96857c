"""What a language model finds when it is only asked: by examples in the prompt, with and without constrained decoding.

    python -m benchmarks.prompting --data DATA --model MODEL.gguf [--documents 200] [--shots 0 3 5 10]

Each row is a `spanmill annotate --tagger prompt:...` and a `spanmill evaluate`, in fresh processes, over the first
sentences of `conll2003/dev` and `crossner/ai/dev`; examples are drawn from the training files there. A sentence whose
answer cannot be read counts as missed. Finished rows stand in `OUTPUT/rows.jsonl` and are not done again.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.methods import take_sentences
from benchmarks.peers.processes import ROOT, run_fresh
from benchmarks.peers.tables import Table

CORPORA = {"conll2003": "conll2003", "crossner-ai": "crossner/ai"}
_ANSWER_TOKENS = 128
_EXAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of asking.

    Attributes:
      corpus: name of the corpus.
      template: name of the template.
      shots: examples in each prompt.
      choice: how they are chosen.
      is_constrained: whether answers are held to their grammar.
      documents: sentences that are asked about.
      precision: of the model.
    """

    corpus: str
    template: str
    shots: int
    choice: str
    is_constrained: bool
    documents: int
    precision: str


def measure(row, options, folder):
    """Annotates and evaluates; returns what the reports say."""
    source = options.data / CORPORA[row.corpus]
    gold, examples = folder / f"{row.corpus}.conll", folder / f"{row.corpus}-examples.conll"
    take_sentences(source / "dev.txt", gold, row.documents)
    take_sentences(source / "train.txt", examples, _EXAMPLES)
    spec = (
        f"prompt:template={row.template},constrained={str(row.is_constrained).lower()},answer_tokens={_ANSWER_TOKENS}"
    )
    if row.shots:
        spec += f",shots={row.shots},examples={examples},choice={row.choice}"
    name = "-".join(map(str, dataclasses.astuple(row)))
    output = folder / name
    base = [sys.executable, "-m", "pipelines"]
    labels = ROOT / "benchmarks" / "labels" / f"{row.corpus}.toml"
    words = ["--input", gold, "--output", output, "--tagger", spec, "--model", options.model, "--label-file", labels]
    words += ["--precision", row.precision]
    run_fresh([*base, "annotate", *map(str, words), "--max-failed-fraction", "1", "--no-progress"])
    [run] = output.glob("run=*")
    words = ["--gold", gold, "--predicted", run, "--output", output / "scores", "--no-progress"]
    run_fresh([*base, "evaluate", *map(str, words)])
    report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
    scores = json.loads((output / "scores" / "report.json").read_text(encoding="utf-8"))
    micro = scores["exact"]["default"]["micro"]
    interval = scores["intervals"]["exact.default.micro.f1"]
    return {
        "f1": micro["f1"],
        "interval": interval,
        "precision": micro["precision"],
        "recall": micro["recall"],
        "counts": report["counts"],
        "seconds": report["seconds"],
        "documents": report["documents"] + report["failed_documents"],
    }


def tabulate(results):
    """A line per row."""
    lines = []
    for row, result in results.items():
        counts, documents = result["counts"], result["documents"]
        answers = sum(counts.get(f"answers/{kind}", 0) for kind in ("strict", "repaired", "unparsable"))
        mentions = sum(counts.get(f"mentions/{kind}", 0) for kind in ("exact", "normalised", "fuzzy", "not-found"))
        low, high = result["interval"]
        lines.append(
            (
                row.corpus,
                f"{row.template}, {row.choice}" if row.shots else row.template,
                str(row.shots),
                "yes" if row.is_constrained else "no",
                f"{100 * result['f1']:.1f} [{100 * low:.1f}-{100 * high:.1f}]",
                _share(counts.get("answers/strict", 0), answers),
                _share(answers - counts.get("answers/unparsable", 0), answers),
                _share(counts.get("mentions/not-found", 0), mentions),
                f"{counts.get('tokens/prompt', 0) / documents:,.0f}",
                f"{counts.get('tokens/answer', 0) / documents:,.0f}",
                f"{result['seconds'] / documents:.2f}",
            )
        )
    columns = ("corpus", "template", "shots", "constrained", "F1 [95 %]", "parsable as is", "after repair")
    columns += ("not in the text", "prompt tokens", "answer tokens", "s per document")
    return Table("Asking a language model", columns, lines, ("Tokens are per document.",))


def _share(part, whole):
    return f"{part / whole:.1%}" if whole else "-"


def main():
    """Measures what is not measured yet and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with conll2003/ and crossner/ai/")
    parser.add_argument("--model", type=Path, required=True, help="a language model")
    parser.add_argument("--output", type=Path, default=Path("out/prompting"), help="folder for runs and results")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--documents", type=int, default=200, help="sentences of each corpus")
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 3, 5, 10])
    parser.add_argument("--templates", nargs="+", default=["json"])
    parser.add_argument("--choices", nargs="+", default=["fixed"], help="how examples are chosen")
    parser.add_argument("--decoding", nargs="+", choices=("constrained", "free"), default=["constrained", "free"])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the model")
    parser.add_argument("--markdown", action="store_true", help="print a table for a README")
    options = parser.parse_args()
    options.data, options.model = options.data.absolute(), options.model.absolute()
    folder = options.output.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    kept = folder / "rows.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    known = {Row(**line["row"]): line["result"] for line in map(json.loads, lines)}
    rows = [
        Row(
            corpus,
            template,
            shots,
            choice if shots else "",
            decoding == "constrained",
            options.documents,
            options.precision,
        )
        for corpus in options.corpora
        for template in options.templates
        for shots in options.shots
        for choice in (options.choices if shots else options.choices[:1])
        for decoding in options.decoding
    ]
    for number, row in enumerate(rows, 1):
        if row not in known:
            console.print(f"{number} of {len(rows)}: {row}", markup=False)
            known[row] = measure(row, options, folder)
            line = {"row": dataclasses.asdict(row), "result": known[row]}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    table = tabulate({row: known[row] for row in rows})
    table.show(is_markdown=options.markdown)


if __name__ == "__main__":
    main()
