"""M01 to M14: processes that die, stop, are started twice or do everything twice."""

import random
import signal
import time

from tests.faults.children import Child
from tests.faults.harness import Bench, Job, Row, won_once

_KILLS, _PART_S = 50, 0.05


def kill_at_random(bench: Bench) -> str:
    """M01: whenever a run gets through undisturbed, it is checked, and the next one begins."""
    rng = random.Random(0)
    undisturbed = bench.workshop.undisturbed
    patience = undisturbed.seconds + undisturbed.count("commit") * _PART_S
    total = len(bench.workshop.keys)
    kills = complete = 0
    job, runs = bench.job(output="out-0"), []
    while kills < _KILLS:
        missing = total - _committed_rows(job)
        child = job.start(f"slow_down={_PART_S}")
        if _let_run(child, rng.uniform(0, patience)):
            child.kill()
        ended = child.wait()
        runs.append(ended)
        assert ended.total("documents") <= missing, "documents were annotated that had been committed"
        if ended.status == -signal.SIGKILL:
            kills += 1
            if not job.is_complete():
                job.check_unfinished()
            continue
        assert ended.total("documents") == missing
        job.check(ended)
        won_once(runs)
        complete += 1
        job, runs = bench.job(output=f"out-{complete}"), []
    ended = job.run()
    job.check(ended)
    assert won_once([*runs, ended]) == len(job.committed())
    return f"{kills} kills, {complete + 1} runs complete, 0 documents annotated after their commit"


def _committed_rows(job: Job) -> int:
    return sum(record["rows"] for record in job.committed().values())


def _let_run(child: Child, seconds: float) -> bool:
    """Whether a run still runs after some seconds."""
    deadline = time.monotonic() + seconds
    while child.is_running() and time.monotonic() < deadline:
        time.sleep(0.002)
    return child.is_running()


def die_before_commit(bench: Bench) -> str:
    """M03."""
    job = bench.job()
    killed = job.run("kill_before_commit=3")
    assert killed.status == -signal.SIGKILL
    job.check_unfinished()
    orphans = len(list(job.folder.glob("_attempts/*")))
    assert (len(job.committed()), orphans) == (2, 1)
    ended = job.run()
    job.check(ended)
    assert won_once([killed, ended]) == len(job.committed())
    assert not list(job.folder.glob("_attempts/*"))
    return "slice redone, orphan swept"


def die_before_publish(bench: Bench) -> str:
    """M04: of the last slice, so that nothing but publishing is left."""
    job = bench.job()
    n_slices = bench.workshop.undisturbed.count("commit")
    killed = job.run(f"kill_before_publish={n_slices}")
    assert killed.status == -signal.SIGKILL
    job.check_unfinished()
    assert (len(job.committed()), len(list(job.folder.glob("data/*")))) == (n_slices, n_slices - 1)
    ended = job.run()
    assert ended.count("pass") == 0, "annotated again what was committed"
    job.check(ended)
    return "published by the next start, 0 passes"


def die_before_success(bench: Bench) -> str:
    """M05."""
    job = bench.job()
    killed = job.run("kill_before_success")
    assert killed.status == -signal.SIGKILL
    job.check_unfinished()
    ended = job.run()
    assert ended.count("pass") == 0, "annotated again what was committed"
    job.check(ended)
    return f"finished in {ended.seconds:.1f} s, 0 passes"


def stop_by_signal(bench: Bench) -> str:
    """M06: with worker processes, so that there are children to take along."""
    job = bench.job("--workers=2")
    n_slices = bench.workshop.undisturbed.count("commit")
    statuses = []
    for number, goal in ((signal.SIGINT, n_slices // 4), (signal.SIGTERM, n_slices // 2)):
        child = job.start("slow_down=0.2")
        _wait_for_commits(job, child, goal)
        child.signal(number)
        ended = child.wait()
        assert "goes on from what is committed" in ended.err
        statuses.append(ended.status)
        job.check_unfinished()
    assert statuses == [130, 143]
    job.check(job.run())
    return "130 and 143, no children, resumed"


def _wait_for_commits(job: Job, child: Child, goal: int) -> None:
    while len(job.committed()) < goal and child.is_running():
        time.sleep(0.01)
    assert child.is_running(), "the run ended before it was disturbed"


def start_two_drivers(bench: Bench) -> str:
    """M07: both come to their first commit at the same moment."""
    job = bench.job()
    both = [job.start("meet_before_commit=2") for _ in range(2)]
    ended = [child.wait() for child in both]
    assert won_once(ended) == len(job.committed())
    assert [each.status for each in ended] == [0, 0], [each.err for each in ended]
    job.check(ended[0])
    wins = sorted(each.count("commit") for each in ended)
    return f"both exit 0, {wins[0]} and {wins[1]} slices won"


def wake_a_zombie(bench: Bench) -> str:
    """M08: a driver stops before a commit, another finishes the run, and the first one wakes up."""
    job = bench.job()
    zombie = job.start("stop_before_commit=3")
    while not zombie.is_stopped():
        assert zombie.is_running()
        time.sleep(0.01)
    other = job.run()
    job.check(other)
    zombie.signal(signal.SIGCONT)
    late = zombie.wait()
    assert won_once([other, late]) == len(job.committed())
    job.check(late)
    return "late attempt lost, data unchanged"


def repeat_bundles(bench: Bench) -> str:
    """M09."""
    job = bench.job("--runner=FnApiRunner", "--direct_runner_bundle_repeat=2")
    ended = job.run()
    assert ended.total("documents") == len(bench.workshop.keys), "a replay annotated what was committed"
    job.check(ended)
    return "replays skipped as committed, same rows"


def fail_after_a_commit(bench: Bench) -> str:
    """M10."""
    job = bench.job()
    failed = job.run("fail_after_commit=3")
    assert failed.status == 1
    assert "Input/output error" in failed.reason()
    job.check_unfinished()
    assert len(job.committed()) == 3
    ended = job.run()
    assert failed.total("documents") + ended.total("documents") == len(bench.workshop.keys)
    job.check(ended)
    return "exit 1 in one line, no duplicate after"


def run_in_other_ways(bench: Bench) -> str:
    """M14."""
    for n_workers in (1, 2, 3):
        job = bench.job(f"--workers={n_workers}", output=f"out-{n_workers}")
        job.check(job.run())
    return "1, 2 and 3 workers, the rows of one process"


ROWS = (
    Row(
        id="M01",
        injected=f"driver killed at random, {_KILLS} times",
        check=kill_at_random,
        mutants=("no_commit_record",),
    ),
    Row(
        id="M03",
        injected="killed after data, before commit",
        check=die_before_commit,
        mutants=("marker_files", "success_first", "attempts_without_token"),
        is_fast=True,
    ),
    Row(
        id="M04",
        injected="killed after commit, before publish",
        check=die_before_publish,
        mutants=("receipts_trusted", "everything_redone"),
        is_fast=True,
    ),
    Row(
        id="M05",
        injected="killed before _SUCCESS",
        check=die_before_success,
        mutants=("everything_redone", "success_first"),
        is_fast=True,
    ),
    Row(id="M06", injected="SIGINT, SIGTERM on 2 workers", check=stop_by_signal, mutants=("signals_unheard",)),
    Row(
        id="M07",
        injected="two drivers at once",
        check=start_two_drivers,
        mutants=("commits_overwritten",),
    ),
    Row(
        id="M08",
        injected="stopped, overtaken, woken",
        check=wake_a_zombie,
        mutants=("commits_overwritten", "commits_believed"),
        is_fast=True,
    ),
    Row(id="M09", injected="every bundle twice", check=repeat_bundles, mutants=("everything_redone",), is_fast=True),
    Row(
        id="M10",
        injected="error after a commit",
        check=fail_after_a_commit,
        mutants=("everything_redone",),
        is_fast=True,
    ),
    Row(id="M14", injected="one process, 1 to 3 workers", check=run_in_other_ways, mutants=("text_truncated",)),
)
