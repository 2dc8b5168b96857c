"""The plans of a run: a small head that is put if absent, and the tables that it names.

    _plan.json _plan.0002.json ...           settings, slice size, and which shards hold the rest
    _plans/0001-files-<digest>.parquet       input files that are new in plan 1
    _plans/0001-slices-<digest>.parquet      what they were cut into

Shards come first and count for nothing before a head names them. Whoever loses the race for a head may have written
the same shards as the winner, so nobody deletes their own; what no head names is swept once its number is taken.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigError, StorageError
from schemas.manifest import Shard, dump_json, explain_json
from schemas.slices import Slice
from schemas.tables import FILE_SCHEMA, SLICE_SCHEMA, FileTable, Rows, SliceTable
from transforms.storage.shards import ShardWriter, parse_shards, read_shards, write_shards
from transforms.storage.store import Store
from transforms.workers.threads import map_ahead

_Answer = TypeVar("_Answer")

PLANS, PLAN_VERSION = "_plans", 2
_BLOCK_SLICES = 8192
_REMEDY = "a run cannot go on without its plans: bring the file back, or choose another --output"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The slices of a run as one start of it planned them.

    Attributes:
      settings: everything that changes output, by name.
      slice_bytes: wanted size of a slice; later plans of the run keep it.
      files: input files that are new in this plan, without passwords.
      slices: what they were cut into; an empty file gives none.
    """

    settings: Mapping[str, Any]
    slice_bytes: int
    files: FileTable
    slices: SliceTable


@dataclasses.dataclass(frozen=True)
class Draft:
    """A plan whose slices are written and which counts for nothing yet.

    Attributes:
      number: of the plan, from 1.
      slices: its slices as they were given, numbered.
      shards: where they are written.
    """

    number: int
    slices: SliceTable
    shards: tuple[Shard, ...]


def draft_plan(store: Store, number: int, slices: Iterable[Slice], *, first: int) -> Draft:
    """Numbers slices from `first` on and writes them as they come, without passwords."""
    writer = ShardWriter(store, f"{PLANS}/{number:04d}-slices-", SLICE_SCHEMA)
    numbered = (dataclasses.replace(slice_, number=at) for at, slice_ in enumerate(slices, first))
    blocks = []
    while block := SliceTable.of(itertools.islice(numbered, _BLOCK_SLICES)):
        writer.add(block.without_secrets().table)
        blocks.append(block)
    return Draft(number, SliceTable.concat(blocks), writer.close())


def put_plan(store: Store, draft: Draft, settings: Mapping[str, Any], slice_bytes: int, files: FileTable) -> bool:
    """Makes a draft a plan, unless another driver was faster with another of the same number: False then."""
    shards = write_shards(store, f"{PLANS}/{draft.number:04d}-files-", files.without_secrets().table)
    head = {
        "version": PLAN_VERSION,
        "settings": dict(settings),
        "slice_bytes": slice_bytes,
        "n_files": len(files),
        "n_slices": len(draft.slices),
        "n_documents": pc.sum(draft.slices.column("rows"), min_count=0).as_py(),
        "files": [*map(dataclasses.asdict, shards)],
        "slices": [*map(dataclasses.asdict, draft.shards)],
    }
    return store.put_if_absent(plan_name(draft.number), dump_json(head))


def read_plans(store: Store) -> list[Plan]:
    """Every plan of a run, in order; none where no run lies.

    Raises:
      ConfigError: a plan or its tables cannot be read, or another version wrote it.
    """
    return list(map_ahead(lambda item: _read_plan(store, *item), enumerate(_read_heads(store), 1)))


def current_files(plans: Sequence[Plan]) -> FileTable:
    """The files of a run; one that a later plan holds again is as that plan has it."""
    tables = [plan.files for plan in plans]
    return FileTable.concat(tables).filter(_are_current(tables, plans))


def current_slices(plans: Sequence[Plan]) -> SliceTable:
    """The slices of a run in order of number; those of a file are as the latest plan with it has them."""
    tables = [plan.slices for plan in plans]
    return SliceTable.concat(tables).filter(_are_current(tables, plans))


def sweep_plans(store: Store) -> None:
    """Removes shards that no plan names and none can name any more, since their plan is made of others."""
    heads = _read_heads(store)
    named = {shard["name"] for head in heads for table in ("files", "slices") for shard in head[table]}
    for name in store.list(PLANS):
        number = name.partition("-")[0]
        if number.isdecimal() and int(number) <= len(heads) and f"{PLANS}/{name}" not in named:
            store.delete(f"{PLANS}/{name}")


def count_plans(store: Store) -> int:
    """How many plans a run has."""
    return len(_ask_for_each(lambda number: store.size(plan_name(number))))


def plan_name(number: int) -> str:
    """Name of a plan, from 1."""
    return "_plan.json" if number == 1 else f"_plan.{number:04d}.json"


def _read_heads(store: Store) -> list[dict[str, Any]]:
    """What lies under the names of plans.

    Raises:
      ConfigError: it is not what this version writes.
    """
    return _ask_for_each(lambda number: _read_head(store, number))


def _ask_for_each(ask: Callable[[int], _Answer | None]) -> list[_Answer]:
    """The answers for the plans of a run, up to the first number that has none.

    Each time as many numbers are asked for at once as have answered, so that a year of plans takes a few round trips,
    and a run with a plan or two few requests in vain.
    """
    found: list[_Answer] = []
    while True:
        numbers = range(len(found) + 1, 2 * len(found) + 2)
        for answer in map_ahead(ask, numbers):
            if answer is None:
                return found
            found.append(answer)


def _read_head(store: Store, number: int) -> dict[str, Any] | None:
    try:
        head: dict[str, Any] = json.loads(store.read(plan_name(number)))
        version = head.get("version", 1)
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError) as error:
        raise _explain(number, error) from error
    if version != PLAN_VERSION:
        raise ConfigError(
            f"expected a plan in {plan_name(number)} of version {PLAN_VERSION}, found version {version!r}, which "
            "another spanmill wrote; go on with that one, or choose another --output"
        )
    return head


def _read_plan(store: Store, number: int, head: Mapping[str, Any]) -> Plan:
    try:
        files = FileTable(read_shards(store, parse_shards(head["files"]), FILE_SCHEMA))
        slices = SliceTable(read_shards(store, parse_shards(head["slices"]), SLICE_SCHEMA))
        return Plan(head["settings"], head["slice_bytes"], files, slices)
    except StorageError as error:
        raise ConfigError(f"{error}, which {plan_name(number)} names; {_REMEDY}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _explain(number, error) from error


def _explain(number: int, error: Exception) -> ConfigError:
    return ConfigError(f"expected a plan in {plan_name(number)}, found {explain_json(error)}; {_REMEDY}")


def _are_current(tables: Sequence[Rows[Any]], plans: Sequence[Plan]) -> pa.ChunkedArray:
    """Whether no later plan holds the file of each row, of a table per plan."""
    later = [plan.files for plan in plans[1:]]
    held = pa.table({"uri": FileTable.concat(later).column("uri"), "plan": _number_rows(later, first=1)})
    latest = held.group_by("uri").aggregate([("plan", "max")])
    uris = pa.chunked_array([chunk for table in tables for chunk in table.column("uri").chunks], pa.large_string())
    at = pc.index_in(uris, value_set=latest.column("uri"))
    return pc.fill_null(pc.less_equal(latest.column("plan_max").take(at), _number_rows(tables)), fill_value=True)


def _number_rows(tables: Sequence[Rows[Any]], *, first: int = 0) -> pa.Array:
    """The number of its table for each row, from `first` on."""
    return pa.array(np.repeat(np.arange(first, first + len(tables)), list(map(len, tables))))
