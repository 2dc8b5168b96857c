"""Runs as rows of an Iceberg table: a snapshot per run, published once by whoever is first.

    files of the run ──stream──> data files of the table ──> one commit: snapshot, and a mark with the run's digest
                                                                 │ won                        ▲
                                                                 └ lost: look at the mark ─────┘ and begin anew

The commit of a catalog is what putting a file if absent is to a run: of all that begin at one state of the table, one
wins. The mark is a property of the table, so that it outlives the snapshot, and changes in the same commit.
"""

import contextlib
import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from schemas.errors import ConfigError, ConflictError, PipelineError, StorageError
from schemas.slices import display_text

_OWN_COLUMNS = ("run", "corpus")
_MOST_ATTEMPTS = 10
_FILE_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Publication:
    """A run as it goes into a table.

    Attributes:
      run: its fingerprint, of settings alone, so that runs over other input may have the same.
      corpus: what tells it from these; the two stand in columns of each of its rows.
      digest: SHA-256 of all that it wrote, hex.
      schema: schema of its files.
      rows: how many rows it has.
      read: reads them from the beginning.
    """

    run: str
    corpus: str
    digest: str
    schema: pa.Schema
    rows: int
    read: Callable[[], Iterator[pa.RecordBatch]]

    @property
    def mark(self) -> str:
        """The property of a table that tells which digest of the run it has."""
        return f"spanmill.run.{self.run}.{self.corpus}"


class Outcome(enum.Enum):
    """What publishing came to."""

    PUBLISHED = "published"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


def open_catalog(name: str, properties: Mapping[str, str]) -> Any:
    """An Iceberg catalog, by the name that pyiceberg's own configuration has for it.

    Args:
      name: its name in `.pyiceberg.yaml` or the environment.
      properties: what is not said there, such as `uri` and `warehouse`.

    Raises:
      ConfigError: pyiceberg is not installed, or knows no such catalog.
    """
    try:
        from pyiceberg.catalog import load_catalog
    except ImportError:
        raise ConfigError("expected pyiceberg, found none; pip install 'spanmill[iceberg]'") from None
    try:
        return load_catalog(name, **properties)
    except Exception as error:
        # Every catalog has its own errors: no such host, no driver, no credentials.
        raise ConfigError(f"cannot open --catalog {name!r}: {_describe(error)}") from error


def publish_run(catalog: Any, name: str, publication: Publication) -> Outcome:
    """Puts a run into a table, in place of what the table has of that run; does nothing where it has just this.

    Args:
      catalog: an Iceberg catalog.
      name: `namespace.table`; both are made where there are none.
      publication: the run.

    Raises:
      ConfigError: the catalog refuses the table or its columns.
      ConflictError: others change the table again and again.
      StorageError: the run's files hold other rows than its receipts say, or the catalog or a store does not answer.
    """
    from pyiceberg.exceptions import CommitFailedException

    if clash := sorted(set(_OWN_COLUMNS) & set(publication.schema.names)):
        raise ConfigError(
            f"expected kept columns with names of their own, found {clash}, which tell the run of a row; "
            "leave them out of --keep-columns"
        )
    for _ in range(_MOST_ATTEMPTS):
        table = _open_table(catalog, name, publication.schema)
        known = table.properties.get(publication.mark)
        if known == publication.digest:
            return Outcome.UNCHANGED
        try:
            _commit(table, publication, replaces=known is not None)
        except CommitFailedException:
            # Somebody else was first, with this run or with another.
            continue
        except PipelineError:
            raise
        except Exception as error:
            # Catalogs and stores have errors of their own, after which nobody knows whether the commit came through.
            table = _open_table(catalog, name, publication.schema)
            if table.properties.get(publication.mark) != publication.digest:
                raise StorageError(
                    f"cannot publish into {name!r}: {_describe(error)}; publish again, which does nothing if the "
                    "commit came through after all"
                ) from error
        return Outcome.PUBLISHED if known is None else Outcome.REPLACED
    raise ConflictError(f"expected {name!r} to hold still once in {_MOST_ATTEMPTS} attempts, found others faster")


def _open_table(catalog: Any, name: str, schema: pa.Schema) -> Any:
    """The table as it is now, made where there is none; nothing else is asked for that a person may not be allowed."""
    from pyiceberg.exceptions import NoSuchTableError

    namespace = name.rpartition(".")[0]
    try:
        with contextlib.suppress(NoSuchTableError):
            return catalog.load_table(name)
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace_if_not_exists(namespace)
        return catalog.create_table_if_not_exists(
            name, schema=_table_schema(schema), properties={"write.target-file-size-bytes": str(_FILE_BYTES)}
        )
    except Exception as error:
        # Every catalog has its own errors, and pyiceberg several for a type that Iceberg has not.
        raise ConfigError(f"cannot open --table {name!r}: {_describe(error)}") from error


def _commit(table: Any, publication: Publication, *, replaces: bool) -> None:

    # pyiceberg would put a lost commit on top of what the winner made, and so publish a run twice.
    held = {**table.properties, "commit.retry.num-retries": "0"}
    table.metadata = table.metadata.model_copy(update={"properties": held})
    told = {
        "spanmill.run": publication.run,
        "spanmill.corpus": publication.corpus,
        "spanmill.digest": publication.digest,
    }
    transaction = table.transaction()
    try:
        _add_columns(transaction, table, publication.schema)
        if replaces:
            # Both are hexadecimal digests.
            rows = f"run = '{publication.run}' and corpus = '{publication.corpus}'"
            transaction.delete(rows, snapshot_properties=told)
        transaction.append(_read(publication), snapshot_properties=told)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"expected rows that fit the columns of --table, found others: {_describe(error)}") from error
    transaction.set_properties({publication.mark: publication.digest})
    transaction.commit_transaction()


def _add_columns(transaction: Any, table: Any, schema: pa.Schema) -> None:
    """Columns that the run has and the table has not."""
    if not set(schema.names) <= set(table.schema().column_names):
        with transaction.update_schema() as update:
            update.union_by_name(_table_schema(schema))


def _read(publication: Publication) -> pa.RecordBatchReader:
    """The rows of a run with its own columns before them."""
    schema = pa.schema([*(pa.field(name, pa.string(), nullable=False) for name in _OWN_COLUMNS), *publication.schema])

    def add_columns() -> Iterator[pa.RecordBatch]:
        n_rows = 0
        for batch in publication.read():
            n_rows += batch.num_rows
            own = [pa.repeat(getattr(publication, name), batch.num_rows) for name in _OWN_COLUMNS]
            yield pa.RecordBatch.from_arrays([*own, *batch.columns], schema=schema)
        if n_rows != publication.rows:
            raise StorageError(f"expected {publication.rows} rows in the files of the run, found {n_rows}")

    return pa.RecordBatchReader.from_batches(schema, add_columns())


def _table_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a table for runs: every column may be missing, since runs differ in theirs."""
    return pa.schema([*(pa.field(name, pa.string()) for name in _OWN_COLUMNS), *map(_relax, schema)])


def _relax(field: pa.Field) -> pa.Field:
    type_ = field.type
    if pa.types.is_list(type_):
        type_ = pa.list_(_relax(type_.value_field))
    elif pa.types.is_struct(type_):
        type_ = pa.struct([_relax(type_.field(at)) for at in range(type_.num_fields)])
    return pa.field(field.name, type_)


def _describe(error: Exception) -> str:
    """What went wrong in one line, without what may be a value of a row."""
    if isinstance(error, pa.ArrowException):
        return type(error).__name__
    return display_text(str(error)) or type(error).__name__
