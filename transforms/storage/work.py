"""Work lists: what a start of a job has to do, in the order in which it should begin, where every worker can read it.

    pending slices ──> _work/<plans>-<start>-<digest>.parquet ──> names in the job's graph ──> slices in its workers

Other rows that a job begins with go the same way. What is no run, and has no plans, has its lists beside its results.
A list is a convenience and no truth: commits decide what is done, and the driver compares them with the plan. So one
that was swept, because every slice in it is committed, reads as empty.
"""

import contextlib
import dataclasses
import io
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from schemas.secrets import Secrets
from schemas.tables import Rows, SliceTable
from transforms.storage.plans import count_plans
from transforms.storage.shards import write_shards
from transforms.storage.store import Store

WORK = "_work"


@dataclasses.dataclass(frozen=True)
class WorkList:
    """Slices to do, or other rows.

    Attributes:
      names: files of the store that hold them, in order.
      secrets: what these leave out of URLs.
      kind: the kind of their table.
    """

    names: tuple[str, ...]
    secrets: Secrets
    kind: type[Rows[Any]] = SliceTable


@contextlib.contextmanager
def listed_work(store: Store, rows: Rows[Any], *, is_kept: bool = False) -> Iterator[WorkList]:
    """A list of slices, or of other rows, that is there while the body runs.

    Args:
      store: the run's, or that of a job's results.
      rows: what is to be done, in order.
      is_kept: leave it, for workers that go on after the body has ended well; what completes the run sweeps it.
    """
    hidden = rows.with_secrets()
    secrets = Secrets.of(file for prefix in rows.file_prefixes for file in hidden.files(prefix))
    n_plans = count_plans(store)
    folder = f"{WORK}/{n_plans:04d}" if n_plans else WORK
    shards = write_shards(store, f"{folder}-{uuid.uuid4().hex}-", rows.without_secrets().table)
    is_left = False
    try:
        yield WorkList(tuple(shard.name for shard in shards), secrets, type(rows))
        is_left = is_kept
    finally:
        for shard in [] if is_left else shards:
            store.delete(shard.name)


def read_work(store: Store, work: WorkList, name: str) -> Iterator[Any]:
    """The rows in one file of a list, with their secrets; none where it was swept."""
    try:
        content = store.read(name)
    except FileNotFoundError:
        return
    yield from work.kind(pq.read_table(io.BytesIO(content), schema=work.kind.schema)).restored(work.secrets)


def sweep_work(store: Store, n_plans: int) -> None:
    """Removes the lists that crashed starts left behind, once every slice of so many plans is committed."""
    for name in store.list(WORK):
        number = name.partition("-")[0]
        if number.isdecimal() and int(number) <= n_plans:
            store.delete(f"{WORK}/{name}")
