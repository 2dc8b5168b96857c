"""The store on an object store that fsspec reaches and that can put an object only if it is absent."""

import inspect
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from schemas.errors import StorageError

_CONDITIONAL = {"s3", "s3a", "gs", "gcs", "memory"}


def supports_put_if_absent(fs: Any) -> bool:
    """Whether a file system is known to create an object exclusively."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    method = getattr(fs, "_pipe_file", None) or fs.pipe_file
    return bool(protocols & _CONDITIONAL) and "mode" in inspect.signature(method).parameters


class ObjectStore:
    """Objects under a prefix; see `Store`."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """The whole content."""
        return cast(bytes, self._fs.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Size in bytes, or None."""
        self._fs.invalidate_cache()
        try:
            return int(self._fs.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        """Names in a folder."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for path in found if (name := path.rpartition("/")[2]))

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole object."""
        self._fs.pipe_file(self._path(name), content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Writes an object on condition that it is absent.

        When the answer is lost or unclear (a timeout, a 5xx, a conflict), the object tells who won: its content is
        ours or another's, since every writer's content is its own.
        """
        path = self._path(name)
        try:
            self._fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return self._is_ours(name, content)
        except Exception as error:
            if self._is_ours(name, content):
                return True
            if self.size(name) is not None:
                return False
            raise StorageError(f"cannot commit {name!r}: {type(error).__name__}") from error
        return True

    def create(self, name: str) -> BinaryIO:
        """Opens a new object for writing."""
        return cast(BinaryIO, self._fs.open(self._path(name), "wb"))

    def open(self, name: str) -> Any:
        """Opens an object for random access."""
        return self._fs.open(self._path(name), "rb")

    def publish(self, source: str, target: str) -> None:
        """Copies a finished object to its final name, then removes the first."""
        size = self.size(source)
        if size is not None and self.size(target) != size:
            try:
                self._fs.cp_file(self._path(source), self._path(target))
            except FileNotFoundError:
                # Another publisher was faster.
                size = None
        if size is None:
            if self.size(target) is None:
                raise StorageError(f"lost {target!r}: committed, but neither it nor {source!r} exists")
            return
        self.delete(source)

    def delete(self, name: str) -> None:
        """Removes an object; none there is no error."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def walk(self) -> Iterator[str]:
        """Every object under the root."""
        self._fs.invalidate_cache()
        root = self._fs._strip_protocol(self._root)
        for path in self._fs.find(self._root):
            yield path[len(root) :].lstrip("/")

    def _is_ours(self, name: str, content: bytes) -> bool:
        try:
            return self.read(name) == content
        except FileNotFoundError:
            return False

    def _path(self, name: str) -> str:
        if ".." in name.split("/") or name.startswith("/"):
            raise StorageError(f"expected a name within the run folder, found {name!r}")
        return f"{self._root}/{name}"
