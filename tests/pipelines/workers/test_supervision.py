"""Workers that die or hang are replaced, what harms them is a dead letter, and none is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.workers.annotating import SliceWork
from pipelines.workers.local import choose_supervision, without_local_workers
from pipelines.workers.supervision import Crew, Supervision
from schemas.errors import ConfigError, ModelError, PipelineError
from tests.conftest import ROOT
from tests.pipelines.conftest import run_folder
from tests.transforms.workers.dangerous import DangerousTaggerConfig
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import list_files
from transforms.corpora.formats import cut_files
from transforms.models.annotator import EntityConfig
from transforms.storage.runs import pending_slices, reconcile
from transforms.storage.store import open_store

_N_LINES = 40


@pytest.fixture
def crew(tmp_path):
    """Makes a crew over texts, a slice of about ten each; gives a function that runs it, its store and its slices."""

    def make(texts, *, workers=1, max_restarts=5, timeout_s=60.0, **config):
        (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
        corpus = CorpusConfig(format="text")
        slices = tuple(cut_files(list_files([str(tmp_path / "in.txt")]), corpus, 120, is_strict=True))
        root = str(tmp_path / "run")
        store = open_store(root)
        work = SliceWork(
            root=root,
            corpus=corpus,
            tagger=DangerousTaggerConfig(**config),
            entities=EntityConfig(),
            output_format="parquet",
            layout="document",
            metadata={},
            is_strict=True,
            timeout_s=timeout_s,
            beam_flags=(),
        )
        supervision = Supervision(workers=workers, max_restarts=max_restarts, timeout_s=timeout_s)
        crew = Crew(work, store, lambda: pending_slices(store, slices), supervision)
        return lambda: crew.run(pending_slices(store, slices)), store, slices

    return make


def _lines(*, at=None, text=""):
    lines = [f"Anna {number}" for number in range(_N_LINES)]
    if at is not None:
        lines[at] = text
    return lines


def _rows(store, slices):
    reconcile(store, slices)
    files = [name for folder in ("data", "dead") for name in (f"{folder}/{file}" for file in store.list(folder))]
    rows = []
    for name in files:
        with store.open(name) as raw:
            rows += [(row["row"], row.get("error")) for row in pq.read_table(raw).to_pylist()]
    return sorted(rows)


def _children():
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_crew_annotates_every_document_once(crew, workers):
    before = _children()
    run, store, slices = crew(_lines(), workers=workers, pause_s=0.005)
    run()
    assert _rows(store, slices) == [(row, None) for row in range(_N_LINES)]
    assert all(len(store.read(f"_commits/{slice_.slice_id}")) for slice_ in slices)
    assert len(store.list("_claims")) == len(slices), "no slice was begun by two workers"
    assert _children() == before


def test_workers_of_a_crew_share_the_slices(crew):
    run, store, _ = crew(_lines(), workers=2, pause_s=0.05)
    run()
    shares = Counter(json.loads(store.read(f"_claims/{name}"))["name"] for name in store.list("_claims"))
    assert len(shares) == 2, shares


def test_a_document_that_kills_its_worker_is_a_dead_letter_after_three_tries(crew, capsys):
    run, store, slices = crew(_lines(at=13, text="Crash"))
    run()
    assert _rows(store, slices) == [(row, "crash" if row == 13 else None) for row in range(_N_LINES)]
    attempts = Counter(name.partition(".")[0] for name in store.list("_claims"))
    assert max(attempts.values()) == 3
    assert capsys.readouterr().err.count("died (SIGKILL); another takes its place") == 2


def test_a_worker_that_loses_its_device_is_replaced_and_the_document_that_did_it_a_dead_letter(crew, capsys):
    run, store, slices = crew(_lines(at=13, text="Device"))
    run()
    assert _rows(store, slices) == [(row, "crash" if row == 13 else None) for row in range(_N_LINES)]
    assert capsys.readouterr().err.count("could not go on (the device failed") == 2


def test_a_document_that_hangs_is_a_dead_letter_and_its_worker_is_replaced_once(crew, capsys):
    run, store, slices = crew(_lines(at=29, text="Hang"), timeout_s=3.0, workers=2)
    run()
    assert _rows(store, slices) == [(row, "timeout" if row == 29 else None) for row in range(_N_LINES)]
    assert capsys.readouterr().err.count("was silent for") == 1


def test_a_worker_that_somebody_kills_costs_nothing(crew):
    run, store, slices = crew(_lines(), workers=2, pause_s=0.02)
    before = _children()

    def kill_one():
        while not store.list("_claims"):
            time.sleep(0.01)
        os.kill(min(_children() - before), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    run()
    killer.join()
    assert _rows(store, slices) == [(row, None) for row in range(_N_LINES)]


def test_a_crew_gives_up_when_workers_die_without_getting_on(crew):
    run, store, _ = crew(_lines(), max_restarts=1, loads=False)
    with pytest.raises(PipelineError, match=r"the last 2 lost without a slice committed .* died \(exit status 3\)"):
        run()
    assert not store.list("_commits")


def test_a_crew_stops_at_what_no_new_worker_would_mend(crew, capfd):
    run, _, _ = crew(_lines(at=3, text="Nonsense"), workers=2)
    with pytest.raises(ModelError, match="found nonsense"):
        run()
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        ([], 1),
        (["--runner=DirectRunner", "--direct_num_workers", "3"], 3),
        (["--direct_num_workers=2", "--direct_running_mode=multi_threading"], 2),
    ],
)
def test_the_local_workers_that_beam_is_asked_for_are_ours(flags, workers):
    supervision = choose_supervision(Supervision(workers=1, max_restarts=5, timeout_s=9), flags, ("in", "out"))
    assert supervision.workers == workers


def test_all_cores_work_where_beam_is_asked_for_none():
    asked = Supervision(workers=1, max_restarts=5, timeout_s=9)
    supervision = choose_supervision(asked, ["--direct_num_workers=0"], ())
    assert supervision.workers == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("flags", "uris", "max_restarts"),
    [(["--runner=PortableRunner"], ("in",), 5), ([], ("in", "memory://out"), 5), ([], ("in",), 0)],
    ids=["another runner", "memory of this process", "no restarts"],
)
def test_nobody_watches_where_nobody_could_or_should(flags, uris, max_restarts):
    asked = Supervision(workers=1, max_restarts=max_restarts, timeout_s=9)
    assert choose_supervision(asked, flags, uris) is None


@pytest.mark.parametrize(
    ("asked", "flags", "message"),
    [
        ({"workers": 0}, [], "--workers of 1 or more, found 0"),
        ({"max_restarts": -1}, [], "--max-restarts of 0 or more, found -1"),
        ({"timeout_s": 0.0}, [], "--timeout-per-document of 1 second or more, found 0"),
        ({"workers": 2}, ["--runner=PortableRunner"], "local runner for --workers"),
        ({"workers": 2}, ["--direct_num_workers=3"], "found 2 and 3"),
    ],
)
def test_numbers_of_workers_that_make_no_sense_are_refused(asked, flags, message):
    supervision = Supervision(**{"workers": 1, "max_restarts": 5, "timeout_s": 9.0, **asked})
    with pytest.raises(ConfigError, match=message):
        choose_supervision(supervision, flags, ())


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["--direct_num_workers", "2", "--runner=DirectRunner"], ["--runner=DirectRunner"]),
        (["--direct_num_workers=2", "--direct_runner_bundle_repeat=2"], ["--direct_runner_bundle_repeat=2"]),
        (["--direct_running_mode", "multi_processing"], []),
        (["--temp_location", "here"], ["--temp_location", "here"]),
    ],
)
def test_a_runner_of_ours_is_given_no_workers_of_its_own(flags, kept):
    assert without_local_workers(flags) == kept


def _listening(mark):
    """Local addresses of sockets that listen, of processes that have a mark in their environment."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    addresses = {f"socket:[{fields[9]}]": fields[1] for fields in lines if fields[3] == "0A"}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        files = []
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                files = list((process / "fd").iterdir())
        for file in files:
            with contextlib.suppress(OSError):
                found.add(addresses.get(str(file.readlink()), ""))
    return found - {""}


def test_a_socket_that_listens_is_seen():
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    environment = {**os.environ, "SPANMILL_TEST": "heard"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as server:
        port = int(server.stdout.readline())
        assert _listening("SPANMILL_TEST=heard") == {f"0100007F:{port:04X}"}
        server.stdin.write("\n")


def test_a_run_listens_nowhere(corpus, tmp_path, tiny_checkpoint):
    command = [sys.executable, "-m", "pipelines", "annotate", "--no-progress", "--slice-size=600", "--workers=2"]
    mark = f"SPANMILL_TEST={tmp_path}"
    run = subprocess.Popen(
        [*command, "--input", str(corpus), "--output", str(tmp_path / "out"), "--model", str(tiny_checkpoint)],
        cwd=ROOT,
        env={**os.environ, "SPANMILL_TEST": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = set()
    while run.poll() is None:
        seen |= _listening(mark)
        time.sleep(0.02)
    with run.stderr as error:
        assert run.returncode == 0, error.read()
    assert not seen
    assert (run_folder(tmp_path / "out") / "_SUCCESS").exists()
