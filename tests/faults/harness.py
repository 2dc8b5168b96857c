"""Runs that are broken on purpose, and the oracle that says whether anything was lost or doubled.

Workshop ── model, corpus, golden rows: made once
  Bench ─── a folder for one row of the matrix, under a mutant or none
    Job ─── one command, given as often as wanted, with what it must have come to in the end
"""

import contextlib
import dataclasses
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.__main__ import main
from tests.faults.children import Child, Ended, fork, spawn
from tests.pipelines.conftest import WORDS, run_folder, snapshot

Key = tuple[str, int]
"""Name of a file and row in it: what a document is known by."""

SLICE_BYTES = 1500
_DOCUMENTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the matrix.

    Attributes:
      id: its id.
      injected: what is done to a run, in a few words.
      check: does it, and says what was observed; AssertionError when a promise is broken.
      mutants: ways to break spanmill under which the row must fail.
      is_fast: whether it takes few enough seconds for every test run.
    """

    id: str
    injected: str
    check: "Callable[[Bench], str]"
    mutants: tuple[str, ...]
    is_fast: bool = False


class Workshop:
    """What all rows share.

    Args:
      folder: an empty folder.
      model: a checkpoint.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.model = model
        self.corpus = folder / "corpus"
        self._benches = 0
        with self.bench() as bench:
            write_corpus(self.corpus)
            job = bench.job()
            self.undisturbed = job.run()
            assert self.undisturbed.status == 0, self.undisturbed.last_words()
            self.golden = job.rows()
        self.keys = frozenset(self.golden)

    @contextlib.contextmanager
    def bench(self, mutant: str = "") -> "Iterator[Bench]":
        """A bench that is cleared when it is left, whatever still runs on it."""
        self._benches += 1
        folder = self._folder / f"bench-{self._benches}"
        folder.mkdir()
        bench = Bench(self, folder, mutant)
        try:
            yield bench
        finally:
            bench.stop()
            shutil.rmtree(folder, ignore_errors=True)


class Bench:
    """A place for one row of the matrix.

    Args:
      workshop: what all rows share.
      folder: an empty folder.
      mutant: breaks spanmill in every run; empty for none.
    """

    def __init__(self, workshop: Workshop, folder: Path, mutant: str) -> None:
        self.workshop = workshop
        self.folder = folder
        self._mutant = mutant
        self._children: list[Child] = []

    def job(self, *flags: object, source: Path | Sequence[Path] = (), output: str = "out", model: Path | None = None):
        """A command on the common corpus and model, unless others are given."""
        sources = [source] if isinstance(source, Path) else source or [self.workshop.corpus]
        words = ["annotate", "--no-progress", "--threads=1", "--report-documents=3"]
        if not any(str(flag).startswith("--slice-size") for flag in flags):
            words.append(f"--slice-size={SLICE_BYTES}")
        if not any(str(flag).startswith("--workers") for flag in flags):
            words.append("--max-restarts=0")  # In one process, which is what most faults are about.
        words += ["--model", str(model or self.workshop.model), "--output", str(self.folder / output)]
        return Job(self, (*words, *map(str, flags), "--input", *map(str, sources)), self.folder / output)

    def copy_corpus(self) -> Path:
        """The corpus, to be changed."""
        return Path(shutil.copytree(self.workshop.corpus, self.folder / "corpus"))

    def start(self, words: Sequence[str], broken: Sequence[str] = (), *, under: Sequence[str] | None = None) -> Child:
        """Starts `spanmill` with some words; as a command of its own if that is to run under another one."""
        folder, patches = self._prepare(broken)
        child = (
            fork(main, (list(words),), folder, patches) if under is None else spawn(words, folder, patches, under=under)
        )
        self._children.append(child)
        return child

    def call(self, function: Callable[..., int | None], *arguments: Any, broken: Sequence[str] = ()) -> Ended:
        """Runs a function in a process of its own."""
        child = fork(function, arguments, *self._prepare(broken))
        self._children.append(child)
        return child.wait(is_tidy=False)

    def stop(self) -> None:
        """Kills what still runs."""
        for child in self._children:
            if child.is_running():
                child.kill()

    def _prepare(self, broken: Sequence[str]) -> tuple[Path, list[str]]:
        return self.folder / f"run-{len(self._children)}", [*filter(None, [self._mutant]), "meter", *broken]


class Job:
    """One command and its output.

    Args:
      bench: where it runs.
      words: the command.
      output: its output folder.
    """

    def __init__(self, bench: Bench, words: Sequence[str], output: Path) -> None:
        self.bench = bench
        self.words = tuple(words)
        self.output = output

    def start(self, *broken: str, under: Sequence[str] | None = None) -> Child:
        """Starts it."""
        return self.bench.start(self.words, broken, under=under)

    def run(self, *broken: str) -> Ended:
        """Runs it to its end."""
        return self.start(*broken).wait()

    @property
    def folder(self) -> Path:
        """The folder of its run."""
        return run_folder(self.output)

    def rows(self) -> dict[Key, dict[str, Any]]:
        """What it wrote, by document.

        Raises:
          AssertionError: a document is there twice.
        """
        rows = [row for path in sorted(self.folder.glob("data/*")) for row in pq.read_table(path).to_pylist()]
        found = {_key(row): _without_folder(row) for row in rows}
        assert len(found) == len(rows), f"{len(rows) - len(found)} documents were written twice"
        return found

    def letters(self) -> list[dict[str, Any]]:
        """Its dead letters, with the names of files in place of their paths."""
        paths = sorted(self.folder.glob("dead/*"))
        return [_without_folder(row) for path in paths for row in pq.read_table(path).to_pylist()]

    def committed(self) -> dict[str, dict[str, Any]]:
        """Its commit records by slice."""
        paths = self.output.glob("run=*/_commits/*")
        return {path.name: json.loads(path.read_text()) for path in paths if not path.name.startswith(".")}

    def is_complete(self) -> bool:
        """Whether it says that every document is accounted for."""
        return any(self.output.glob("run=*/_SUCCESS"))

    def check_unfinished(self) -> None:
        """After a run that did not come to its end: nothing in part among the output, and no claim to be complete.

        Raises:
          AssertionError: a file is seen that no record names, or is not what its record says.
        """
        assert not self.is_complete(), "_SUCCESS stands although the run did not end"
        sizes = {file["final"]: file["size_bytes"] for record in self.committed().values() for file in record["files"]}
        for path in (*self.output.glob("run=*/data/*"), *self.output.glob("run=*/dead/*")):
            name = f"{path.parent.name}/{path.name}"
            assert name in sizes, f"{name} is seen before it is committed"
            assert path.stat().st_size == sizes[name], f"{name} is seen in part"

    def check(
        self,
        ended: Ended,
        *,
        status: int = 0,
        keys: Collection[Key] | None = None,
        dead: Mapping[Key, str] | None = None,
        golden: Mapping[Key, Mapping[str, Any]] | None = None,
        score_tolerance: float = 0.0,
    ) -> None:
        """Nothing is lost, nothing doubled, and the same command again does nothing.

        Args:
          ended: the run that came to an end.
          status: what it must have ended with.
          keys: the documents of the input; those of the common corpus if none are given.
          dead: those that must be dead letters, each with its error.
          golden: rows of an undisturbed run; those of the common corpus if neither these nor keys are given.
          score_tolerance: how far scores may be from the golden ones.
        """
        dead = dead or {}
        if keys is None:
            keys = self.bench.workshop.keys
            golden = self.bench.workshop.golden if golden is None else golden
        assert ended.status == status, f"exit status {ended.status}: {ended.last_words()}"
        assert "Traceback" not in ended.err, ended.last_words()
        rows, letters = self.rows(), self.letters()
        errors = {_key(letter): letter["error"] for letter in letters}
        assert errors == dict(dead), f"expected {len(dead)} dead letters, found {len(errors)}: {set(errors.values())}"
        assert Counter([*rows, *map(_key, letters)]) == Counter(keys), "documents are lost or doubled"
        for key, row in rows.items() if golden else ():
            assert_same(row, golden[key], score_tolerance)
        assert self.is_complete(), "the run is complete and does not say so"
        before = snapshot(self.folder / "data")
        again = self.run()
        assert (again.status, again.count("pass"), again.count("load")) == (status, 0, 0), again.last_words()
        assert snapshot(self.folder / "data") == before, "the same command again changed the output"


def assert_same(row: Mapping[str, Any], golden: Mapping[str, Any], score_tolerance: float) -> None:
    """Compares a row with that of an undisturbed run.

    Raises:
      AssertionError: they differ.
    """
    scores, expected = ([entity["score"] for entity in each["entities"]] for each in (row, golden))
    rest, expected_rest = (
        {**each, "entities": [{**entity, "score": None} for entity in each["entities"]]} for each in (row, golden)
    )
    where = f"row {row['row']} of {row['source']}"
    assert rest == expected_rest, f"{where} is another than in an undisturbed run"
    assert all(abs(a - b) <= score_tolerance for a, b in zip(scores, expected, strict=True)), f"{where}: other scores"


def won_once(runs: Iterable[Ended]) -> int:
    """How many commits some runs won together.

    Raises:
      AssertionError: one was won twice.
    """
    won = Counter(line[1] for ended in runs for line in ended.meter if line[0] == "commit")
    twice = [slice_id for slice_id, times in won.items() if times > 1]
    assert not twice, f"{len(twice)} commits were won twice"
    return len(won)


def write_corpus(folder: Path) -> None:
    """Two text files and a Parquet file of a hundred short documents each."""
    folder.mkdir()
    rng = random.Random(0)
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("\n".join(_make_texts(rng)) + "\n")
    texts = _make_texts(rng)
    table = pa.table({"id": [f"id-{at}" for at in range(len(texts))], "text": texts})
    pq.write_table(table, folder / "c.parquet", row_group_size=20, write_page_checksum=True)


def _make_texts(rng: random.Random) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in range(_DOCUMENTS)]


def _key(row: Mapping[str, Any]) -> Key:
    return Path(row["source"]).name, row["row"]


def _without_folder(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the name of its file in place of the path."""
    name = Path(row["source"]).name
    return {**row, "source": name, "id": row["id"] and row["id"].replace(row["source"], name)}
