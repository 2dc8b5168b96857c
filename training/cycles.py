"""What cycles have done so far, and what is new since.

    cycles/00000001/begin.json       what the cycle is about: champion, input files, labelled files
    cycles/00000001/<step>.json      what a step came to; a step without one is done again
    cycles/00000001/abandoned.json   why it was given up

Each is written once, with `put_if_absent`, like everything in a registry. What is about to be done is fixed before it
is done, and every step may be done twice, so that whoever goes on after a kill, or beside somebody else, does the same
work and takes the result of whoever was first.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from schemas.cycles import (
    ANNOTATE,
    REANNOTATE,
    STEPS,
    Beginning,
    Cycle,
    LabelRef,
    StepResult,
    read_beginning,
    read_result,
)
from schemas.errors import StorageError
from schemas.manifest import dump_json
from schemas.registry import CheckpointRecord
from schemas.slices import FileRef
from training.registry.records import read_json, write_once
from transforms.storage.store import Store

CYCLES = "cycles"
_BEGIN, _ABANDONED = "begin", "abandoned"
_NAME = re.compile(r"\d{8}")
_POOL = 16


def name_cycle(number: int) -> str:
    """The folder of a cycle, in the state and wherever else it writes.

    >>> name_cycle(7)
    '00000007'
    """
    return f"{number:08d}"


def read_cycles(store: Store) -> tuple[Cycle, ...]:
    """All cycles, in order.

    Raises:
      StorageError: one is missing or damaged.
    """
    names = [name for name in store.list(CYCLES) if _NAME.fullmatch(name)]
    with ThreadPoolExecutor(_POOL) as pool:
        found = [cycle for cycle in pool.map(lambda name: _read_cycle(store, int(name)), names) if cycle]
    for number, cycle in enumerate(found, 1):
        if cycle.number != number:
            raise StorageError(f"lost {_file(number, _BEGIN)!r}, though {_file(cycle.number, _BEGIN)!r} exists")
    return tuple(found)


def begin_cycle(store: Store, beginning: Beginning) -> Cycle:
    """Begins a cycle, unless somebody else has begun one of that number, which is gone on with then."""
    store.put_if_absent(_file(beginning.number, _BEGIN), dump_json(beginning.to_json()))
    cycle = _read_cycle(store, beginning.number)
    if cycle is None:
        raise StorageError(f"lost {_file(beginning.number, _BEGIN)!r}, which was written just now")
    return cycle


def record_result(store: Store, number: int, result: StepResult) -> StepResult:
    """Keeps what a step came to; returns what counts, which is another's where another was first."""
    write_once(store, _file(number, result.step), result)
    return read_result(read_json(store, _file(number, result.step)))


def abandon_cycle(store: Store, number: int, reason: str) -> None:
    """Gives a cycle up."""
    store.put_if_absent(_file(number, _ABANDONED), dump_json({"reason": reason}))


def find_new_inputs(cycles: Iterable[Cycle], files: Iterable[FileRef]) -> tuple[FileRef, ...]:
    """The files that no cycle has annotated, or that changed since."""
    annotated = {file for cycle in cycles if ANNOTATE in cycle.results for file in cycle.beginning.inputs}
    return tuple(file for file in files if file.without_secret() not in annotated)


def find_labels(
    cycles: Sequence[Cycle], labels: Iterable[LabelRef], champion: str, records: Mapping[str, CheckpointRecord]
) -> tuple[LabelRef, ...]:
    """The labelled files to train on: none unless one has arrived, else all that the champion has not learned.

    A file has arrived that no cycle has trained on, but for cycles that were given up. Files of a candidate that was
    refused or rolled back are trained on again with those that come later.

    Args:
      cycles: all cycles.
      labels: labelled files as they are now.
      champion: digest of the champion.
      records: checkpoints of the registry by digest.
    """
    tried = {file.digest for cycle in cycles if not cycle.abandoned for file in cycle.beginning.labels}
    learned = _find_learned(cycles, champion, records)
    by_digest = {file.digest: file for file in labels}
    if not by_digest.keys() - tried - learned:
        return ()
    return tuple(sorted((by_digest[digest] for digest in by_digest.keys() - learned), key=lambda file: file.source))


def find_models(cycles: Iterable[Cycle]) -> dict[int, str]:
    """The checkpoint that annotated the input of each cycle last, by number, of those that annotated something."""
    models = {}
    for cycle in cycles:
        if cycle.run:
            models[cycle.number] = cycle.beginning.champion
        if REANNOTATE in cycle.results:
            values = cycle.results[REANNOTATE].values
            models |= {int(number): values["model"] for number in values.get("runs", ())}
    return models


def _find_learned(cycles: Iterable[Cycle], champion: str, records: Mapping[str, CheckpointRecord]) -> set[str]:
    """Digests of the files that a checkpoint, and those that it was trained from, were trained on."""
    makers = {cycle.promoted: cycle for cycle in cycles if cycle.promoted}
    learned: set[str] = set()
    digest = champion
    while digest:
        record = records.get(digest)
        learned |= {
            data["digest"] for data in ((record and record.card) or {}).get("data", ()) if data["role"] == "train"
        }
        maker = makers.pop(digest, None)
        learned |= {file.digest for file in maker.beginning.labels} if maker else set()
        digest = maker.beginning.champion if maker else ""
    return learned


def _read_cycle(store: Store, number: int) -> Cycle | None:
    begin = read_json(store, _file(number, _BEGIN))
    if begin is None:
        return None
    values = {step: read_json(store, _file(number, step)) for step in STEPS}
    abandoned = read_json(store, _file(number, _ABANDONED))
    return Cycle(
        beginning=read_beginning(begin),
        results={step: read_result(value) for step, value in values.items() if value is not None},
        abandoned=abandoned["reason"] if abandoned else "",
    )


def _file(number: int, name: str) -> str:
    return f"{CYCLES}/{name_cycle(number)}/{name}.json"
