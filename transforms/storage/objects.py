"""The store on an object store that fsspec reaches and that can put an object only if it is absent."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from schemas.errors import PipelineError, StorageError
from schemas.slices import display_text, display_uri

_CONDITIONAL = {"s3", "s3a", "gs", "gcs", "memory"}
_REMEDY = "check the bucket, the keys and the address of the server (of S3 AWS_ENDPOINT_URL), or try again later"


def supports_put_if_absent(fs: Any) -> bool:
    """Whether a file system is known to create an object exclusively."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    method = getattr(fs, "_pipe_file", None) or fs.pipe_file
    return bool(protocols & _CONDITIONAL) and "mode" in inspect.signature(method).parameters


class ObjectStore:
    """Objects under a prefix; see `Store`. StorageError where the object store does not answer or refuses."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """The whole content."""
        path = self._path(name)
        with self._reaching():
            return cast(bytes, self._fs.cat_file(path))

    def size(self, name: str) -> int | None:
        """Size in bytes, or None."""
        self._fs.invalidate_cache()
        path = self._path(name)
        try:
            with self._reaching():
                return int(self._fs.info(path)["size"])
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        """Names in a folder."""
        self._fs.invalidate_cache()
        path = self._path(folder)
        try:
            with self._reaching():
                found = self._fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for each in found if (name := each.rpartition("/")[2]))

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole object."""
        path = self._path(name)
        with self._reaching(is_write=True):
            self._fs.pipe_file(path, content)

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
        except FileNotFoundError as error:
            raise self._describe(error) from error
        except Exception as error:
            if self._is_ours(name, content):
                return True
            if self.size(name) is not None:
                return False
            raise StorageError(f"cannot commit {name!r}: {type(error).__name__}") from error
        return True

    def create(self, name: str) -> BinaryIO:
        """Opens a new object for writing."""
        path = self._path(name)
        with self._reaching(is_write=True):
            return cast(BinaryIO, self._fs.open(path, "wb"))

    def open(self, name: str) -> Any:
        """Opens an object for random access."""
        path = self._path(name)
        with self._reaching():
            return self._fs.open(path, "rb")

    def publish(self, source: str, target: str) -> None:
        """Copies a finished object to its final name, then removes the first."""
        size = self.size(source)
        if size is not None and self.size(target) != size:
            paths = self._path(source), self._path(target)
            try:
                with self._reaching():
                    self._fs.cp_file(*paths)
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
        path = self._path(name)
        try:
            with self._reaching():
                self._fs.rm_file(path)
        except FileNotFoundError:
            return

    def walk(self) -> Iterator[str]:
        """Every object under the root."""
        self._fs.invalidate_cache()
        root = self._fs._strip_protocol(self._root)
        try:
            with self._reaching():
                found = self._fs.find(self._root)
        except FileNotFoundError:
            # Of a bucket that is not there, as of a folder, nothing is found.
            return
        for path in found:
            yield path[len(root) :].lstrip("/")

    def _is_ours(self, name: str, content: bytes) -> bool:
        try:
            return self.read(name) == content
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _reaching(self, *, is_write: bool = False) -> Iterator[None]:
        """Tells errors of the client in one line; that an object is not there is an answer, unless one is written."""
        try:
            yield
        except PipelineError:
            raise
        except FileNotFoundError as error:
            if is_write:
                raise self._describe(error) from error
            raise
        except Exception as error:
            # Every client has its own errors: no credentials, no such host, no such bucket.
            raise self._describe(error) from error

    def _describe(self, error: Exception) -> StorageError:
        place = display_uri(self._fs.unstrip_protocol(self._root))
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        # An address in quotation marks would lose the second of them with its query.
        words = display_text(reason.replace('"', ""))
        return StorageError(f"cannot reach {place!r}: {words}; {_REMEDY}")

    def _path(self, name: str) -> str:
        if ".." in name.split("/") or name.startswith("/"):
            raise StorageError(f"expected a name within the run folder, found {name!r}")
        return f"{self._root}/{name}"
