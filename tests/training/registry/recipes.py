"""Small folders that pass for models, and stores that fail when told to."""

from pathlib import Path

from schemas.registry import CheckpointRecord, GateResult, SetScore, Verdict
from training.registry.checkpoints import Source, add_source
from training.registry.records import CHECKPOINTS, RECORDS, write_once
from transforms.models.checkpoint import digest_folder

EARLY, LATE = "2026-01-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"


class KilledError(BaseException):
    """The process is gone."""


class MortalStore:
    """A store that lets a number of operations through and then is gone, before the next or just after it."""

    def __init__(self, store, life, *, dies_after=False):
        self._store, self._life, self._dies_after = store, life, dies_after

    def __getattr__(self, name):
        real = getattr(self._store, name)

        def counted(*arguments):
            self._life -= 1
            if self._life < 0 and not self._dies_after:
                raise KilledError
            answer = real(*arguments)
            if self._life < 0:
                if hasattr(answer, "close"):
                    answer.close()
                raise KilledError
            return answer

        return counted


class WatchedStore:
    """A store that does something, once, before or after it puts a name with a beginning."""

    def __init__(self, store, prefix, *, before=None, after=None):
        self._store, self._prefix, self._before, self._after = store, prefix, before, after

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_if_absent(self, name, content):
        is_it = name.startswith(self._prefix)
        if is_it and self._before:
            act, self._before = self._before, None
            act()
        answer = self._store.put_if_absent(name, content)
        if is_it and self._after:
            act, self._after = self._after, None
            act()
        return answer


def write_folder(folder: Path, weights: str = "w") -> Path:
    """Files that have the names of a model's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"model": {}}')
    (folder / "model.safetensors").write_bytes(weights.encode() * 1000)
    return folder


def add_folder(store, folder: Path, *, base: Path | None = None):
    """Adds a folder as a model, or as an adapter of a base, without a look at what is in it."""
    kind = "adapter" if base else "model"
    return add_source(store, Source(folder=folder, digest=digest_folder(folder), kind=kind, base=base), command="add")


def put_record(store, digest: str, *, at: str = EARLY, base: str = "", parent: str = "", copy: int = 0) -> str:
    """A complete checkpoint with one file; returns its digest."""
    record = CheckpointRecord(
        digest=digest,
        copy=copy,
        kind="adapter" if base else "model",
        weights_digest=f"weights-{digest}",
        base=base,
        files={},
        card={"base_digest": f"weights-{parent}"} if parent else None,
        at=at,
        command="add",
    )
    store.put(f"{CHECKPOINTS}/{record.name}/model.safetensors", b"weights")
    write_once(store, f"{RECORDS}/{record.name}.json", record)
    return digest


def make_verdict(*, champion="", passed=True, gates_digest="g"):
    """What one gate said."""
    gate = GateResult(
        name="retain news PER", measured=-2.0, interval=(-3.0, -1.0), limit=-1.0, passed=passed, sentence="PER changes"
    )
    score = SetScore(name="news", digest="d", documents=10, scores=(), ece=0.1)
    return Verdict(champion=champion, gates_digest=gates_digest, gates=(gate,), sets=(score,))


def read_files(store) -> dict[str, bytes]:
    """Every file of a store with its content."""
    return {name: store.read(name) for name in sorted(store.walk())}
