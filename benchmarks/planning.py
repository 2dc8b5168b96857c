"""Planning a corpus of a million files, or of a million slices: files and slices per second, peak memory, graph.

    python -m benchmarks.planning [--files 1000000] [--slices 1000000] [--latency-ms 0] [--markdown]

The corpora are made up by a file system that holds one Parquet file and tells of it under as many names as are wanted,
so that planning is what is seen and no disk is filled. With a latency, each of its answers takes that long, as those of
an object store do. Each corpus is planned by a process of its own:

    many files     a row group each: the listing and the footers decide
    many slices    in files of a thousand row groups: the plan decides

`again` is the next start of the same command, which finds nothing new; `resumed` is what it has to do when nine tenths
are committed. The graph is the whole of `spanmill annotate` with the default model, for workers elsewhere.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.machine import describe_machine
from benchmarks.peers.tables import Table

_FOLDER_FILES, _FILE_SLICES = 1000, 1000


class MadeUpFileSystem(fsspec.AbstractFileSystem):
    """So many files in folders of a thousand, all with the same content."""

    protocol = "madeup"
    cachable = False
    n_files = 0
    latency_s = 0.0
    content = b""

    def ls(self, path, **_):
        self._wait()
        path = self._strip_protocol(path)
        if path == "corpus":
            names = (f"corpus/{number:06d}" for number in range(-(-self.n_files // _FOLDER_FILES)))
            return [{"name": name, "type": "directory", "size": 0} for name in names]
        first = int(path.rpartition("/")[2]) * _FOLDER_FILES
        numbers = range(first, min(first + _FOLDER_FILES, self.n_files))
        return [self._describe(f"{path}/{number:09d}.parquet") for number in numbers]

    def info(self, path, **_):
        self._wait()
        path = self._strip_protocol(path)
        is_file = path.endswith(".parquet")
        return self._describe(path) if is_file else {"name": path, "type": "directory", "size": 0}

    def _describe(self, path):
        return {"name": path, "type": "file", "size": len(self.content), "etag": path[-17:-8]}

    def _open(self, *_, **__):
        self._wait()
        return io.BytesIO(self.content)

    def _wait(self):
        if self.latency_s:
            time.sleep(self.latency_s)


def make_up(n_files, n_groups, latency_s=0.0):
    """Has the file system tell of so many files of so many row groups."""
    sink = io.BytesIO()
    texts = pa.table({"text": ["Anna lives in Berlin."] * n_groups})
    pq.write_table(texts, sink, row_group_size=1, write_statistics=False)
    MadeUpFileSystem.n_files, MadeUpFileSystem.latency_s = n_files, latency_s
    MadeUpFileSystem.content = sink.getvalue()
    fsspec.register_implementation("madeup", MadeUpFileSystem, clobber=True)
    return "madeup://corpus"


class NearlyDoneStore:
    """A store that says that some slices are committed, which are none."""

    def __init__(self, store, committed):
        self._store = store
        self._committed = committed

    def list(self, folder):
        return self._committed if folder == "_commits" else self._store.list(folder)

    def __getattr__(self, name):
        return getattr(self._store, name)


class Stopwatch:
    """Steps with what each took."""

    def __init__(self):
        self._base_kib = _peak_kib()

    def time(self, name, count, do):
        """Does a step; `count` is how many of what it handles, a function of what it gives."""
        started, began = time.perf_counter(), time.process_time()
        result = do()
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - began
        n, what = count(result)
        peak_mib = (_peak_kib() - self._base_kib) / 1024
        row = (name, f"{n:,} {what}", f"{wall_s:,.1f}", f"{cpu_s:,.1f}", f"{n / wall_s:,.0f}", f"{peak_mib:,.0f}")
        print("\t".join(row), flush=True)
        return result


def _peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def plan_corpus(n_files, n_groups, latency_s):
    """Plans one corpus, and prints a line for each step."""
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.files import scan_files
    from transforms.corpora.formats import stream_slices
    from transforms.storage.runs import InputChanges, pending_slices, plan_run
    from transforms.storage.store import open_store
    from transforms.storage.work import listed_work, read_work

    url = make_up(n_files, n_groups, latency_s)
    corpus, changes = CorpusConfig(), InputChanges()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="spanmill-planning-") as root:
        store = open_store(root)
        files = watch.time("list", lambda files: (len(files), "files"), lambda: scan_files([url]))

        def plan():
            return plan_run(
                store, {}, files, lambda new, _: stream_slices(new, corpus, 1), slice_bytes=1, changes=changes
            )

        state = watch.time("plan", lambda state: (len(state.slices), "slices"), plan)
        del state
        state = watch.time("again", lambda state: (len(state.slices), "slices"), plan)
        watch.time("resumed", lambda done: (done, "commits"), lambda: resume(store, state.slices))
        pending = pending_slices(store, state.slices)
        with listed_work(store, pending) as listed:

            def read():
                return sum(1 for name in listed.names for _ in read_work(store, listed, name))

            watch.time("read in a worker", lambda n: (n, "slices"), read)
            graph = measure_graph(root, corpus, listed)
        shards = sum(store.size(name) for name in store.walk())
    print("\t".join(("graph", f"{graph:,} bytes", "", "", "", "")))
    print("\t".join(("plan on disk", f"{shards:,} bytes", "", "", "", "")))


def measure_graph(root, corpus, listed):
    """Bytes of the job's proto."""
    import apache_beam as beam

    from pipelines.workers.annotating import SliceWork
    from transforms.models.annotator import EntityConfig
    from transforms.models.catalog import find_tagger

    work = SliceWork(
        root=root,
        corpus=corpus,
        tagger=find_tagger(),
        entities=EntityConfig(),
        output_format="parquet",
        layout="document",
        metadata={},
        is_strict=True,
        timeout_s=600.0,
        beam_flags=("--runner=PortableRunner",),
    )
    pipeline = beam.Pipeline("FnApiRunner")
    work.construct(pipeline, listed)
    return len(pipeline.to_runner_api().SerializeToString())


def resume(store, slices):
    """Looks for what is left when nine tenths are committed; returns how many that is."""
    from transforms.storage.runs import pending_slices

    done = sorted(slices.ids.slice(0, 9 * len(slices) // 10).to_pylist())
    assert len(pending_slices(NearlyDoneStore(store, done), slices)) == len(slices) - len(done)
    return len(done)


def tabulate(title, lines):
    """The table of one corpus, from what its process printed."""
    columns = ("step", "of", "s", "CPU s", "per s", "peak MiB")
    return Table(title, columns, [tuple(line.split("\t")) for line in lines])


def parse_options():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000_000, help="many files (default: 1,000,000)")
    parser.add_argument("--slices", type=int, default=1_000_000, help="many slices (default: 1,000,000)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="time of each answer (default: 0)")
    parser.add_argument("--markdown", action="store_true", help="print the tables for GitHub")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Plans both corpora and prints the tables; 1 when one of them failed."""
    options = parse_options()
    if options.one:
        plan_corpus(*options.one, options.latency_ms / 1000)
        return 0
    tables = [Table("The machine", ("what", "found"), list(describe_machine().items()))]
    for title, n_files, n_groups in (
        (f"{options.files:,} files of one slice", options.files, 1),
        (f"{options.slices:,} slices in files of {_FILE_SLICES:,}", -(-options.slices // _FILE_SLICES), _FILE_SLICES),
    ):
        command = [sys.executable, "-m", "benchmarks.planning", "--one", str(n_files), str(n_groups)]
        command += ["--latency-ms", str(options.latency_ms)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
        if done.returncode:
            return 1
        tables.append(tabulate(title, done.stdout.splitlines()))
    for table in tables:
        table.show(is_markdown=options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
