"""What a registry throws away, and why that is safe while others promote.

    read history and records ──> choose ──> put the next entry of the history, which names what goes ──> delete
              ▲                                          │ lost
              └──────────────────────────────────────────┘

A collection is an entry of the history like a promotion, and both need the same number. Where a promotion got it, the
collection reads again and finds the new champion among what is needed; where the collection got it, the promotion
reads again and finds that its candidate is gone, before it promotes anything. Only then are files deleted, and whoever
is killed while deleting leaves the rest to the next collection, for the history names it.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.errors import ConfigError
from schemas.registry import COLLECTION, CheckpointRecord, HistoryEntry, Refusal
from training.registry.history import append_entry, find_ascent, find_champion, new_token, read_history
from training.registry.records import (
    BEGUN,
    CHECKPOINTS,
    RECORDS,
    days_since,
    read_json,
    read_records,
    read_refusals,
    split_name,
    tell_time,
)
from transforms.storage.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keeping:
    """What stays.

    Attributes:
      entries: champions of this many of the latest promotions and rollbacks.
      days: checkpoints that were added or refused, or began to be added, less than so many days ago.
    """

    entries: int = 5
    days: float = 30.0

    def __post_init__(self) -> None:
        if self.entries < 1:
            raise ConfigError(f"expected to keep 1 entry or more, found {self.entries}")
        if not self.days >= 0:
            raise ConfigError(f"expected to keep 0 days or more, found {self.days}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistryState:
    """All that a registry holds.

    Attributes:
      entries: its history.
      records: complete checkpoints by digest.
      refusals: refused candidates.
      unfinished: when copies without a record began, by name; empty where that is not known.
      garbage: files of copies that were collected, and of none.
    """

    entries: tuple[HistoryEntry, ...]
    records: Mapping[str, CheckpointRecord]
    refusals: Sequence[Refusal]
    unfinished: Mapping[str, str]
    garbage: tuple[str, ...]


def read_state(store: Store) -> RegistryState:
    """All that a registry holds; the history is read first, so that what comes later is seen by its next number."""
    entries = read_history(store)
    records = read_records(store, entries)
    removed = {name for entry in entries for name in entry.removed}
    complete = {record.name for record in records.values()}
    files = list(store.walk())
    names = {file.split("/")[1] for file in files if file.startswith(f"{CHECKPOINTS}/")}
    unfinished = {}
    for name in names - removed - complete:
        begun = read_json(store, f"{CHECKPOINTS}/{name}/{BEGUN}")
        unfinished[name] = begun["at"] if begun else ""
    return RegistryState(
        entries=entries,
        records=records,
        refusals=read_refusals(store),
        unfinished=unfinished,
        garbage=tuple(sorted((file for file in files if _name_owner(file) in removed), key=_order)),
    )


def choose_garbage(state: RegistryState, keeping: Keeping, now: str) -> tuple[str, ...]:
    """The names of the copies that nobody needs, sorted.

    The champion is needed, and the champions of the latest entries, what was added or refused of late, what these were
    trained from, and the base of whatever is needed. Not needed is what a parent was trained from in its turn, or
    nothing would ever go.
    """
    wanted = {find_champion(state.entries)}
    ascents = [entry for entry in state.entries if entry.kind != COLLECTION]
    wanted |= {entry.champion for entry in ascents[-keeping.entries :]}
    wanted |= {refusal.digest for refusal in state.refusals if days_since(refusal.at, now) < keeping.days}
    wanted |= {digest for digest, record in state.records.items() if days_since(record.at, now) < keeping.days}
    wanted |= set(_find_parents(state.records, wanted))
    wanted |= {state.records[digest].base for digest in wanted if digest in state.records}
    garbage = [record.name for digest, record in state.records.items() if digest not in wanted]
    garbage += [name for name, begun in state.unfinished.items() if begun and days_since(begun, now) >= keeping.days]
    return tuple(sorted(name for name in garbage if split_name(name)[0]))


def collect_garbage(
    store: Store, keeping: Keeping, *, command: str, now: str = "", dry_run: bool = False
) -> tuple[str, ...]:
    """Removes the copies that nobody needs, and what earlier collections left; returns their names.

    Args:
      store: the registry's store.
      keeping: what stays.
      command: the command, for the history.
      now: the time by which ages are told; the clock's unless it is given.
      dry_run: only say what would go.
    """
    while True:
        state = read_state(store)
        names = choose_garbage(state, keeping, now or tell_time())
        if dry_run or not names or append_entry(store, _describe(state.entries, names, command)):
            break
    if not dry_run:
        for file in read_state(store).garbage:
            store.delete(file)
    return names


def _describe(entries: Sequence[HistoryEntry], names: tuple[str, ...], command: str) -> HistoryEntry:
    ascent = find_ascent(entries)
    return HistoryEntry(
        number=len(entries) + 1,
        kind=COLLECTION,
        champion=find_champion(entries),
        copy=ascent.copy if ascent else 0,
        replaces=find_champion(entries),
        at=tell_time(),
        command=command,
        token=new_token(),
        removed=names,
    )


def _find_parents(records: Mapping[str, CheckpointRecord], digests: Iterable[str]) -> Iterator[str]:
    by_weights = {record.weights_digest: digest for digest, record in records.items()}
    for digest in digests:
        if digest in records and (parent := by_weights.get(records[digest].parent_weights)):
            yield parent


def _name_owner(file: str) -> str:
    """The copy that a file belongs to; empty for none."""
    folder, _, rest = file.partition("/")
    if folder == RECORDS:
        return rest.removesuffix(".json")
    return rest.partition("/")[0] if folder == CHECKPOINTS else ""


def _order(file: str) -> tuple[bool, str]:
    """Records go first: what has one is complete."""
    return not file.startswith(f"{RECORDS}/"), file
