"""SIGKILL to a cycle wherever it leaves a trace: started again, it ends as one that nobody disturbed."""

import signal
import time

import pytest

from pipelines.__main__ import main
from tests.faults.children import fork
from tests.pipelines.cycles import (
    copy_busy_world,
    copy_world,
    describe,
    make_world,
    outcomes_of,
    write_labels,
    write_texts,
)
from tests.pipelines.learners import NEW

TRACES = (
    "state/cycles/00000002/begin.json",
    "entities/cycle=00000002/run=*/_plan.json",
    "entities/cycle=00000002/run=*/_SUCCESS",
    "state/cycles/00000002/annotate.json",
    "state/cycles/00000002/drift/drift.json",
    "state/cycles/00000002/drift.json",
    "state/work/cycle=00000002/.training/training.json",
    "state/work/cycle=00000002/.training/seed=*/checkpoint-*/trainer_state.json",
    "state/work/cycle=00000002/card.json",
    "registry/checkpoints/CANDIDATE/_begun.json",
    "registry/records/CANDIDATE.json",
    "state/cycles/00000002/adapt.json",
    "registry/history/00000002.json",
    "state/cycles/00000002/promote.json",
    "entities/cycle=00000001/run=CHAMPION/_SUCCESS",
    "state/cycles/00000002/reannotate.json",
)
"""What appears in the course of a cycle, in order."""

_PATIENCE_S = 600


def start(world, folder):
    return fork(main, (["cycle", "--config", str(world / "cycle.toml")],), folder)


def is_there(world, trace, before):
    """Whether something of a name has come up since the beginning; the candidate's is not known beforehand."""
    pattern = trace.replace("CANDIDATE", "*").replace("CHAMPION", "*")
    return bool({path for path in world.glob(pattern)} - before)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Training takes longer than what else is killed."""
    monkeypatch.setattr("tests.faults.children._PATIENCE_S", _PATIENCE_S)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_every_trace_it_leaves_a_cycle_ends_as_an_undisturbed_one(base, tmp_path):
    prepared, world = make_world(tmp_path / "prepared", base), tmp_path / "world"
    copy_busy_world(prepared, world, reannotate="all")
    assert start(world, tmp_path / "undisturbed").wait().status == 0
    whole = describe(world)
    world.rename(tmp_path / "whole")
    before = set(copy_busy_world(prepared, world, reannotate="all").rglob("*"))
    n_kills = 0
    for number, trace in enumerate(TRACES):
        child = start(world, tmp_path / f"child-{number}")
        deadline = time.monotonic() + _PATIENCE_S
        while not is_there(world, trace, before) and child.is_running() and time.monotonic() < deadline:
            time.sleep(0.001)
        child.kill()
        ended = child.wait(is_tidy=False)
        assert ended.status in (0, -signal.SIGKILL), ended.err
        assert is_there(world, trace, before), (trace, ended.err)
        n_kills += ended.status == -signal.SIGKILL
    # The last trace is of the last step: what is killed then has nothing left to do but to say so.
    assert n_kills >= len(TRACES) - 1
    last = start(world, tmp_path / "last").wait()
    assert last.status == 0, last.err
    assert outcomes_of(world, 2)["promote"] == "promoted"
    assert describe(world) == whole


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_two_cycles_at_once_one_works_and_the_other_says_so(base, tmp_path):
    world = copy_world(make_world(tmp_path / "prepared", base), tmp_path / "world")
    write_texts(world, "a")
    write_labels(world, "monday", NEW)
    both = [start(world, tmp_path / f"child-{number}") for number in range(2)]
    first, second = sorted((child.wait(is_tidy=False) for child in both), key=lambda ended: ended.status)
    assert (first.status, second.status) == (0, 1), second.err
    assert "expected no other spanmill cycle at work" in second.err
    assert outcomes_of(world, 1)["promote"] == "promoted"
