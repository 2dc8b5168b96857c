"""The files under a folder of a store, asked for folder by folder in threads.

    folders still to ask ──> threads ──> entries ──> files, one by one
            ^                               │
            └────────── folders ────────────┘

No more than the entries of some folders are held, and folders that cannot hold what is looked for are not asked.
"""

import functools
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fsspec.utils import glob_translate

from transforms.workers.threads import THREADS

Entry = Mapping[str, Any]
"""What a store tells of a file or folder: `name` and `type` at least."""

_MAGIC = re.compile(r"[*?\[]")


def walk_folder(fs: Any, folder: str) -> Iterator[Entry]:
    """Every file in a folder and the folders in it, but those whose names start with `.` or `_`."""
    hidden = (".", "_")
    return (
        entry
        for entry in _walk(fs, folder, lambda folder, _: not _base(folder).startswith(hidden))
        if not _base(entry["name"]).startswith(hidden)
    )


def walk_pattern(fs: Any, pattern: str) -> Iterator[Entry]:
    """Every file that a pattern matches, as fsspec understands it.

    Args:
      fs: the file system.
      pattern: a path of it, without protocol, with `*`, `?` or `[...]` in it.
    """
    if "http" in fs.protocol:
        # Its folders are pages whose links may lead anywhere, which it has its own way to look at.
        yield from (entry for entry in fs.glob(pattern, detail=True).values() if entry["type"] != "directory")
        return
    magic = _MAGIC.search(pattern)
    fixed = pattern[: magic.start() if magic else len(pattern)].rpartition("/")[0]
    whole = re.compile(glob_translate(pattern))
    for entry in _walk(fs, fixed or pattern[: pattern.startswith("/")], _match_folders(pattern, fixed)):
        if whole.match(entry["name"]):
            yield entry


def _match_folders(pattern: str, fixed: str) -> Callable[[str, int], bool]:
    """Says whether a folder, so deep under the fixed part of a pattern, may hold what it matches."""
    parts = pattern.split("/")
    n_fixed = len(fixed.split("/")) if fixed or pattern.startswith("/") else 0

    @functools.cache
    def match_at(depth: int) -> Callable[[str], object]:
        begin = parts[: n_fixed + depth]
        if any("**" in part for part in begin):
            return bool
        return re.compile(glob_translate("/".join(begin))).match if len(begin) < len(parts) else lambda _: None

    return lambda folder, depth: bool(match_at(depth)(folder))


def _walk(fs: Any, root: str, opens: Callable[[str, int], bool]) -> Iterator[Entry]:
    """Files under a root; `opens` says of a folder and its depth under the root, from 1, whether it is looked into."""
    ask: Callable[[str], Sequence[Entry]] = _scan if "file" in fs.protocol else lambda folder: _ask(fs, folder)
    folders: deque[tuple[str, int]] = deque([(root, 0)])
    asked: deque[tuple[Future[Sequence[Entry]], int]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        while folders or asked:
            while folders and len(asked) < 2 * THREADS:
                folder, depth = folders.popleft()
                asked.append((pool.submit(ask, folder), depth))
            future, depth = asked.popleft()
            for entry in future.result():
                if entry["type"] != "directory":
                    yield entry
                elif opens(entry["name"], depth + 1):
                    folders.append((entry["name"], depth + 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _ask(fs: Any, folder: str) -> list[Entry]:
    """The entries of a folder but for the folder itself, which object stores may name among them."""
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return []
    own = fs._strip_protocol(folder).rstrip("/")
    return [{**entry, "name": name} for entry in entries if (name := entry["name"].rstrip("/")) != own]


def _scan(folder: str) -> list[Entry]:
    """The entries of a local folder, with what the system tells of them anyway, but for links to folders.

    Following these could lead anywhere, and round in circles.
    """
    try:
        with os.scandir(folder) as found:
            return [_describe(entry) for entry in found if not _leads_to_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        # It leads where nobody may look: whoever opens the file will say so.
        return False


def _describe(entry: "os.DirEntry[str]") -> Entry:
    if entry.is_dir(follow_symlinks=False):
        return {"name": entry.path, "type": "directory"}
    try:
        stat = entry.stat()
    except OSError:
        # A link to nothing: whoever looks at the file will say so.
        return {"name": entry.path, "type": "file", "islink": entry.is_symlink()}
    told = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    return {"name": entry.path, "type": "file", "islink": entry.is_symlink(), **told}


def _base(path: str) -> str:
    return path.rpartition("/")[2]
