"""`registry:champion` to a checkpoint that stays the same, whoever is promoted afterwards."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from schemas.checkpoints import MEMORY_FOLDER
from schemas.errors import CheckpointError, ConfigError
from schemas.registry import CheckpointRecord
from schemas.slices import display_uri
from training.registry.history import find_champion, read_history, require_copy
from training.registry.records import CHECKPOINTS, find_record, read_records
from transforms.models.checkpoint import digest_file, fetch_memory, find_checkpoint, list_memory
from transforms.storage.store import Store, open_named

SCHEME = "registry:"
CHAMPION = "champion"


@dataclasses.dataclass(frozen=True)
class PinnedModel:
    """A checkpoint of a registry, as any job takes it.

    Attributes:
      digest: its digest.
      model: its folder or URL.
      base: the same of its base, where it is an adapter; else empty.
      memory: SHA-256 of what it keeps for the next training, by name, hex.
    """

    digest: str
    model: str
    base: str = ""
    memory: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def fetch(self) -> Path:
        """The folder of the checkpoint on this machine, with all that it keeps for the next training.

        Raises:
          CheckpointError: what it keeps is not what it was.
        """
        folder = fetch_memory(self.model)
        kept = list_memory(folder)
        for name, digest in self.memory.items():
            found = digest_file(kept[name]) if name in kept else "none"
            if found != digest:
                raise CheckpointError(
                    f"expected {name!r} of checkpoint {self.digest[:16]} with digest {digest[:16]}, found "
                    f"{found[:16]}; it was changed in the registry"
                )
        return folder


def resolve_reference(reference: str, registry: str, *, flag: str = "--model") -> PinnedModel:
    """A reference to a checkpoint of a registry to where it lies.

    Args:
      reference: `registry:champion`, or `registry:` and the beginning of a digest.
      registry: folder or URL of the registry.
      flag: where the reference came from, for errors.

    Raises:
      ConfigError: there is no registry, no champion or no such checkpoint.
      CheckpointError: its files are not what they were.
    """
    if not registry:
        raise ConfigError(f"expected --registry with {flag} {reference}, found none; give its folder or URL")
    store = open_named(registry, flag="--registry")
    entries = read_history(store)
    wanted = reference.removeprefix(SCHEME)
    if wanted == CHAMPION:
        digest = find_champion(entries)
        if not digest:
            raise ConfigError(f"expected a champion in registry {display_uri(registry)!r}, found none; promote one")
    else:
        digest = find_record(read_records(store, entries), wanted).digest
    return pin_checkpoint(registry, store, digest)


def pin_checkpoint(registry: str, store: Store, digest: str) -> PinnedModel:
    """A checkpoint of a registry, looked at as a whole, to where it lies; errors as above.

    Args:
      registry: folder or URL of the registry.
      store: its store.
      digest: the checkpoint.
    """
    entries = read_history(store)
    record = require_copy(store, entries, digest)
    base = locate_copy(registry, require_copy(store, entries, record.base)) if record.base else ""
    model = locate_copy(registry, record)
    if (found := find_checkpoint(model, base=base).digest) != digest:
        raise CheckpointError(
            f"expected checkpoint {digest[:16]} in its folder of the registry, found {found[:16]}; its files were "
            f"changed: remove {display_uri(model)!r} and its record, and add it again"
        )
    memory = {name: found for name, found in record.files.items() if name.startswith(f"{MEMORY_FOLDER}/")}
    return PinnedModel(digest, model, base, memory)


def locate_copy(registry: str, record: CheckpointRecord) -> str:
    """The folder or URL of a checkpoint of a registry."""
    return f"{_make_absolute(registry)}/{CHECKPOINTS}/{record.name}"


def _make_absolute(registry: str) -> str:
    return registry.rstrip("/") if "://" in registry else str(Path(registry).expanduser().absolute())
