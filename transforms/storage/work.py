"""Work lists: what a start of a run has to do, in the order in which it should begin, where every worker can read it.

    pending slices ──> _work/<plans>-<start>-<digest>.parquet ──> names in the job's graph ──> slices in its workers

A list is a convenience and no truth: commits decide what is done, and the driver compares them with the plan. So one
that was swept, because every slice in it is committed, reads as empty.
"""

import contextlib
import dataclasses
import io
import uuid
from collections.abc import Iterator

import pyarrow.parquet as pq

from schemas.secrets import Secrets
from schemas.slices import Slice
from schemas.tables import SLICE_SCHEMA, SliceTable
from transforms.storage.plans import count_plans
from transforms.storage.shards import write_shards
from transforms.storage.store import Store

WORK = "_work"


@dataclasses.dataclass(frozen=True)
class WorkList:
    """Slices to do.

    Attributes:
      names: files of the run that hold them, in order.
      secrets: what these leave out of URLs.
    """

    names: tuple[str, ...]
    secrets: Secrets


@contextlib.contextmanager
def listed_work(store: Store, slices: SliceTable, *, is_kept: bool = False) -> Iterator[WorkList]:
    """A list of slices that is there while the body runs.

    Args:
      store: the run's.
      slices: what is to be done, in order.
      is_kept: leave it, for workers that go on after the body has ended well; what completes the run sweeps it.
    """
    secrets = Secrets.of(slice_.file for slice_ in slices.with_secrets())
    prefix = f"{WORK}/{count_plans(store):04d}-{uuid.uuid4().hex}-"
    shards = write_shards(store, prefix, slices.without_secrets().table)
    is_left = False
    try:
        yield WorkList(tuple(shard.name for shard in shards), secrets)
        is_left = is_kept
    finally:
        for shard in [] if is_left else shards:
            store.delete(shard.name)


def read_work(store: Store, name: str, secrets: Secrets) -> Iterator[Slice]:
    """The slices in one file of a list, with their secrets; none where it was swept."""
    try:
        content = store.read(name)
    except FileNotFoundError:
        return
    for slice_ in SliceTable(pq.read_table(io.BytesIO(content), schema=SLICE_SCHEMA)):
        file = secrets.restore(slice_.file)
        yield slice_ if file is slice_.file else dataclasses.replace(slice_, file=file)


def sweep_work(store: Store, n_plans: int) -> None:
    """Removes the lists that crashed starts left behind, once every slice of so many plans is committed."""
    for name in store.list(WORK):
        number = name.partition("-")[0]
        if number.isdecimal() and int(number) <= n_plans:
            store.delete(f"{WORK}/{name}")
