import sys
import threading
import time
import types

import pytest

from transforms.workers import usage
from transforms.workers.usage import Meter


@pytest.fixture
def clock(monkeypatch):
    """A wall clock and a core clock that stand still unless a test sets them."""
    clocks = types.SimpleNamespace(wall=100.0, core=50.0)
    reading = usage._Reading
    monkeypatch.setattr(reading, "now", classmethod(lambda _: reading(clocks.wall, clocks.core)))
    return clocks


def test_it_tells_what_was_used_since_it_last_told(clock):
    meter = Meter()
    meter.open()
    clock.wall, clock.core = 103.0, 55.0
    assert meter.read() == {"worker": 3.0, "core": 5.0}
    clock.wall = 104.0
    assert meter.read() == {"worker": 1.0, "core": 0.0}


def test_time_between_two_pipelines_in_one_process_is_nobodys(clock):
    meter = Meter()
    meter.open()
    meter.close()
    clock.wall = 200.0
    meter.open()
    assert meter.read()["worker"] == 0


def test_a_second_user_does_not_take_the_time_of_the_first(clock):
    meter = Meter()
    meter.open()
    clock.wall = 102.0
    meter.open()
    assert meter.read()["worker"] == 2


def test_cores_count_what_is_computed():
    meter = Meter()
    meter.open()
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    assert meter.read()["core"] >= 0.25


def test_every_second_is_told_once_however_many_threads_ask():
    meter, told = Meter(), []
    before = time.monotonic()
    meter.open()
    opened = time.monotonic()

    def ask():
        told.extend(meter.read()["worker"] for _ in range(200))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = time.monotonic()
    told.append(meter.read()["worker"])
    assert asked - opened <= sum(told) + 1e-6
    assert sum(told) <= time.monotonic() - before + 1e-6


def test_a_gpu_counts_while_the_process_holds_it(monkeypatch):
    holds = False
    fake = types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: holds))
    monkeypatch.setitem(sys.modules, "torch", fake)
    meter = Meter()
    assert "gpu" not in meter.read()
    holds = True
    used = meter.read()
    assert used["gpu"] == used["worker"]
