"""What the tests of the annotate job share: a corpus, a way to run the job, a way to read what it wrote."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main

WORDS = ("Anna", "lives", "in", "Berlin", "while", "nobody", "knows", "Bob")


@pytest.fixture
def corpus(tmp_path):
    """Three text files of 40 short documents each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in "abc":
        lines = [" ".join(WORDS[(at * 5 + k) % len(WORDS)] for k in range(at % 30)) for at in range(40)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def annotate(tiny_checkpoint, tmp_path):
    """Runs the job with the tiny model, in this very process, and returns its exit status."""

    def run(*arguments, source, output="out", model=None):
        words = ["annotate", "--input", str(source), "--output", str(tmp_path / output), "--no-progress"]
        words += ["--max-restarts", "0"]
        return main([*words, "--model", str(model or tiny_checkpoint), *map(str, arguments)])

    return run


def run_folder(output: Path) -> Path:
    """The one run under an output folder."""
    (folder,) = output.glob("run=*")
    return folder


def read_rows(output: Path) -> list[dict]:
    """Every annotation, in order of source and row."""
    rows = [row for path in run_folder(output).glob("data/*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row["source"], row["row"]))


def read_dead(output: Path) -> list[dict]:
    """Every dead letter."""
    return [row for path in run_folder(output).glob("dead/*.parquet") for row in pq.read_table(path).to_pylist()]


def read_report(output: Path) -> dict:
    """The report as JSON."""
    return json.loads((run_folder(output) / "report/report.json").read_text())


def snapshot(output: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its modification time and content."""
    files = [path for path in output.rglob("*") if path.is_file()]
    return {str(path.relative_to(output)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
