"""Files and slices by the million: Arrow tables that read as sequences of `FileRef` and `Slice`.

A million objects take a gigabyte, the same in columns a tenth of it. Rows become objects one at a time, where somebody
looks at them.
"""

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from schemas.secrets import Secrets
from schemas.slices import FileRef, Slice, display_uri

_FILE_FIELDS = [
    pa.field("uri", pa.large_string()),
    pa.field("size_bytes", pa.int64()),
    pa.field("version", pa.string()),
    pa.field("lacks_secret", pa.bool_()),
]
FILE_SCHEMA = pa.schema(_FILE_FIELDS)
SLICE_SCHEMA = pa.schema(
    [
        pa.field("slice_id", pa.string()),
        pa.field("number", pa.int64()),
        *_FILE_FIELDS,
        pa.field("format", pa.string()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("first_row", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("text_bytes", pa.int64()),
        pa.field("error", pa.string()),
    ]
)

_BATCH_ROWS = 8192

_Row = TypeVar("_Row")
_Self = TypeVar("_Self", bound="Rows[Any]")


def name_array(names: Sequence[str]) -> pa.Array:
    r"""Names of files to an array of strings; bytes of a name that are no text are escaped, as no name of ours has any.

    >>> name_array(["a", "\udcff"]).to_pylist()
    ['a', '\\udcff']
    """
    try:
        return pa.array(names, pa.string())
    except UnicodeEncodeError:
        return pa.array([name.encode(errors="backslashreplace").decode() for name in names], pa.string())


class Rows(Sequence[_Row], Generic[_Row]):
    """A table as the sequence of what its rows stand for.

    Args:
      table: of the schema of its kind.

    Attributes:
      row: what its rows stand for.
      schema: its columns; those of FILE_SCHEMA for each file that a row has.
      file_prefixes: what the names of the columns of each of these files begin with.
    """

    row: type[Any]
    schema: pa.Schema
    file_prefixes: tuple[str, ...] = ("",)

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls: type[_Self], rows: Iterable[_Row]) -> _Self:
        """Rows one after another to a table; one that is a table already is taken as it is."""
        if isinstance(rows, cls):
            return rows
        left = iter(rows)
        batches = []
        while block := list(itertools.islice(left, _BATCH_ROWS)):
            columns = zip(*map(cls.to_values, block), strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, cls.schema, strict=True)]
            batches.append(pa.record_batch(arrays, schema=cls.schema))
        return cls(pa.Table.from_batches(batches, cls.schema))

    @classmethod
    def concat(cls: type[_Self], tables: Iterable[_Self]) -> _Self:
        """Several of a kind as one, in order."""
        return cls(pa.concat_tables([cls.schema.empty_table(), *(rows.table for rows in tables)]))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column by its name."""
        return self.table.column(name)

    def filter(self: _Self, mask: Any) -> _Self:
        """The rows for which a mask holds; itself where it holds for all, since a copy of a million takes memory."""
        return self if pc.all(mask, min_count=0).as_py() else type(self)(self.table.filter(mask))

    def without_secrets(self: _Self) -> _Self:
        """The same as it may be written, as `FileRef.without_secret` has it."""
        rows = self
        for prefix in self.file_prefixes:
            uris, sources = rows.column(f"{prefix}uri"), rows.sources(prefix)
            lacks = pc.or_(rows.column(f"{prefix}lacks_secret"), pc.not_equal(uris, sources))
            rows = rows._with_files(prefix, sources, lacks)
        return rows

    def restored(self: _Self, secrets: Secrets) -> _Self:
        """The same with the secrets that it was written without."""
        rows = self
        for prefix in self.file_prefixes:
            if pc.any(rows.column(f"{prefix}lacks_secret"), min_count=0).as_py():
                files = FileTable.of(map(secrets.restore, rows.files(prefix)))
                rows = rows._with_files(prefix, files.column("uri"), files.column("lacks_secret"))
        return rows

    def with_secrets(self: _Self) -> _Self:
        """Those rows with a URI that must not be written."""
        masks = (pc.not_equal(self.column(f"{prefix}uri"), self.sources(prefix)) for prefix in self.file_prefixes)
        return self.filter(functools.reduce(pc.or_, masks))

    def relisted(self: _Self, listed: "FileTable") -> _Self:
        """The same with the URI of each file as it is listed, where it is."""
        at = pc.index_in(self.column("uri"), value_set=listed.sources())
        now = (pc.coalesce(listed.column(name).take(at), self.column(name)) for name in ("uri", "lacks_secret"))
        return self._with_files("", *now)

    def sources(self, prefix: str = "") -> pa.ChunkedArray:
        """The URI of each file as it may be shown and written."""
        uris = self.column(f"{prefix}uri")
        if not pc.any(pc.match_substring(uris, "://"), min_count=0).as_py():
            return uris
        chunks = [pa.array(map(display_uri, chunk.to_pylist()), pa.large_string()) for chunk in uris.chunks]
        return pa.chunked_array(chunks, pa.large_string())

    def files(self, prefix: str = "") -> "FileTable":
        """The file of each row."""
        table = self.table.select([f"{prefix}{name}" for name in FILE_SCHEMA.names])
        return FileTable(table.rename_columns(FILE_SCHEMA.names))

    def _with_files(self: _Self, prefix: str, uris: pa.ChunkedArray, lacks_secret: pa.ChunkedArray) -> _Self:
        table = self.table
        for name, column in ((f"{prefix}uri", uris), (f"{prefix}lacks_secret", lacks_secret)):
            table = table.set_column(self.schema.get_field_index(name), self.schema.field(name), column)
        return type(self)(table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[_Row]:
        for batch in self.table.to_batches(_BATCH_ROWS):
            yield from self.from_columns([column.to_pylist() for column in batch.columns])

    @overload
    def __getitem__(self, at: int) -> _Row: ...

    @overload
    def __getitem__(self: _Self, at: slice) -> _Self: ...

    def __getitem__(self: _Self, at: int | slice) -> _Row | _Self:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return type(self)(self.table.take(pa.array(range(start, stop, step), pa.int64())))
            return type(self)(self.table.slice(start, max(0, stop - start)))
        row = range(len(self))[at]
        (found,) = type(self)(self.table.slice(row, 1))
        return found  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows)"

    @staticmethod
    def to_values(row: Any) -> tuple[Any, ...]:
        """A row to the values of its columns."""
        raise NotImplementedError

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[Any]:
        """The values of columns to rows."""
        raise NotImplementedError


class FileTable(Rows[FileRef]):
    """Files, by FILE_SCHEMA."""

    row = FileRef
    schema = FILE_SCHEMA

    def sorted_once(self) -> "FileTable":
        """The same in order of URI, each URI once."""
        table = self.table.take(pc.sort_indices(self.column("uri")))
        uris = table.column("uri").combine_chunks()
        if len(uris) < 2:
            return FileTable(table)
        is_new = pc.not_equal(uris.slice(1), uris.slice(0, len(uris) - 1))
        return FileTable(table.filter(pa.concat_arrays([pa.array([True]), is_new])))

    @staticmethod
    def to_values(row: FileRef) -> tuple[Any, ...]:
        """See Rows."""
        return row.uri, row.size_bytes, row.version, row.lacks_secret

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[FileRef]:
        """See Rows."""
        return map(FileRef, *columns)


class SliceTable(Rows[Slice]):
    """Slices, by SLICE_SCHEMA; the columns of their file stand in every row."""

    row = Slice
    schema = SLICE_SCHEMA

    @property
    def ids(self) -> pa.ChunkedArray:
        """The id of each."""
        return self.column("slice_id")

    @property
    def n_unread(self) -> int:
        """How many stand for a file that cannot be read."""
        return int(pc.sum(pc.not_equal(self.column("error"), ""), min_count=0).as_py())

    def largest_first(self) -> "SliceTable":
        """The same by size and then number, so that no large slice begins when all others have ended."""
        start, end, text_bytes = (self.column(name) for name in ("start", "end", "text_bytes"))
        is_bytes = pc.is_in(self.column("format"), value_set=pa.array(["jsonl", "text"]))
        size = pc.if_else(is_bytes, pc.subtract(end, start), pc.max_element_wise(text_bytes, self.column("rows")))
        keyed = pa.table({"size": size, "number": self.column("number")})
        order = pc.sort_indices(keyed, sort_keys=[("size", "descending"), ("number", "ascending")])
        return SliceTable(self.table.take(order))

    @staticmethod
    def to_values(row: Slice) -> tuple[Any, ...]:
        """See Rows."""
        file = FileTable.to_values(row.file)
        cut = (row.format, row.start, row.end, row.first_row, row.rows, row.text_bytes, row.error)
        return row.slice_id, row.number, *file, *cut

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[Slice]:
        """See Rows."""
        file: FileRef | None = None
        for row in zip(*columns, strict=True):
            (
                _,
                number,
                uri,
                size_bytes,
                version,
                lacks_secret,
                format_,
                start,
                end,
                first_row,
                rows,
                text_bytes,
                error,
            ) = row
            # The slices of a file stand together, and share what is known of it.
            if file is None or (file.uri, file.size_bytes, file.version) != (uri, size_bytes, version):
                file = FileRef(uri, size_bytes, version, lacks_secret)
            yield Slice(file, format_, start, end, first_row, rows, number, error, text_bytes)
