"""The same bytes on every runner: threads, processes, a job service with a pool; the same rows on other stores."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.pipelines.conftest import read_rows, run_folder

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's servers leave sockets and threads behind


def _content(rows):
    entities = ("start", "end", "label", "text")
    return [
        (
            row["id"],
            row["digest"],
            row["tokens"],
            row["windows"],
            [[e[key] for key in entities] for e in row["entities"]],
        )
        for row in rows
    ]


def _sorted_bytes(output):
    """Every annotation of a run, scores and all, in order of source and row, as bytes of Arrow."""
    paths = sorted(run_folder(output).glob("data/*.parquet"))
    table = pa.concat_tables([pq.read_table(path) for path in paths]).sort_by(
        [("source", "ascending"), ("row", "ascending")]
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _spanmill(*arguments, module="pipelines", **kwargs):
    # A fresh interpreter: Beam's process and portable modes do not survive beside another test's threads.
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", module, "annotate", "--no-progress", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False, **kwargs
    )


@pytest.fixture
def expected(annotate, corpus, tmp_path):
    annotate("--slice-size=600", source=corpus, output="expected")
    assert len(list(run_folder(tmp_path / "expected").glob("data/*"))) > 6
    return tmp_path / "expected"


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("pipelines", []),
        ("pipelines", ["--direct_num_workers=2"]),
        ("pipelines", ["--direct_runner_bundle_repeat=2"]),
        ("tests.pipelines.unsupervised", ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]),
        ("tests.pipelines.unsupervised", ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]),
    ],
    ids=["one worker", "two workers of ours", "every bundle again", "two threads of Beam", "two processes of Beam"],
)
def test_fn_api_runner_gives_the_same_bytes(module, flags, expected, corpus, tmp_path, tiny_checkpoint):
    arguments = ["--input", corpus, "--output", tmp_path / "out", "--model", tiny_checkpoint, "--slice-size=600"]
    result = _spanmill(*arguments, "--runner=FnApiRunner", *flags, module=module)
    assert result.returncode == 0, result.stderr
    assert _sorted_bytes(tmp_path / "out") == _sorted_bytes(expected)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _wait_for(port, server):
    for _ in range(3000):
        assert server.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(port)


@pytest.fixture
def job_service(tmp_path):
    """Beam's own job service with two workers, and the pool of the images; gives their ports and the pool's log."""
    job_port, pool_port = _free_port(), _free_port()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    programs = [
        ["-m", "tests.pipelines.two_workers", f"--port={job_port}", f"--staging_dir={tmp_path / 'staging'}"],
        [str(ROOT / "deploy/flink/worker_pool.py"), str(pool_port)],
    ]
    log = tmp_path / "pool.log"
    with log.open("wb") as told:
        servers = [
            subprocess.Popen(
                [sys.executable, *program],
                cwd=tmp_path,
                # A pool finds the interpreter of its workers by itself.
                env=environment if program[0] == "-m" else {**environment, "PATH": os.environ["PATH"]},
                stdout=subprocess.DEVNULL,
                stderr=told if program[0] != "-m" else subprocess.DEVNULL,
                start_new_session=True,
            )
            for program in programs
        ]
    try:
        for port, server in zip((job_port, pool_port), servers, strict=True):
            _wait_for(port, server)
        yield job_port, pool_port, log
    finally:
        for server in servers:
            os.killpg(server.pid, 9)
            server.wait()


@pytest.mark.parametrize("place", [pytest.param("LOOPBACK", marks=pytest.mark.slow), "EXTERNAL"])
def test_portable_runner_with_two_workers_gives_the_same_bytes(
    place, job_service, expected, corpus, tmp_path, tiny_checkpoint
):
    job_port, pool_port, log = job_service
    arguments = ["--input", corpus, "--output", tmp_path / "out", "--model", tiny_checkpoint, "--slice-size=600"]
    flags = ["--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}", f"--environment_type={place}"]
    if place == "EXTERNAL":
        flags.append(f"--environment_config=localhost:{pool_port}")
    result = _spanmill(*arguments, *flags)
    assert result.returncode == 0, result.stderr
    assert _sorted_bytes(tmp_path / "out") == _sorted_bytes(expected)
    assert log.read_text().count("Starting worker with command") == (2 if place == "EXTERNAL" else 0)


@pytest.mark.slow
def test_a_worker_pool_that_does_not_answer_is_named(job_service, corpus, tmp_path, tiny_checkpoint):
    flags = ["--runner=PortableRunner", f"--job_endpoint=localhost:{job_service[0]}", "--environment_type=EXTERNAL"]
    flags.append(f"--environment_config=localhost:{_free_port()}")
    result = _spanmill("--input", corpus, "--output", tmp_path / "out", "--model", tiny_checkpoint, *flags)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("spanmill: the runner or its workers do not answer: failed to connect")


def _read_url(root):
    fs, path = fsspec.core.url_to_fs(root)
    fs.invalidate_cache()
    rows = []
    for name in fs.glob(f"{path}/run=*/data/*.parquet"):
        with fs.open(name) as raw:
            rows += pq.read_table(raw).to_pylist()
    return sorted(rows, key=lambda row: (row["source"], row["row"]))


def _upload(corpus, root):
    fs, path = fsspec.core.url_to_fs(root)
    for file in corpus.iterdir():
        fs.pipe_file(f"{path}/{file.name}", file.read_bytes())


@pytest.mark.parametrize("store", ["memory", "s3"])
def test_other_stores_give_the_same_rows(store, request, expected, annotate, corpus, tmp_path, tiny_checkpoint):
    from pipelines.__main__ import main

    root = request.getfixturevalue("s3_bucket") if store == "s3" else f"memory://{tmp_path.name}"
    _upload(corpus, f"{root}/in")
    command = [
        "annotate",
        "--input",
        f"{root}/in/*.txt",
        "--output",
        f"{root}/out",
        "--slice-size=600",
        "--no-progress",
    ]
    assert main([*command, "--model", str(tiny_checkpoint)]) == 0
    found = _content(_read_url(f"{root}/out"))
    assert [row[1:] for row in found] == [row[1:] for row in _content(read_rows(expected))]
    assert all(row[0].startswith(f"{store}://") for row in found)
    fs, path = fsspec.core.url_to_fs(f"{root}/out")
    before = {
        name: info.get("LastModified") or info.get("created") for name, info in fs.find(path, detail=True).items()
    }
    assert main([*command, "--model", str(tiny_checkpoint)]) == 0
    fs.invalidate_cache()
    after = {name: info.get("LastModified") or info.get("created") for name, info in fs.find(path, detail=True).items()}
    assert after == before


@pytest.fixture
def s3_bucket(monkeypatch):
    """A bucket on a real S3 server, started here (moto)."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}", "skip_instance_cache": True}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    monkeypatch.setenv("FSSPEC_S3", json.dumps(options))  # what worker processes go by
    fs, _ = fsspec.core.url_to_fs("s3://corpora")
    fs.mkdir("corpora")
    try:
        yield "s3://corpora/nested"
    finally:
        server.stop()
