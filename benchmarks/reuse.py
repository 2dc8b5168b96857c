"""What editing a share of a corpus costs with `--reuse`: tokens and seconds in the model, beside those of all of it.

    python -m benchmarks.reuse --input documents.parquet --text-column text --model default --documents 2000

Documents with the same text are left out, so that the windows of none are computed for another.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.tables import Table
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import list_files
from transforms.corpora.formats import read_parts, stream_slices
from transforms.storage.runs import choose_slice_bytes

MEASURES = {
    "tokens computed, with padding": lambda report: report["computed_tokens"],
    "seconds in the model": lambda report: report["stages"].get("forward", {"seconds": 0.0})["seconds"],
    "seconds of workers, with loading the model": lambda report: report["costs"]["worker_seconds"],
    "seconds on cores": lambda report: report["costs"]["core_seconds"],
}


def main():
    options = _parse()
    rng = random.Random(options.seed)
    texts = list(itertools.islice(dict.fromkeys(_read(options)), options.documents))
    edited = set(rng.sample(range(len(texts)), max(1, round(options.share * len(texts)))))
    with tempfile.TemporaryDirectory(prefix="spanmill-") as folder:
        place = Path(folder)
        _write(place / "before", texts)
        _write(place / "after", [f"{text} Edited." if at in edited else text for at, text in enumerate(texts)])
        anew = _annotate(options, place / "before", place / "full")
        again = _annotate(options, place / "after", place / "again", "--reuse", str(place / "full"))
    rows = [
        (name, f"{value(anew):,.1f}", f"{value(again):,.1f}", f"{value(again) / value(anew):.2%}")
        for name, value in MEASURES.items()
    ]
    title = f"{len(texts):,} documents, {len(edited):,} edited, {again['reused']['documents']:,} copied"
    Table(title, ("", "all", "with --reuse", "share"), rows).show(is_markdown=options.markdown)


def _parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--model", default="default")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.01, help="of documents that are edited")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    parser.add_argument("options", nargs="*", help="after --: more options of spanmill annotate")
    return parser.parse_args()


def _read(options):
    corpus = CorpusConfig(text_column=options.text_column)
    files = list_files(options.input)
    for slice_ in stream_slices(files, corpus, choose_slice_bytes(files), is_strict=True):
        for part in read_parts(slice_, corpus):
            yield from filter(None, part.documents.column("text").to_pylist())


def _write(folder, texts):
    folder.mkdir()
    pq.write_table(pa.table({"text": texts}), folder / "documents.parquet", row_group_size=500)


def _annotate(options, source, output, *more):
    command = [sys.executable, "-m", "pipelines", "annotate", "--input", source, "--output", output, "--no-progress"]
    subprocess.run([*map(str, command), "--model", options.model, *more, *options.options], check=True)
    (report,) = output.glob("run=*/report/report.json")
    return json.loads(report.read_text())


if __name__ == "__main__":
    main()
