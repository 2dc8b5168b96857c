"""A run directory: what is planned, what is committed, and whether the two agree.

    run=<fingerprint>/  _plan.json _plan.0002.json ...   slices, each plan adding what is new
                        _commits/<slice_id>              receipts; the only truth about what is done
                        data/ dead/ report/              what people read
                        _MANIFEST.json _SUCCESS          written when every slice is committed

A run grows by plans and never changes what it has planned. Plans know a file by its URL as it may be shown: a password,
or the query of a signed address, is never written. The listing of each start gives it back, so that it may change.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from schemas.errors import ConfigError, ManifestError
from schemas.manifest import Manifest, Plan, dump_json, explain_json
from schemas.receipts import Receipt
from schemas.slices import FileRef, Slice, display_uri
from transforms.storage.commits import ATTEMPTS, COMMITS, DATA, DEAD, publish_slice, read_receipt
from transforms.storage.store import Store, open_store

SUCCESS, MANIFEST = "_SUCCESS", "_MANIFEST.json"
LEAST_SLICE_BYTES, MOST_SLICE_BYTES, WANTED_SLICES = 512 << 10, 64 << 20, 256
_POOL = 16

CutFiles = Callable[[Sequence[FileRef], int], Iterable[Slice]]


@dataclasses.dataclass(frozen=True)
class RunState:
    """A run as its plans tell.

    Attributes:
      files: every input file, as it is listed now where it is.
      slices: every slice, in order of number.
      slice_bytes: wanted size of a slice.
    """

    files: tuple[FileRef, ...]
    slices: tuple[Slice, ...]
    slice_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputChanges:
    """What may have happened to input files since a run read them.

    Attributes:
      allow_removed: keep the annotations of files that are gone.
      replaced: sources of files that may have changed; they are planned anew, and what they were before is no part of
        the run.
    """

    allow_removed: bool = False
    replaced: Collection[str] = ()


def choose_slice_bytes(files: Sequence[FileRef]) -> int:
    """A slice size that gives a corpus some hundreds of slices, within 512 KiB and 64 MiB."""
    total = sum(file.size_bytes for file in files)
    return max(LEAST_SLICE_BYTES, min(MOST_SLICE_BYTES, total // WANTED_SLICES))


def plan_run(
    store: Store,
    settings: Mapping[str, Any],
    files: Sequence[FileRef],
    cut: CutFiles,
    *,
    slice_bytes: int,
    changes: InputChanges,
) -> RunState:
    """Reads the run's plans and adds one for the files that are new.

    Args:
      store: the run's store.
      settings: everything that changes output.
      files: the input as it is listed now.
      cut: cuts files into slices of a wanted size.
      slice_bytes: wanted size of a slice; 0 lets the size of the corpus decide.
      changes: what may have happened to planned files.

    Raises:
      ConfigError: a planned file changed or is gone, another slice size was planned, or two files have one source.
    """
    listed = _by_source(files)
    while True:
        plans = read_plans(store)
        known = {file.uri: file for plan in plans for file in plan.files}
        slices = current_slices(plans)
        changed = {source for source in changes.replaced if _differ(known.get(source), listed.get(source))}
        kept = {source: file for source, file in known.items() if source not in changed}
        _check_inputs(kept, listed, allow_removed=changes.allow_removed)
        if plans and slice_bytes not in (0, plans[0].slice_bytes):
            raise ConfigError(
                f"expected --slice-size {plans[0].slice_bytes} as this run was planned with, found {slice_bytes}; "
                "leave it out or choose another --output"
            )
        size = plans[0].slice_bytes if plans else slice_bytes or choose_slice_bytes(files)
        new = [file for file in files if file.source not in kept]
        known_files = [listed.get(source, file) for source, file in kept.items()]
        known_slices = [_relist(slice_, listed) for slice_ in slices if slice_.file.uri in kept]
        if plans and not new:
            return RunState(tuple(known_files), tuple(known_slices), size)
        n_planned = sum(len(plan.slices) for plan in plans)
        numbered = tuple(dataclasses.replace(slice_, number=n_planned + at) for at, slice_ in enumerate(cut(new, size)))
        plan = Plan(settings, size, tuple(new), numbered)
        store.delete(SUCCESS)
        if store.put_if_absent(_plan_name(len(plans) + 1), dump_json(plan.to_json())):
            return RunState((*known_files, *new), (*known_slices, *numbered), size)
        # Another driver planned at the same moment: read what it planned and look again.


def read_plans(store: Store) -> list[Plan]:
    """Every plan of a run, in order; none where no run lies.

    Raises:
      ConfigError: a plan cannot be read, or holds a password or the query of a URL, as those of earlier versions may.
    """
    plans: list[Plan] = []
    while True:
        try:
            content = store.read(_plan_name(len(plans) + 1))
        except FileNotFoundError:
            return plans
        try:
            plans.append(Plan.from_json(json.loads(content)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"expected a plan in {_plan_name(len(plans) + 1)}, found {explain_json(error)}; a "
                "run cannot go on without its plans: bring the file back, or choose another --output"
            ) from error
        if told := [file.source for file in plans[-1].files if file.source != file.uri]:
            raise ConfigError(
                f"expected input {told[0]!r} without password and query in {_plan_name(len(plans))!r}, found both; "
                "an earlier version wrote them: delete the run and annotate again"
            )


def current_slices(plans: Sequence[Plan]) -> tuple[Slice, ...]:
    """The slices of a run in order; a file that a later plan holds again is as that plan has it."""
    latest = {file.uri: number for number, plan in enumerate(plans) for file in plan.files}
    return tuple(
        slice_
        for number, plan in enumerate(plans)
        for slice_ in plan.slices
        if latest.get(slice_.file.uri, number) == number
    )


def find_run(root: str) -> str:
    """The folder or URL of a run, or the one above it, in; that of the run out, or an empty string where none lies.

    Raises:
      ConfigError: several runs lie in the one above.
    """
    root = root.rstrip("/") or root
    try:
        store = open_store(root)
    except ConfigError:
        # Where no run can be written, none can be found.
        return ""
    if store.size(_plan_name(1)) is not None:
        return root
    runs = [name for name in store.list("") if name.startswith("run=") and store.size(f"{name}/{_plan_name(1)}")]
    if len(runs) > 1:
        raise ConfigError(
            f"expected one run in {display_uri(root)!r}, found {len(runs)}: {', '.join(map(repr, runs))}; name one"
        )
    return f"{root}/{runs[0]}" if runs else ""


def pending_slices(store: Store, slices: Sequence[Slice]) -> list[Slice]:
    """The slices that are not committed, largest first."""
    done = set(store.list(COMMITS))
    return sorted(
        (slice_ for slice_ in slices if slice_.slice_id not in done),
        key=lambda slice_: (-_weight(slice_), slice_.number),
    )


def is_complete(store: Store, slices: Sequence[Slice]) -> bool:
    """Whether an earlier start finished all of this."""
    return store.size(SUCCESS) is not None and not pending_slices(store, slices)


def reconcile(store: Store, slices: Sequence[Slice]) -> list[Receipt]:
    """Compares storage with the plan, publishes what a crash left unpublished, and returns every receipt.

    Raises:
      ManifestError: a slice is missing or unplanned, a file has the wrong size, or a foreign one lies in `data`.
      StorageError: a committed file is lost.
    """
    planned = {slice_.slice_id for slice_ in slices}
    committed = set(store.list(COMMITS))
    if missing := planned - committed:
        raise ManifestError(
            f"expected {len(planned)} committed slices, found {len(missing)} missing; run the command again"
        )
    if extra := {name for name in committed - planned if len(name) == 20}:
        raise ManifestError(f"expected only planned slices in {COMMITS}, found {sorted(extra)[:3]}")
    with ThreadPoolExecutor(_POOL) as pool:
        receipts = list(pool.map(lambda slice_: _settle(store, slice_), slices))
    files = {file["final"]: file for receipt in receipts for file in receipt.files}
    for folder in (DATA, DEAD):
        if foreign := sorted(name for name in store.list(folder) if f"{folder}/{name}" not in files):
            raise ManifestError(f"expected only files of this run in {folder!r}, found {foreign[:3]}; move them away")
    return receipts


def read_receipts(store: Store, slices: Sequence[Slice]) -> list[Receipt]:
    """The receipt of every slice, in their order; nothing else is looked at.

    Raises:
      ManifestError: a slice has none.
    """
    with ThreadPoolExecutor(_POOL) as pool:
        return list(pool.map(lambda slice_: _read_receipt(store, slice_), slices))


def complete_run(store: Store, manifest: Manifest) -> None:
    """Writes the manifest and then `_SUCCESS`, and sweeps what losing attempts left behind."""
    store.put(MANIFEST, dump_json(manifest.to_json()))
    store.put(SUCCESS, b"")
    committed = set(store.list(COMMITS))
    for name in store.list(ATTEMPTS):
        # A slice that is committed has no use for another attempt; one that is not may be in the making.
        if name.partition("-")[0] in committed:
            store.delete(f"{ATTEMPTS}/{name}")


def _read_receipt(store: Store, slice_: Slice) -> Receipt:
    receipt = read_receipt(store, slice_.slice_id)
    if receipt is None:
        raise ManifestError(f"expected a receipt of slice {slice_.slice_id}, found none")
    return receipt


def _settle(store: Store, slice_: Slice) -> Receipt:
    receipt = _read_receipt(store, slice_)
    publish_slice(store, receipt)
    for file in receipt.files:
        if (size := store.size(file["final"])) != file["size_bytes"]:
            raise ManifestError(f"expected {file['size_bytes']} bytes in {file['final']!r}, found {size}")
    return receipt


def _plan_name(number: int) -> str:
    return "_plan.json" if number == 1 else f"_plan.{number:04d}.json"


def _by_source(files: Sequence[FileRef]) -> dict[str, FileRef]:
    """Files by the URL that plans know them by.

    Raises:
      ConfigError: two have the same.
    """
    listed = {file.source: file for file in files}
    if len(listed) < len(files):
        source, n_files = Counter(file.source for file in files).most_common(1)[0]
        raise ConfigError(
            "expected input files that differ in more than password and query, which a run does not keep, "
            f"found {n_files} as {source!r}; annotate each into an --output of its own"
        )
    return listed


def _differ(known: FileRef | None, listed: FileRef | None) -> bool:
    """Whether a file is planned and is listed, and as another."""
    return known is not None and listed is not None and known != listed.without_secret()


def _relist(slice_: Slice, listed: Mapping[str, FileRef]) -> Slice:
    """A planned slice with its file as it is listed, where it is."""
    return dataclasses.replace(slice_, file=listed.get(slice_.file.uri, slice_.file))


def _check_inputs(known: Mapping[str, FileRef], listed: Mapping[str, FileRef], *, allow_removed: bool) -> None:
    changed = sorted(source for source in known if _differ(known[source], listed.get(source)))
    if changed:
        raise ConfigError(
            f"expected input {display_uri(changed[0])!r} as this run read it, found it changed "
            f"({len(changed)} in all); choose another --output"
        )
    removed = sorted(known.keys() - listed.keys())
    if removed and not allow_removed:
        raise ConfigError(
            f"expected input {display_uri(removed[0])!r}, which this run has read, found it gone ({len(removed)} in "
            "all); choose another --output, or --allow-removed-inputs to keep its annotations"
        )


def _weight(slice_: Slice) -> int:
    """Size of a slice for ordering: bytes where they are known, else documents."""
    return slice_.end - slice_.start if slice_.format in ("jsonl", "text") else slice_.rows
