"""Input files: the only door to fsspec for reading.

A file is named by a path or URL, listed with a version (etag, generation or modification time), and opened as a
stream of decompressed bytes that ends with an error, never early, when the file is truncated or corrupt.
"""

import datetime
import glob
import hashlib
import itertools
import lzma
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa

from schemas.errors import ConfigError, FileError, StorageError
from schemas.slices import FileRef, display_text, display_uri
from schemas.tables import FileTable
from transforms.corpora.compression import CHUNK_BYTES, compression_of, decompress
from transforms.corpora.listing import walk_folder, walk_pattern

_BLOCK_FILES = 8192

_CLIENTS = frozenset({"aiohttp", "botocore", "fsspec", "gcsfs", "paramiko", "requests"})
"""Libraries that reach a store and raise errors of their own."""

_HOSTED = frozenset({"ftp", "sftp", "smb", "ssh", "webhdfs"})
"""Protocols whose paths leave out the host, which has to come from the URL that was given."""

_GONE = (404, 410)
"""What a web server answers where it knows of no file."""

_VERSION_KEYS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "version_id",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
    "modify",
    "modificationTime",
)


def scan_files(
    patterns: Sequence[str],
    *,
    flag: str = "--input",
    allow_none: bool = False,
    tell: Callable[[int], object] = lambda _: None,
) -> FileTable:
    """Patterns, folders and literal names to files, in order of name, each once.

    A name that exists is taken literally before it is tried as a pattern, so `q[1].txt` is readable. In a folder,
    files whose names start with `.` or `_` are left out.

    Args:
      patterns: what names them.
      flag: where the patterns came from, for messages.
      allow_none: whether a pattern that nothing matches is right too.
      tell: is told now and then how many were found.

    Raises:
      ConfigError: nothing matches a pattern, or its store cannot be reached.
    """
    blocks: list[FileTable] = []
    for pattern in patterns:
        n_before = sum(map(len, blocks))
        found = _expand(pattern)
        try:
            while block := FileTable.of(itertools.islice(found, _BLOCK_FILES)):
                blocks.append(block)
                tell(sum(map(len, blocks)))
        except ConfigError:
            raise
        except UnicodeEncodeError as error:
            raise ConfigError(f"expected names of files in UTF-8, found {error.object!r}; rename it") from error
        except Exception as error:
            # Every client has its own errors: no credentials, no such host, no such protocol.
            raise ConfigError(f"cannot list input {display_uri(pattern)!r}: {_reason(error)}") from error
        if sum(map(len, blocks)) == n_before and not allow_none:
            raise ConfigError(f"expected input files at {display_uri(pattern)!r}, found none; check {flag}")
    return FileTable.concat(blocks).sorted_once()


def list_files(patterns: Sequence[str], *, flag: str = "--input", allow_none: bool = False) -> list[FileRef]:
    """As `scan_files`, for a few files."""
    return list(scan_files(patterns, flag=flag, allow_none=allow_none))


def list_in_order(patterns: Sequence[str], *, flag: str = "--input") -> list[FileRef]:
    """As `list_files`, in the order of the patterns and by name within one, each once."""
    return list({file.uri: file for pattern in patterns for file in list_files([pattern], flag=flag)}.values())


def name_file(uri: str) -> str:
    """The name that a listing gives to what lies at a path or URL, whether anything does or not.

    >>> name_file("/corpus/../a.txt"), name_file("file:///a.txt"), name_file("memory:///a.txt")
    ('/a.txt', '/a.txt', 'memory:///a.txt')
    """
    fs, path = fsspec.core.url_to_fs(uri)
    return _name_file(fs, path, uri)


def stat_file(uri: str) -> FileRef:
    """The file as it is now."""
    fs, path = fsspec.core.url_to_fs(uri)
    fs.invalidate_cache()
    return _file_ref(fs, fs.info(path), uri)


def check_unchanged(file: FileRef) -> None:
    """Compares a file with its listing.

    Raises:
      FileError: it is gone, its size or version differ, or the password is not known that it was listed with.
    """
    _check_secret(file)
    try:
        now = stat_file(file.uri)
    except OSError as error:
        raise FileError("file_missing", f"cannot find {file.source!r} any more: {_reason(error)}") from _cause(
            file, error
        )
    if now != file:
        raise FileError(
            "input_changed",
            f"expected {file.source!r} with {file.size_bytes} bytes and version {file.version!r}, "
            f"found {now.size_bytes} bytes and version {now.version!r}",
        )


@contextmanager
def open_file(file: FileRef) -> Iterator[Any]:
    """Opens the raw bytes of a file for random access.

    Raises:
      FileError: the file is gone, breaks while it is read, or was listed with a password that is not known.
      StorageError: its store refuses or does not answer, which says nothing about the file.
    """
    _check_secret(file)
    try:
        fs, path = fsspec.core.url_to_fs(file.uri)
        with fs.open(path, "rb") as raw:
            yield raw
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        # The system's own errors carry a number, those of decoders do not; a missing file is about the file.
        if getattr(error, "errno", None) is not None and not isinstance(error, FileNotFoundError):
            raise StorageError(f"cannot reach {file.source!r}: {_reason(error)}") from _cause(file, error)
        raise FileError("file_unreadable", f"cannot read {file.source!r} to its end: {_reason(error)}") from _cause(
            file, error
        )
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise StorageError(f"cannot reach {file.source!r}: {_reason(error)}") from _cause(file, error)


@contextmanager
def open_stream(file: FileRef, *, start: int = 0) -> Iterator[BinaryIO]:
    """Opens the decompressed bytes of a file from `start` on, with errors as in `open_file`."""
    compression = compression_of(file.uri)
    with open_file(file) as raw:
        if not compression:
            raw.seek(start)
            yield cast(BinaryIO, raw)
            return
        if file.size_bytes == 0:
            raise EOFError(f"an empty file is not a {compression} file")
        stream = decompress(raw, compression)
        remaining = start
        while remaining:
            skipped = stream.read(min(remaining, CHUNK_BYTES))
            if not skipped:
                raise EOFError(f"expected {start} bytes before this slice, found {start - remaining}")
            remaining -= len(skipped)
        yield stream


def digest_file(file: FileRef) -> str:
    """SHA-256 of the decompressed bytes of a file, hex, with errors as in `open_file`."""
    digest = hashlib.sha256()
    with open_stream(file) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _expand(pattern: str) -> Iterator[FileRef]:
    fs, path = fsspec.core.url_to_fs(pattern)
    fs.invalidate_cache()
    is_web = "http" in fs.protocol
    # In a web address, a ? begins the query.
    if glob.has_magic(path.replace("?", "") if is_web else path) and not fs.exists(path):
        yield from (_file_ref(fs, found, pattern) for found in walk_pattern(fs, path))
        return
    try:
        info = fs.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        # fsspec takes whatever goes wrong on the web for a file that is not there.
        if is_web and error.__cause__ and getattr(error.__cause__, "status", None) not in _GONE:
            raise error.__cause__ from None
        return
    if info["type"] != "directory":
        yield _file_ref(fs, info, pattern)
        return
    for found in walk_folder(fs, path):
        if found.get("islink"):
            _check_link(Path(found["name"]), Path(path))
        yield _file_ref(fs, found, pattern)


def _check_link(link: Path, folder: Path) -> None:
    """Refuses a link to a file elsewhere: whoever may write into a folder would choose what else is read."""
    if not link.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"expected links within the input folder only, found {str(link)!r}, which leads out of it; "
            "remove it, or name it in --input"
        )


def _file_ref(fs: Any, info: Mapping[str, Any], url: str) -> FileRef:
    """What a store tells of a file; `url` is what led to it."""
    name = info["name"]
    if "file" in fs.protocol:
        # fsspec rounds the modification time to a float; nanoseconds tell rewrites apart.
        name = _name_file(fs, name, url)
        if "mtime_ns" in info:
            return FileRef(name, int(info["size"]), str(info["mtime_ns"]))
        try:
            stat = Path(name).stat()
        except OSError as error:
            raise ConfigError(f"cannot read input {name!r}: {_reason(error)}; mend or remove it") from error
        return FileRef(name, stat.st_size, str(stat.st_mtime_ns))
    version = next((info[key] for key in _VERSION_KEYS if info.get(key)), "")
    if isinstance(version, datetime.datetime):
        # The memory store tells a time as a datetime or as seconds, by the way it is asked.
        version = version.timestamp()
    return FileRef(_name_file(fs, name, url), int(info["size"] or 0), str(version).strip('"'))


def _name_file(fs: Any, name: str, url: str) -> str:
    """The one name of a file, whatever way it was reached, so that it is read once; `url` is what led to it."""
    if "file" in fs.protocol:
        return os.path.normpath(name)
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    return f"{scheme}://{host}/{name.lstrip('/')}" if scheme in _HOSTED else str(fs.unstrip_protocol(name))


def _check_secret(file: FileRef) -> None:
    """Refuses to look for a file without what it was listed with: the answer would be about another."""
    if file.lacks_secret:
        raise FileError(
            "secret_unknown",
            f"expected the password or query that {file.source!r} was given with, found none, for a run does not keep "
            "it; give the spanmill annotate command again",
        )


def _cause(file: FileRef, error: Exception) -> Exception | None:
    """What an error came from; nothing where that may tell a password, since runners print errors with their causes."""
    return error if file.source == file.uri else None


def _reason(error: BaseException) -> str:
    """An error's own words in one line, without the address it was about."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return display_text(str(text))
