"""The store under a run directory: few operations, each with one guarantee.

The commit protocol needs one thing that is not ordinary: `put_if_absent`, of which exactly one caller wins however
many race. Everything else may be done twice.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import fsspec

from schemas.errors import ConfigError
from schemas.slices import display_text, display_uri
from transforms.storage.objects import ObjectStore, supports_put_if_absent
from transforms.storage.posix import PosixStore


class Store(Protocol):
    """Files under one root, named by relative paths with slashes."""

    def read(self, name: str) -> bytes:
        """The whole content; FileNotFoundError when there is none."""

    def size(self, name: str) -> int | None:
        """Size in bytes, or None when there is no such file."""

    def list(self, folder: str) -> list[str]:
        """Names in a folder, without the folder, sorted; none when there is no folder."""

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole file durably, in place of what was there; readers see the old or the new."""

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Writes a whole file durably unless it exists; True for exactly one of all callers."""

    def create(self, name: str) -> "BinaryIO":
        """Opens a new file for writing; once closed it is durable."""

    def open(self, name: str) -> Any:
        """Opens a file for random access."""

    def publish(self, source: str, target: str) -> None:
        """Moves a finished file to its final name; done already is done. StorageError when neither exists."""

    def delete(self, name: str) -> None:
        """Removes a file; none there is no error."""

    def walk(self) -> Iterator[str]:
        """Every file under the root."""


def open_store(root: str) -> Store:
    """The store for a path or URL.

    Raises:
      ConfigError: the store cannot put a file if absent, so that two workers could both win.
    """
    fs, path = fsspec.core.url_to_fs(root)
    if "file" in fs.protocol:
        return PosixStore(path)
    if not supports_put_if_absent(fs):
        raise ConfigError(
            f"expected an output store with conditional writes at {display_uri(root)!r}, "
            f"found {fs.protocol!r} without; "
            "write to a local folder, S3 or Google Cloud Storage and copy the finished run"
        )
    return ObjectStore(fs, path)


def open_named(root: str, *, flag: str) -> Store:
    """As `open_store`, with the option that named it in what is raised where nothing here reads such a URL."""
    try:
        return open_store(root)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot open {flag} {display_uri(root)!r}: {display_text(str(error))}") from error
