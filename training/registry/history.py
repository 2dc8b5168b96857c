"""Who is champion: a history to which entries are only ever added.

    read the history, its last number is n ──> is it still as expected? ──> put n + 1 if absent
                 ▲                                                                │ lost
                 └────────────────────────────────────────────────────────────────┘

Whoever creates a number has decided; everybody else reads again and sees whether what they want still makes sense. A
promotion says which champion it replaces, so of two that were judged against the same champion one wins, and the
other is told by whom it was beaten.
"""

import dataclasses
import re
import uuid
from collections.abc import Sequence

from schemas.errors import ConfigError, ConflictError, StorageError
from schemas.registry import (
    COLLECTION,
    PROMOTION,
    ROLLBACK,
    CheckpointRecord,
    HistoryEntry,
    Verdict,
    name_copy,
    read_history_entry,
)
from training.registry.records import HISTORY, count_copies, read_json, read_record, tell_time, write_once
from transforms.storage.store import Store

_NAME = re.compile(r"(\d{8})\.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a new champion comes with.

    Attributes:
      replaces: digest of the champion that it was judged against; empty for none.
      command: the command.
      verdict: how it was judged.
      forced: why it is promoted all the same, where it did not pass.
    """

    replaces: str
    command: str
    verdict: Verdict | None = None
    forced: str = ""


def read_history(store: Store) -> tuple[HistoryEntry, ...]:
    """All entries, in order.

    Raises:
      StorageError: one is missing or damaged.
    """
    last = max((int(match[1]) for match in map(_NAME.fullmatch, store.list(HISTORY)) if match), default=0)
    entries: list[HistoryEntry] = []
    # What came after the listing is read too.
    while (value := read_json(store, _file(len(entries) + 1))) is not None:
        entries.append(read_history_entry(value))
    if len(entries) < last:
        raise StorageError(f"lost {_file(len(entries) + 1)!r} of the registry, though {_file(last)!r} exists")
    return tuple(entries)


def find_champion(entries: Sequence[HistoryEntry]) -> str:
    """The digest of the champion; empty for none."""
    return entries[-1].champion if entries else ""


def find_ascent(entries: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """The entry that made the champion what it is."""
    return next((entry for entry in reversed(entries) if entry.kind != COLLECTION), None)


def append_entry(store: Store, entry: HistoryEntry) -> bool:
    """Adds an entry, unless somebody else has taken its number."""
    return write_once(store, _file(entry.number), entry)


def promote_checkpoint(store: Store, digest: str, promotion: Promotion) -> HistoryEntry:
    """Makes a checkpoint champion; one that is champion already stays it, without another entry.

    Returns:
      The entry that made it champion.

    Raises:
      ConfigError: it is not in the registry, or its base is not.
      ConflictError: the champion is another than the one it was judged against.
    """
    return _crown(store, digest, PROMOTION, promotion)


def roll_back(store: Store, digest: str, *, replaces: str, command: str) -> HistoryEntry:
    """Makes an earlier champion champion again.

    Args:
      store: the registry's store.
      digest: the earlier champion.
      replaces: digest of the champion that it is to replace.
      command: the command.

    Raises:
      ConfigError: the checkpoint was never champion, or is not in the registry any more.
      ConflictError: the champion is another by now.
    """
    if all(entry.champion != digest for entry in read_history(store)):
        raise ConfigError(f"expected an earlier champion to roll back to, found {digest[:16]!r}; promote it instead")
    return _crown(store, digest, ROLLBACK, Promotion(replaces=replaces, command=command))


def find_predecessor(entries: Sequence[HistoryEntry]) -> str:
    """The champion that the promotion of the present one replaced.

    Raises:
      ConfigError: there is none.
    """
    champion = find_champion(entries)
    for entry in reversed(entries):
        if entry.kind == PROMOTION and entry.champion == champion and entry.replaces:
            return entry.replaces
    raise ConfigError("expected a champion before the present one to roll back to, found none; name a checkpoint")


def require_copy(store: Store, entries: Sequence[HistoryEntry], digest: str) -> CheckpointRecord:
    """The record of a checkpoint that is complete, as its base is, by what the history says so far.

    Raises:
      ConfigError: it is not, or was collected.
    """
    copy = count_copies(entries, digest)
    record = read_record(store, name_copy(digest, copy))
    if record is None:
        collected = next((entry for entry in reversed(entries) if _removes(entry, digest, copy - 1)), None)
        found = f"that it was removed by entry {collected.number} on {collected.at}" if collected else "none"
        raise ConfigError(f"expected checkpoint {digest[:16]!r} in the registry, found {found}; add it again")
    if record.base:
        require_copy(store, entries, record.base)
    return record


def new_token() -> str:
    """What no other record has."""
    return uuid.uuid4().hex


def _crown(store: Store, digest: str, kind: str, promotion: Promotion) -> HistoryEntry:
    while True:
        entries = read_history(store)
        ascent = find_ascent(entries)
        if ascent and ascent.champion == digest:
            return ascent
        if find_champion(entries) != promotion.replaces:
            raise _describe_conflict(ascent, promotion.replaces)
        entry = HistoryEntry(
            number=len(entries) + 1,
            kind=kind,
            champion=digest,
            copy=require_copy(store, entries, digest).copy,
            replaces=promotion.replaces,
            at=tell_time(),
            command=promotion.command,
            token=new_token(),
            forced=promotion.forced,
            verdict=promotion.verdict,
        )
        if append_entry(store, entry):
            return entry


def _describe_conflict(ascent: HistoryEntry | None, replaces: str) -> ConflictError:
    expected = repr(replaces[:16]) if replaces else "no champion"
    found = (
        f"{ascent.champion[:16]!r}, champion by the {ascent.kind} in entry {ascent.number} on {ascent.at}"
        if ascent
        else "none"
    )
    return ConflictError(
        f"expected to replace {expected}, found {found}; nothing was promoted, judge the candidate against that one"
    )


def _removes(entry: HistoryEntry, digest: str, copy: int) -> bool:
    return name_copy(digest, copy) in entry.removed


def _file(number: int) -> str:
    return f"{HISTORY}/{number:08d}.json"
