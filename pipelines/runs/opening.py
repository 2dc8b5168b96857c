"""Runs of `spanmill annotate` as the input of other jobs."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option
from schemas.errors import ConfigError, suggest
from schemas.labels import split_tag

if TYPE_CHECKING:
    from schemas.receipts import Receipt
    from schemas.slices import Slice
    from schemas.tables import SliceTable
    from transforms.corpora.documents import CorpusConfig
    from transforms.join import RunConfig, RunFileTable
    from transforms.storage.store import Store

_BUCKET_BYTES, _MOST_BUCKETS = 4 << 20, 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run, finished or not.

    Attributes:
      root: where it lies.
      store: its store.
      settings: everything that shapes its output.
      slices: what its input is cut into, in order.
    """

    root: str
    store: "Store"
    settings: Mapping[str, Any]
    slices: "SliceTable"

    @property
    def unit(self) -> str:
        """Unit of its offsets."""
        return str(self.settings["entities"]["offset_unit"])

    @property
    def corpus(self) -> "CorpusConfig":
        """How its input is read."""
        from transforms.corpora.documents import CorpusConfig

        corpus, most_bytes = self.settings["corpus"], self.settings["entities"]["max_document_bytes"]
        keep_columns = tuple(corpus["keep_columns"])
        return CorpusConfig(**{**corpus, "keep_columns": keep_columns, "max_document_bytes": most_bytes})

    @property
    def labels(self) -> list[str]:
        """Labels of its taggers, in their order."""
        tagger = self.settings["tagger"]
        labels = tagger.get("labels") or (split_tag(tag)[1] for tag in tagger.get("tags", ()))
        return [label for label in dict.fromkeys(labels) if label]

    @property
    def taggers(self) -> tuple[str, ...]:
        """Names of its taggers, in the order of their columns; one alone has the empty name."""
        if "members" not in self.settings["tagger"]:
            return ("",)
        return tuple(dict.fromkeys(label.partition("/")[0] for label in self.labels))

    @property
    def is_flat(self) -> bool:
        """Whether documents without entities have no row."""
        return bool(self.settings["output"]["layout"] == "flat")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompleteRun(Run):
    """A complete run with a row per document.

    Attributes:
      files: what it wrote, by slice.
      size_bytes: size of its annotations.
      digest: SHA-256 over the digests of all that it wrote, hex.
    """

    files: "RunFileTable"
    size_bytes: int
    digest: str

    def configure(self, *, rereads: bool) -> "RunConfig":
        """Where its rows are and how they were written; `rereads` says whether its input is read again for texts.

        Raises:
          ConfigError: it is, and was given with a password or query.
        """
        from transforms.join import RunConfig

        if rereads and (hidden := self.slices.filter(self.slices.column("lacks_secret"))):
            raise ConfigError(
                f"expected input without password or query for --reread-inputs, found {hidden[0].file.source!r}, "
                "which was given with one; a run does not keep it: leave --reread-inputs out"
            )
        return RunConfig(root=self.root, unit=self.unit, corpus=self.corpus if rereads else None)


def run_option(*, is_optional: bool = False) -> Any:
    """The positional option that names a run, for the jobs that take one."""
    return option(
        "folder or URL of a run, or the --output folder above it when it holds one run",
        "" if is_optional else dataclasses.MISSING,
        metavar="RUN",
        is_positional=True,
    )


def open_run(name: str, *, flag: str) -> Run:
    """Opens a run, finished or not.

    Args:
      name: folder or URL of the run, or the one above it when it holds one run.
      flag: where the name came from, for messages.

    Raises:
      ConfigError: there is no run, or several, or their store does not answer.
    """
    from schemas.slices import display_text, display_uri
    from transforms.storage.plans import current_slices, read_plans
    from transforms.storage.runs import find_run
    from transforms.storage.store import open_store

    try:
        root = find_run(name)
        store = open_store(root) if root else None
        plans = read_plans(store) if store else []
    except ConfigError:
        raise
    except Exception as error:
        # Every client has its own errors: no credentials, no such host, no such protocol.
        raise ConfigError(f"cannot read {flag} {display_uri(name)!r}: {display_text(str(error))}") from error
    if store is None or not plans:
        raise ConfigError(f"expected a run of spanmill annotate as {flag}, found none at {display_uri(name)!r}")
    return Run(root=root, store=store, settings=plans[0].settings, slices=current_slices(plans))


def open_complete_run(name: str, *, flag: str) -> CompleteRun:
    """Opens a run that is complete and has a row for every document; arguments as in `open_run`.

    Raises:
      ConfigError: as in `open_run`; or it is not complete, or flat.
      ManifestError: what it wrote is not what it planned.
    """
    from transforms.join import RunFiles, RunFileTable
    from transforms.storage.commits import DATA, DEAD
    from transforms.storage.runs import is_complete, reconcile

    run = open_run(name, flag=flag)
    if run.is_flat:
        raise ConfigError(
            f"expected a run with --layout document as {flag}, found flat, "
            "in which documents without entities have no row"
        )
    if not is_complete(run.store, run.slices):
        raise ConfigError(f"expected a complete run as {flag}, found one without _SUCCESS; run annotate again")
    files, size_bytes, digest = [], 0, hashlib.sha256()

    def take(slice_: "Slice", receipt: "Receipt") -> None:
        nonlocal size_bytes
        written = {file["final"]: file["size_bytes"] for file in receipt.files}
        data, dead = (next((name for name in written if name.startswith(f"{folder}/")), "") for folder in (DATA, DEAD))
        files.append(RunFiles(slice_, data, dead))
        size_bytes += written.get(data, 0)
        digest.update("".join(f"{file['final']} {file['sha256']}\n" for file in receipt.files).encode())

    reconcile(run.store, run.slices, take)
    return CompleteRun(
        root=run.root,
        store=run.store,
        settings=run.settings,
        slices=run.slices,
        files=RunFileTable.of(files),
        size_bytes=size_bytes,
        digest=digest.hexdigest(),
    )


def check_renamed(label_map: Mapping[str, str], labels: Collection[str]) -> None:
    """Refuses to rename a label that no tagger gives.

    Args:
      label_map: what labels are called.
      labels: all that the taggers may give; none where that is not known.

    Raises:
      ConfigError: naming the labels.
    """
    if labels and (unknown := [label for label in label_map if label not in labels]):
        raise ConfigError(
            f"expected --map from labels of the taggers, {sorted(labels)}, found {unknown[0]!r}"
            f"{suggest(unknown[0], labels)}"
        )


def choose_buckets(size_bytes: int) -> int:
    """How many buckets ids are spread over, so that one of them is a few megabytes of what is joined."""
    return max(1, min(_MOST_BUCKETS, size_bytes // _BUCKET_BYTES))


def find_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings in which two runs differ, as {name, a, b}; None where a run has no such setting."""
    flat_a, flat_b = (dict(_flatten(settings)) for settings in (a, b))
    names = sorted(flat_a.keys() | flat_b.keys())
    pairs = [{"name": name, "a": flat_a.get(name), "b": flat_b.get(name)} for name in names]
    return [pair for pair in pairs if pair["a"] != pair["b"]]


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
