"""Workers on this machine that are watched: one that dies or hangs is replaced, and none is left behind.

Each is a process that runs the whole pipeline and claims the slices that no other has begun, so that they share the
work as they come to it, without a port and without a queue.
"""

import dataclasses
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from pipelines.workers.annotating import SliceWork
from schemas.errors import DeviceError, MemoryExhaustedError, PipelineError
from transforms.storage.commits import Member, claim_slice
from transforms.workers.heartbeats import connect
from transforms.workers.subprocesses import Child, describe_status
from transforms.workers.usage import METER

if TYPE_CHECKING:
    from schemas.slices import Slice
    from transforms.storage.store import Store
    from transforms.storage.work import WorkList

_LOOK_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervision:
    """How workers are watched.

    Attributes:
      workers: how many there are.
      max_restarts: how many may die in a row without a slice that is committed in between.
      timeout_s: seconds of silence at work after which one hangs.
    """

    workers: int
    max_restarts: int
    timeout_s: float


class Crew:
    """Workers that share the slices of a run.

    Args:
      work: what they do to each slice.
      store: the run's store.
      pending: tells which slices are not committed.
      supervision: how they are watched.
    """

    def __init__(
        self, work: SliceWork, store: "Store", pending: Callable[[], Sequence["Slice"]], supervision: Supervision
    ) -> None:
        self._work = work
        self._store = store
        self._pending = pending
        self._supervision = supervision
        self._token = uuid.uuid4().hex
        self._at_work: list[_Worker] = []
        self._dead: frozenset[str] = frozenset()
        self._n_pending = 0
        self._n_in_a_row = 0

    def run(self, slices: Sequence["Slice"]) -> None:
        """Works until every slice is committed.

        Args:
          slices: those that are pending as it begins.

        Raises:
          ConfigError, PipelineError: what a worker found; or workers die without getting anywhere.
        """
        from schemas.tables import SliceTable
        from transforms.storage.work import listed_work

        self._n_pending = len(slices)
        with listed_work(self._store, SliceTable.of(slices)) as self._listed:
            try:
                for place in range(min(self._supervision.workers, len(slices))):
                    self._launch(place)
                while self._at_work:
                    self._watch()
            finally:
                for worker in self._at_work:
                    worker.child.kill()

    def _launch(self, place: int) -> None:
        name = uuid.uuid4().hex
        cores = _share_cores(place, self._supervision.workers)
        child = Child(serve, self._work, self._listed, Member(self._token, name, self._dead), cores)
        self._at_work.append(_Worker(name, place, child))

    def _watch(self) -> None:
        """Hears every worker once, then looks for those that have been silent for too long."""
        heard = {id(connection) for connection in wait([worker.child.connection for worker in self._at_work], _LOOK_S)}
        for worker in [worker for worker in self._at_work if id(worker.child.connection) in heard]:
            if not worker.listen():
                self._at_work.remove(worker)
                self._settle(worker)
        for worker in self._at_work:
            if worker.silence_s > self._supervision.timeout_s:
                self._at_work.remove(worker)
                worker.child.kill()
                self._isolate_next(worker)
                self._replace(worker, f"was silent for {worker.silence_s:.0f} s and was stopped")
                return

    def _settle(self, worker: "_Worker") -> None:
        """What follows from the end of a worker."""
        status = worker.child.wait()
        if isinstance(worker.error, DeviceError | MemoryExhaustedError):
            self._replace(worker, f"could not go on ({worker.error})")
        elif worker.error is not None:
            raise worker.error
        elif status:
            self._replace(worker, f"died ({describe_status(status)})")

    def _isolate_next(self, worker: "_Worker") -> None:
        """Has the slice in which a worker hung annotated one document at a time, for the next would hang as well."""
        from transforms.annotate import ISOLATED_FROM

        attempt = 0
        while worker.slice_id and attempt < ISOLATED_FROM - 1:
            claim = claim_slice(self._store, worker.slice_id, Member())
            attempt = claim.attempt if claim else attempt

    def _replace(self, worker: "_Worker", reason: str) -> None:
        """Starts another worker in the place of one.

        Raises:
          PipelineError: too many are lost in a row.
        """
        self._dead |= {worker.name}
        n_pending = len(self._pending())
        self._n_in_a_row = 1 if n_pending < self._n_pending else self._n_in_a_row + 1
        self._n_pending = n_pending
        if not n_pending:
            return
        if self._n_in_a_row > self._supervision.max_restarts:
            raise PipelineError(
                f"expected workers to get on, found the last {self._n_in_a_row} lost without a slice committed in "
                f"between; the last one {reason}"
            )
        print(f"spanmill: a worker {reason}; another takes its place", file=sys.stderr, flush=True)
        self._launch(worker.place)


class _Worker:
    """A worker as it is heard."""

    def __init__(self, name: str, place: int, child: Child) -> None:
        self.name = name
        self.place = place
        self.child = child
        self.slice_id = ""
        self.error: PipelineError | None = None
        self._heard = time.monotonic()

    @property
    def silence_s(self) -> float:
        """Seconds since it was last heard, while it is at work."""
        return time.monotonic() - self._heard if self.slice_id else 0.0

    def listen(self) -> bool:
        """Takes what it says; False when it has ended."""
        try:
            while self.child.connection.poll():
                sign = self.child.connection.recv()
                self._heard = time.monotonic()
                if isinstance(sign, PipelineError):
                    self.error = sign
                elif sign[0] != "beat":
                    self.slice_id = sign[1]
        except (EOFError, OSError):
            return False
        return True


def serve(connection: Connection, work: SliceWork, listed: "WorkList", member: Member, cores: frozenset[int]) -> None:
    """What a worker does: it annotates every slice that no other has begun."""
    if cores:
        os.sched_setaffinity(0, cores)
    METER.open()
    connect(connection.send)
    try:
        work.run_listed(listed, member)
    except PipelineError as error:
        connection.send(error)


def _share_cores(place: int, n_places: int) -> frozenset[int]:
    """The cores of one of several workers, which the system would leave on one core at times; none for all."""
    if n_places == 1 or not hasattr(os, "sched_setaffinity"):
        return frozenset()
    cores = sorted(os.sched_getaffinity(0))
    return frozenset(cores[place * len(cores) // n_places : (place + 1) * len(cores) // n_places])
