"""The store on a POSIX file system, durable against power loss.

Exclusive creation is a hard link: the content is complete and synced before its name appears, and a second link to
the same name fails.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from schemas.errors import StorageError

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


class PosixStore:
    """Files under a local folder; see `Store`."""

    def __init__(self, root: str) -> None:
        self._root = Path(os.path.normpath(root))

    def read(self, name: str) -> bytes:
        """The whole content."""
        return self._path(name).read_bytes()

    def size(self, name: str) -> int | None:
        """Size in bytes, or None."""
        try:
            return self._path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, folder: str) -> list[str]:
        """Names in a folder; temporary files of other writers are none of them."""
        try:
            names = os.listdir(self._path(folder))  # noqa: PTH208 - a million names, and no objects
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if not name.startswith(".tmp-"))

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole file by renaming a synced temporary over it."""
        path = self._path(name)
        temporary = self._write_temporary(path, content)
        try:
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(f"cannot write {name!r}: {error.strerror}") from error
        _sync_folder(path.parent)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Writes a whole file by linking a synced temporary to its name, which one caller can."""
        path = self._path(name)
        temporary = self._write_temporary(path, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # A network file system may repeat a request whose answer was lost, and find its own link.
            if not _is_same_file(temporary, path):
                return False
        except OSError as error:
            hint = "; this file system has no hard links, choose another --output" if error.errno in _NO_LINKS else ""
            raise StorageError(f"cannot commit {name!r}: {error.strerror}{hint}") from error
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return True

    def create(self, name: str) -> BinaryIO:
        """Opens a new file that is synced when it is closed."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return cast(BinaryIO, _SyncedFile(path))
        except OSError as error:
            raise StorageError(f"cannot create {name!r}: {error.strerror}") from error

    def open(self, name: str) -> Any:
        """Opens a file for random access."""
        return self._path(name).open("rb")

    def publish(self, source: str, target: str) -> None:
        """Renames a finished file to its final name."""
        origin, final = self._path(source), self._path(target)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            origin.replace(final)
        except FileNotFoundError as error:
            if not final.is_file():
                raise StorageError(f"lost {target!r}: committed, but neither it nor {source!r} exists") from error
            return
        except OSError as error:
            raise StorageError(f"cannot publish {target!r}: {error.strerror}") from error
        _sync_folder(final.parent)
        _sync_folder(origin.parent)

    def delete(self, name: str) -> None:
        """Removes a file; none there is no error."""
        self._path(name).unlink(missing_ok=True)

    def walk(self) -> Iterator[str]:
        """Every file under the root."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                yield (Path(folder) / name).relative_to(self._root).as_posix()

    def _path(self, name: str) -> Path:
        path = self._root / name
        if os.path.commonpath([self._root, os.path.normpath(path)]) != str(self._root):
            raise StorageError(f"expected a name within the run folder, found {name!r}")
        return path

    def _write_temporary(self, path: Path, content: bytes) -> Path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
            with _SyncedFile(temporary) as file:
                file.write(content)
        except OSError as error:
            raise StorageError(f"cannot write in {path.parent.name!r}: {error.strerror}") from error
        return temporary


class _SyncedFile:
    """A new binary file whose content is on the disk once it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb")
        self.closed = False

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()
            _sync_folder(self._path.parent)

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> "_SyncedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
