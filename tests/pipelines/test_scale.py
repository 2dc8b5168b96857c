"""Size costs time in proportion and memory not at all."""

import os
import random
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.pipelines.conftest import WORDS, read_dead, read_report, read_rows


def _write_lines(path, size_bytes, seed=0):
    rng = random.Random(seed)
    with path.open("w") as file:
        while file.tell() < size_bytes:
            file.write(" ".join(rng.choices(WORDS, k=rng.randrange(120))) + "\n")


def _peak_mib(corpus, output, model):
    """Runs the job in a process of its own and gives the most memory it held."""
    command = [sys.executable, "-m", "pipelines", "annotate", "--input", str(corpus), "--output", str(output)]
    process = subprocess.Popen([*command, "--model", str(model), "--no-progress"], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_corpus(tiny_checkpoint, tmp_path):
    _write_lines(tmp_path / "small.txt", 2_000_000)
    _write_lines(tmp_path / "large.txt", 20_000_000)
    small = _peak_mib(tmp_path / "small.txt", tmp_path / "a", tiny_checkpoint)
    large = _peak_mib(tmp_path / "large.txt", tmp_path / "b", tiny_checkpoint)
    assert large < 1.1 * small, f"peak memory {small:.0f} MiB, and {large:.0f} MiB for ten times the corpus"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_document_of_50_mb_is_annotated_beside_its_neighbours(annotate, tmp_path):
    source = tmp_path / "long.txt"
    _write_lines(source, 50_000_000)
    text = source.read_text().replace("\n", " ")
    source.write_text(f"Anna\n{text}\nBerlin\n")
    assert annotate(source=source) == 0
    rows = read_rows(tmp_path / "out")
    assert [row["row"] for row in rows] == [0, 1, 2]
    entities = rows[1]["entities"]
    assert entities[-1]["end"] > 0.99 * len(text)
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in entities)


def test_a_document_over_the_limit_is_a_dead_letter_beside_its_neighbours(annotate, tmp_path):
    source = tmp_path / "long.txt"
    source.write_text("Anna\n" + "word " * 1000 + "\nBerlin\n")
    assert annotate("--max-document-bytes=4000", source=source) == 3
    assert [row["row"] for row in read_rows(tmp_path / "out")] == [0, 2]
    assert [(letter["row"], letter["error"]) for letter in read_dead(tmp_path / "out")] == [(1, "too_large")]


def test_a_document_of_100_000_tokens_is_read_to_its_end(annotate, tmp_path):
    source = tmp_path / "long.txt"
    source.write_text("in " * 100_000 + "\n")
    assert annotate(source=source) == 0
    report = read_report(tmp_path / "out")
    assert report["tokens"] == 100_000
    (row,) = read_rows(tmp_path / "out")
    # Windows hold 62 tokens and share 21, so each but the first adds 41.
    assert row["windows"] == 1 + -(-(100_000 - 62) // 41)


def test_odd_texts_are_annotated_or_dead_lettered_and_neighbours_kept(annotate, tmp_path):
    source = tmp_path / "odd.jsonl"
    texts = [
        "Anna",
        "",
        "   ",
        "a\\u0000b",
        "\\ud800",
        "👩‍👩‍👧 Anna",
        "שלום עולם Anna",
        "e\\u0301 Anna",
        "\\ufeffAnna",
        "Berlin",
    ]
    source.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    assert annotate("--max-failed-fraction=0.2", source=source) == 0
    assert [letter["row"] for letter in read_dead(tmp_path / "out")] == [4]
    assert [row["row"] for row in read_rows(tmp_path / "out")] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
