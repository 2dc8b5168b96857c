"""A run directory: what is planned, what is committed, and whether the two agree.

    run=<fingerprint>/  _plan.json _plan.0002.json ...   slices, each plan adding what is new; see plans.py
                        _commits/<slice_id>              receipts; the only truth about what is done
                        data/ dead/ report/              what people read
                        _MANIFEST.json _SUCCESS          written when every slice is committed

A run grows by plans and never changes what it has planned. Plans know a file by its URL as it may be shown: a password,
or the query of a signed address, is never written. The listing of each start gives it back, so that it may change.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigError, ManifestError
from schemas.manifest import Manifest
from schemas.receipts import Receipt
from schemas.slices import FileRef, Slice, display_uri
from schemas.tables import FileTable, SliceTable, name_array
from transforms.storage.commits import ATTEMPTS, COMMITS, DATA, DEAD, publish_slice, read_receipt
from transforms.storage.manifests import SUCCESS, OutputFiles, put_manifest
from transforms.storage.plans import (
    current_files,
    current_slices,
    draft_plan,
    plan_name,
    put_plan,
    read_plans,
    sweep_plans,
)
from transforms.storage.store import Store, open_store
from transforms.storage.work import sweep_work
from transforms.storage.written import REPAIR
from transforms.workers.threads import map_ahead

LEAST_SLICE_BYTES, MOST_SLICE_BYTES = 512 << 10, 64 << 20
WANTED_SLICES, SLICES_PER_WORKER = 256, 32

CutFiles = Callable[[FileTable, int], Iterable[Slice]]
ChooseBytes = Callable[[FileTable], int]


@dataclasses.dataclass(frozen=True)
class RunState:
    """A run as its plans tell.

    Attributes:
      files: every input file, as it is listed now where it is.
      slices: every slice, in order of number.
      slice_bytes: wanted size of a slice.
      n_plans: how many plans it has.
    """

    files: FileTable
    slices: SliceTable
    slice_bytes: int
    n_plans: int


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


def choose_slice_bytes(files: Sequence[FileRef], *, n_workers: int = 1) -> int:
    """A slice size for a corpus and its workers, within 512 KiB and 64 MiB.

    Each worker gets some tens of slices, so that they end at about the same time; a corpus has some hundreds at least,
    so that a crash costs little.
    """
    total: int = pc.sum(FileTable.of(files).column("size_bytes"), min_count=0).as_py()
    return max(LEAST_SLICE_BYTES, min(MOST_SLICE_BYTES, total // max(WANTED_SLICES, SLICES_PER_WORKER * n_workers)))


def plan_run(
    store: Store,
    settings: Mapping[str, Any],
    files: Sequence[FileRef],
    cut: CutFiles,
    *,
    slice_bytes: int | ChooseBytes,
    changes: InputChanges,
) -> RunState:
    """Reads the run's plans and adds one for the files that are new.

    Args:
      store: the run's store.
      settings: everything that changes output.
      files: the input as it is listed now.
      cut: cuts files into slices of a wanted size.
      slice_bytes: wanted size of a slice; or what chooses one for a corpus, which 0 leaves to `choose_slice_bytes`.
      changes: what may have happened to planned files.

    Raises:
      ConfigError: a planned file changed or is gone, another slice size was planned, or two files have one source.
    """
    listed = FileTable.of(files)
    _check_sources(listed)
    while True:
        plans = read_plans(store)
        known = _Known(current_files(plans), listed)
        known = known.filter(pc.invert(pc.and_(known.have_changed, _are_among(known.files, changes.replaced))))
        _check_inputs(known, allow_removed=changes.allow_removed)
        if plans and not callable(slice_bytes) and slice_bytes not in (0, plans[0].slice_bytes):
            raise ConfigError(
                f"expected --slice-size {plans[0].slice_bytes} as this run was planned with, found {slice_bytes}; "
                "leave it out or choose another --output"
            )
        size = plans[0].slice_bytes if plans else _choose(slice_bytes, listed)
        new = listed.filter(pc.invert(pc.is_in(listed.sources(), value_set=known.files.column("uri"))))
        slices = current_slices(plans)
        kept = slices.filter(pc.is_in(slices.column("uri"), value_set=known.files.column("uri")))
        files_now, slices_now = known.files.relisted(listed), kept.relisted(listed)
        if plans and not len(new):
            return RunState(files_now, slices_now, size, len(plans))
        draft = draft_plan(store, len(plans) + 1, cut(new, size), first=sum(len(plan.slices) for plan in plans))
        store.delete(SUCCESS)
        if put_plan(store, draft, settings, size, new):
            files_now, slices_now = FileTable.concat((files_now, new)), SliceTable.concat((slices_now, draft.slices))
            return RunState(files_now, slices_now, size, draft.number)
        # Another driver planned at the same moment: read what it planned and look again.


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
    if store.size(plan_name(1)) is not None:
        return root
    runs = [name for name in store.list("") if name.startswith("run=") and store.size(f"{name}/{plan_name(1)}")]
    if len(runs) > 1:
        raise ConfigError(
            f"expected one run in {display_uri(root)!r}, found {len(runs)}: {', '.join(map(repr, runs))}; name one"
        )
    return f"{root}/{runs[0]}" if runs else ""


def pending_slices(store: Store, slices: Sequence[Slice]) -> SliceTable:
    """The slices that are not committed, largest first."""
    table = SliceTable.of(slices)
    left = table.filter(pc.invert(pc.is_in(table.ids, value_set=name_array(store.list(COMMITS)))))
    return left.largest_first()


def is_complete(store: Store, slices: Sequence[Slice]) -> bool:
    """Whether an earlier start finished all of this."""
    return store.size(SUCCESS) is not None and not pending_slices(store, slices)


def reconcile(
    store: Store, slices: Sequence[Slice], take: Callable[[Slice, Receipt], object] = lambda *_: None
) -> OutputFiles:
    """Compares storage with the plan, publishes what a crash left unpublished, and returns every output file.

    Args:
      store: the run's store.
      slices: all that is planned.
      take: is given each slice with its receipt, in order.

    Raises:
      ManifestError: a slice is missing or unplanned, a file has the wrong size, or a foreign one lies in `data`.
      StorageError: a committed file is lost.
    """
    planned = SliceTable.of(slices).ids
    committed = name_array(store.list(COMMITS))
    n_missing = pc.sum(pc.invert(pc.is_in(planned, value_set=committed)), min_count=0).as_py()
    if n_missing:
        raise ManifestError(
            f"expected {len(planned)} committed slices, found {n_missing} missing; run the command again"
        )
    extra = pc.filter(committed, pc.invert(pc.is_in(committed, value_set=planned))).to_pylist()
    if extra := sorted(name for name in extra if len(name) == 20):
        raise ManifestError(f"expected only planned slices in {COMMITS}, found {extra[:3]}")
    outputs = OutputFiles()
    for slice_, receipt in map_ahead(lambda slice_: (slice_, _settle(store, slice_)), slices):
        outputs.add(receipt)
        take(slice_, receipt)
    for folder in (DATA, DEAD):
        if foreign := outputs.find_foreign(folder, store.list(folder)):
            raise ManifestError(f"expected only files of this run in {folder!r}, found {foreign[:3]}; move them away")
    return outputs


def read_receipts(store: Store, slices: Sequence[Slice]) -> Iterator[Receipt]:
    """The receipt of every slice, in their order; nothing else is looked at.

    Raises:
      ManifestError: a slice has none.
    """
    return map_ahead(lambda slice_: _read_receipt(store, slice_), slices)


def complete_run(store: Store, manifest: Manifest, *, n_plans: int = 0) -> None:
    """Writes the manifest and then `_SUCCESS`, and sweeps what losing attempts and crashed starts left behind.

    Args:
      store: the run's store.
      manifest: what the run has written.
      n_plans: of how many plans every slice is committed.
    """
    put_manifest(store, manifest)
    store.put(SUCCESS, b"")
    committed = set(store.list(COMMITS))
    for name in store.list(ATTEMPTS):
        # A slice that is committed has no use for another attempt; one that is not may be in the making.
        if name.partition("-")[0] in committed:
            store.delete(f"{ATTEMPTS}/{name}")
    sweep_plans(store)
    sweep_work(store, n_plans)


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
            raise ManifestError(f"expected {file['size_bytes']} bytes in {file['final']!r}, found {size}; {REPAIR}")
    return receipt


def _choose(slice_bytes: int | ChooseBytes, files: FileTable) -> int:
    return slice_bytes(files) if callable(slice_bytes) else slice_bytes or choose_slice_bytes(files)


def _check_sources(listed: FileTable) -> None:
    """Plans know files by the URL without password and query.

    Raises:
      ConfigError: two have the same.
    """
    counts = pc.value_counts(listed.sources())
    n_files = counts.field("counts")
    if len(counts) < len(listed):
        at = pc.index(n_files, pc.max(n_files)).as_py()
        raise ConfigError(
            "expected input files that differ in more than password and query, which a run does not keep, "
            f"found {n_files[at]} as {counts.field('values')[at].as_py()!r}; annotate each into an --output of its own"
        )


class _Known:
    """Files that are planned beside what is listed of them now.

    Args:
      files: as they are planned.
      listed: what is listed.
    """

    def __init__(self, files: FileTable, listed: FileTable) -> None:
        self.files = files
        self._listed = listed
        at = pc.index_in(files.column("uri"), value_set=listed.sources())
        self.are_removed = pc.is_null(at)
        pairs = [(files.column(name), listed.column(name).take(at)) for name in ("size_bytes", "version")]
        self.have_changed = pc.fill_null(pc.or_(*(pc.not_equal(*pair) for pair in pairs)), fill_value=False)

    def filter(self, mask: Any) -> "_Known":
        """Those for which a mask holds."""
        return _Known(self.files.filter(mask), self._listed)


def _are_among(files: FileTable, sources: Collection[str]) -> Any:
    return pc.is_in(files.column("uri"), value_set=pa.array(sources, pa.large_string()))


def _check_inputs(known: _Known, *, allow_removed: bool) -> None:
    if changed := sorted(known.files.filter(known.have_changed).column("uri").to_pylist()):
        raise ConfigError(
            f"expected input {display_uri(changed[0])!r} as this run read it, found it changed "
            f"({len(changed)} in all); choose another --output"
        )
    removed = sorted(known.files.filter(known.are_removed).column("uri").to_pylist())
    if removed and not allow_removed:
        raise ConfigError(
            f"expected input {display_uri(removed[0])!r}, which this run has read, found it gone ({len(removed)} in "
            "all); choose another --output, or --allow-removed-inputs to keep its annotations"
        )
