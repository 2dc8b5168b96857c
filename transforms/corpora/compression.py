"""Compressed files: what their suffixes promise, and streams that never read one short.

A file may be several compressed members, one after another.
"""

import io
import lzma
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa

from schemas.slices import display_uri

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}
CHUNK_BYTES = 1 << 20


def compression_of(uri: str) -> str:
    """Name of the compression that a file's suffix promises; empty for none."""
    return COMPRESSIONS.get(PurePosixPath(display_uri(uri)).suffix.lower(), "")


def suffix_of(uri: str) -> str:
    """Lower-case suffix without the compression's, such as `.jsonl`."""
    path = PurePosixPath(display_uri(uri))
    return (PurePosixPath(path.stem) if compression_of(uri) else path).suffix.lower()


def decompress(raw: Any, compression: str) -> BinaryIO:
    """The decompressed bytes of a stream; one that is cut short or corrupt is an error when it is read.

    Args:
      raw: the stream.
      compression: as `compression_of` names it.
    """
    stream = _XzStream(raw) if compression == "xz" else _ArrowStream(raw, compression)
    return cast(BinaryIO, io.BufferedReader(stream, CHUNK_BYTES))


class _ArrowStream(io.RawIOBase):
    """What Arrow decompresses, read into memory of our own: Arrow never frees what it takes for a read that fails."""

    def __init__(self, raw: Any, compression: str) -> None:
        source = pa.PythonFile(io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw, mode="r")
        self._stream = pa.CompressedInputStream(source, compression)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return int(self._stream.readinto(buffer))


class _XzStream(io.RawIOBase):
    """The members of an xz file one after another; `lzma.LZMAFile` takes a broken one for the end of the file."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._member = lzma.LZMADecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = b""
        while not piece:
            data = self._member.unused_data if self._member.eof else b""
            if self._member.eof:
                # Zeros may pad a member.
                while not (data := data.lstrip(b"\0")):
                    if not (data := self._raw.read(CHUNK_BYTES)):
                        return 0
                self._member = lzma.LZMADecompressor()
            elif self._member.needs_input and not (data := self._raw.read(CHUNK_BYTES)):
                raise EOFError("truncated xz file")
            piece = self._member.decompress(data, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
