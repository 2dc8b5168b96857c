"""M15 to M25: disks that fill up, names that are taken, files that change, answers that get lost, power that fails."""

import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from schemas.annotations import annotation_schema
from schemas.errors import StorageError
from schemas.receipts import Tally
from schemas.slices import FileRef, Slice
from tests.conftest import write_checkpoint
from tests.faults.harness import Bench, Job, Row
from tests.pipelines.conftest import run_folder, snapshot
from tests.transforms.storage.test_objects import FakeAmbiguousFs
from transforms.storage.commits import SliceWriter, read_receipt
from transforms.storage.objects import ObjectStore


def fill_the_disk(bench: Bench) -> str:
    """M15."""
    job = bench.job()
    failed = job.run("fill_disk=40000")
    assert failed.status == 1
    assert "No space left on device" in failed.reason()
    job.check_unfinished()
    n_done = len(job.committed())
    assert n_done, "the disk was full before anything was committed"
    job.check(job.run())
    return f"exit 1 names ENOSPC after {n_done} slices, complete with room"


def squat_a_name(bench: Bench) -> str:
    """M16: a folder that is not empty where a slice's file has to go."""
    golden = bench.job(output="golden")
    assert golden.run().status == 0
    job = bench.job()
    name = sorted(golden.folder.glob("data/*"))[2].relative_to(golden.output)
    (squatter := job.output / name / "squatter").mkdir(parents=True)
    failed = job.run()
    assert failed.status == 1, "a file that could not be published was passed over"
    assert name.name in failed.reason()
    assert not job.is_complete()
    squatter.rmdir()
    name = job.output / name
    name.rmdir()
    job.check(job.run())
    return "exit 1 names the file, complete once it is free"


def leave_litter(bench: Bench) -> str:
    """M17."""
    job = bench.job()
    assert job.run("kill_before_commit=2").status < 0
    for name in ("_attempts/litter.parquet", "_commits/.tmp-0123", "_commits/litter.tmp", "data/stranger.parquet"):
        (job.folder / name).parent.mkdir(exist_ok=True)
        (job.folder / name).write_bytes(b"litter")
    refused = job.run()
    assert refused.status == 1, "a foreign file among the output was taken for a part of it"
    assert "stranger.parquet" in refused.reason()
    assert not job.is_complete()
    (job.folder / "data/stranger.parquet").unlink()
    job.check(job.run())
    return "a stranger in data is named, the rest ignored"


def damage_the_output(bench: Bench) -> str:
    """M18."""
    job = bench.job()
    assert job.run().status == 0
    before = snapshot(job.folder / "data")
    first, second = sorted(job.folder.glob("data/*"))[1:3]
    _flip(first)
    second.unlink()
    verify = ["verify", str(job.output), "--no-progress"]
    found = bench.start(verify).wait()
    names = [line.partition(":")[0] for line in found.out.splitlines()]
    assert (found.status, names) == (1, [f"data/{first.name}", f"data/{second.name}", "damaged"])
    repaired = bench.start([*verify, "--repair"]).wait()
    assert repaired.status == 0, repaired.err
    after = snapshot(job.folder / "data")
    assert {name for name in after if after[name][0] != before[name][0]} == {first.name, second.name}
    job.check(job.run())
    return "verify names both files, repair does both and no other"


def change_the_model(bench: Bench) -> str:
    """M19."""
    assert bench.call(_write_other_model, bench.folder / "other").status == 0
    job = bench.job()
    assert job.run().status == 0
    (folder,) = job.output.iterdir()
    before = snapshot(folder)
    other = bench.job(model=bench.folder / "other")
    ended = other.run()
    assert (ended.status, ended.total("documents")) == (0, len(bench.workshop.keys)), "the model was taken for the same"
    assert len(list(job.output.iterdir())) == 2
    assert snapshot(folder) == before
    return "a run of its own, the old one untouched"


def _write_other_model(folder: Path) -> None:
    write_checkpoint(folder, seed=1)


def change_the_slices(bench: Bench) -> str:
    """M20: on a run that was cut off, and on one that is complete."""
    job = bench.job()
    assert job.run("kill_before_commit=3").status < 0
    for _ in range(2):
        before = snapshot(job.output)
        refused = bench.job("--slice-size=3000").run()
        assert refused.status == 2, "a run went on with other slices"
        assert "--slice-size 1500" in refused.reason()
        assert snapshot(job.output) == before
        job.check(job.run())
    return "refused with exit 2, nothing touched"


def rewrite_the_input(bench: Bench) -> str:
    """M21: a file gets other words of the same length between the plan and the first look at it."""
    corpus = bench.copy_corpus()
    target = corpus / "b.txt"
    content, times = target.read_bytes(), target.stat()
    job = bench.job(source=corpus)
    failed = job.run(f"rewrite_input={str(target).replace('/', '|')}")
    assert failed.status == 1, "a file that changed under a run was annotated"
    assert "b.txt" in failed.reason()
    job.check_unfinished()
    assert all(job.rows()[key] == bench.workshop.golden[key] for key in job.rows())
    assert job.run().status == 2, "a run went on with another input"
    target.write_bytes(content)
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    job.check(job.run())
    return "exit 1 names the file, refused until it is back"


def add_and_remove_inputs(bench: Bench) -> str:
    """M22."""
    corpus = bench.copy_corpus()
    job = bench.job(source=corpus)
    assert job.run().status == 0
    before = snapshot(job.folder / "data")
    (corpus / "d.txt").write_text("Anna lives in Berlin\n" * 30)
    added = job.run()
    assert added.total("documents") == 30
    keys = {*bench.workshop.keys, *(("d.txt", at) for at in range(30))}
    job.check(added, keys=keys)
    after = snapshot(job.folder / "data")
    assert {name: after[name] for name in before} == before
    (corpus / "a.txt").unlink()
    removed = job.run()
    assert removed.status == 2, "an input that is gone was not missed"
    assert "a.txt" in removed.reason()
    return "added: 30 documents and no other; removed: exit 2"


def mistype(bench: Bench) -> str:
    """M23: nothing to read, and nowhere to write; a folder's mode is nothing to a root, a file in its place is."""
    (bench.folder / "file").touch()
    wrong = {
        "--input": bench.job(source=bench.folder / "typo" / "*.txt"),
        "--output": bench.job(output="file"),
        "--model": bench.job(model=bench.folder / "no-model"),
    }
    for flag, job in wrong.items():
        ended = job.run()
        assert (ended.status, ended.count("load")) == (2, 0), f"{flag}: {ended.err}"
        assert flag in ended.reason()
    return "exit 2 in one line that names the flag, no model loaded"


def lose_answers(bench: Bench) -> str:
    """M24."""
    ended = bench.call(commit_on_an_unclear_store)
    assert ended.status == 0, ended.last_words()
    return "one commit each under 409, 412, 503, timeouts, lost replies"


def commit_on_an_unclear_store() -> None:
    """Two attempts at a slice for every way in which a store can answer the first of them.

    Raises:
      AssertionError: the slice was not committed once.
    """
    for number, (step, n_failures) in enumerate(
        {"ok": 0, "refused": 1, "applied": 0, "exists": 0, "raced": 0, "conflict": 0}.items()
    ):
        file = FileRef(f"/in/{step}.jsonl", 100, "1")
        slice_ = Slice(file, "jsonl", 0, 100, 0, 1, number)
        fs = _Rivals(slice_, step)
        store = ObjectStore(fs, f"/{uuid.uuid4().hex}")
        fs.store = store
        failures = 0
        for _ in range(2):
            try:
                receipt = _attempt(store, slice_).commit()
            except StorageError:
                failures += 1
                continue
            assert receipt == read_receipt(store, slice_.slice_id), f"{step}: the receipt is not the record"
            (written,) = receipt.files
            assert store.list("data") == [f"{slice_.name}.parquet"], f"{step}: {store.list('data')}"
            assert store.size(written["final"]) == written["size_bytes"]
        assert failures == n_failures, f"{step}: {failures} failures"
        assert len(store.list("_commits")) == 1
        # A refused attempt stays where it is, for all that the writer knows it may have been taken.
        assert len(store.list("_attempts")) == n_failures, f"{step}: {store.list('_attempts')} are left"


class _Rivals(FakeAmbiguousFs):
    """A store on which another driver commits the slice at the moment that the script calls raced or a conflict."""

    def __init__(self, slice_: Slice, step: str) -> None:
        super().__init__("ok" if step in _RACES else step)
        self._rival = (slice_, step) if step in _RACES else None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        if mode == "create" and self._rival:
            (slice_, step), self._rival = self._rival, None
            _attempt(self.store, slice_).commit()
            raise _RACES[step]
        super().pipe_file(path, value, mode)


_RACES = {"raced": FileExistsError("412 PreconditionFailed"), "conflict": OSError(16, "409 Conflict")}


def _attempt(store: ObjectStore, slice_: Slice) -> SliceWriter:
    row = {"id": "a", "source": slice_.file.uri, "row": 0, "digest": "0", "entities": []}
    table = pa.Table.from_pylist([{**row, "windows": 1, "tokens": 1, "model": "m"}], annotation_schema())
    writer = SliceWriter(store, slice_, output_format="parquet", layout="document", metadata={}, attempts=1)
    writer.write(table, (), Tally(documents=1))
    return writer


def cut_the_power(bench: Bench) -> str:
    """M25: what is written, what is named and what is synced, in the order in which the kernel is asked for it."""
    source = bench.folder / "one.txt"
    source.write_text("Anna lives in Berlin\n")
    job, log = bench.job(source=source), bench.folder / "calls"
    if shutil.which("strace"):
        under = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(log), "-e", f"trace={','.join(_CALLS)}"]
        ended = job.start(under=under).wait()
        lines = log.read_text().splitlines()
    else:
        ended = job.run("log_calls")
        lines = [f"0 {line[1]}({','.join(line[2:])})" for line in ended.meter if line[0] == "call"]
    assert ended.status == 0, ended.last_words()
    calls = list(_read_calls(lines, job))
    assert calls == [call for call in _DURABLE if shutil.which("strace") or not call.startswith("write")], calls
    return "write, fsync, link, fsync folder, rename, fsync folder"


_CALLS = ("write", "fsync", "link", "linkat", "rename", "renameat", "renameat2")
_DURABLE = [
    "write _attempts/A",
    "fsync _attempts/A",
    "fsync _attempts",
    "write _commits/T",
    "fsync _commits/T",
    "fsync _commits",
    "link _commits/T _commits/C",
    "fsync _commits",
    "rename _attempts/A data/D",
    "fsync data",
    "fsync _attempts",
]


def _read_calls(lines: Sequence[str], job: Job) -> "list[str]":
    """Calls about a slice, with letters in place of names: an Attempt, a Temporary, a Commit and Data."""
    root = f"{run_folder(job.output)}/"
    letters = {"_attempts": "A", "_commits": "C", "data": "D"}
    calls: list[str] = []
    for line in lines:
        call, _, arguments = re.sub(r"^\d+ +", "", line).partition("(")
        paths = [path.removeprefix(root) for path in re.findall(r"/[^>\",) ]+", arguments) if path.startswith(root)]
        parts = [path.split("/") for path in paths]
        if call not in _CALLS or not parts or parts[0][0] not in letters:
            continue
        named = [
            "/".join([folder, *("T" if name.startswith(".tmp") else letters[folder] for name in rest)])
            for folder, *rest in parts
        ]
        found = " ".join([call.removesuffix("at2").removesuffix("at"), *named])
        if not calls or calls[-1] != found:
            calls.append(found)
    return calls


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


ROWS = (
    Row(id="M15", injected="disk full", check=fill_the_disk, mutants=("marker_files",), is_fast=True),
    Row(
        id="M16",
        injected="a folder squats a final name",
        check=squat_a_name,
        mutants=("storage_unchecked",),
        is_fast=True,
    ),
    Row(id="M17", injected="litter in the run folder", check=leave_litter, mutants=("strangers_ignored",)),
    Row(
        id="M18",
        injected="output flipped, deleted",
        check=damage_the_output,
        mutants=("sizes_verified",),
    ),
    Row(id="M19", injected="another model, same output", check=change_the_model, mutants=("model_not_in_fingerprint",)),
    Row(
        id="M20",
        injected="another slice size",
        check=change_the_slices,
        mutants=("slice_size_ignored",),
        is_fast=True,
    ),
    Row(id="M21", injected="input rewritten in place", check=rewrite_the_input, mutants=("changes_unseen",)),
    Row(
        id="M22",
        injected="inputs added and removed",
        check=add_and_remove_inputs,
        mutants=("removals_unseen",),
    ),
    Row(id="M23", injected="wrong paths", check=mistype, mutants=("model_loaded_first",), is_fast=True),
    Row(
        id="M24",
        injected="unclear answers of a store",
        check=lose_answers,
        mutants=("errors_are_wins", "lost_answers_are_losses"),
        is_fast=True,
    ),
    Row(id="M25", injected="power cut, by system calls", check=cut_the_power, mutants=("no_fsync", "folders_unsynced")),
)
