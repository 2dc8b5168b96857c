"""`spanmill publish`: a run into an Iceberg table, once."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_options, parse_pairs
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import CompleteRun, open_complete_run, run_option
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.receipts import Receipt
    from transforms.lake.iceberg import Publication

DESCRIPTION = "Put the annotations of a complete run into an Iceberg table, as one snapshot that readers see or do not."


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """Everything a person can ask of the job."""

    run: str = run_option()
    table: str = option("table, made where there is none", metavar="NAMESPACE.TABLE")
    catalog: str = option("name of the catalog in pyiceberg's configuration", "default", metavar="NAME")
    catalog_property: tuple[str, ...] = option(
        "what is not said there, such as uri=sqlite:///catalog.db and warehouse=s3://bucket/lake; secrets belong there",
        (),
        metavar="KEY=VALUE",
    )
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        PublishOptions, arguments, prog="spanmill publish", description=DESCRIPTION, has_beam=False
    )
    with stopping_on_signals("nothing is published in part; the same command begins anew"):
        return run(options)


def run(options: PublishOptions) -> int:
    """Publishes a run and says what came of it; returns the exit status.

    Raises:
      ConfigError: there is no complete run in Parquet, or the catalog refuses its table.
      ConflictError: others change the table again and again.
      StorageError: the run's files or the catalog do not answer as they should.
    """
    from transforms.lake.iceberg import Outcome, open_catalog, publish_run

    namespace, _, table = options.table.rpartition(".")
    if not namespace or not table:
        raise ConfigError(f"expected --table NAMESPACE.TABLE, found {options.table!r}")
    opened = open_complete_run(options.run, flag="RUN")
    publication = _describe(opened)
    catalog = open_catalog(options.catalog, parse_pairs(options.catalog_property, flag="--catalog-property"))
    said = f"publishing {publication.rows:,} documents"
    with contextlib.closing(catalog), watch_clock(said, is_shown=options.progress):
        outcome = publish_run(catalog, options.table, publication)
    if outcome is Outcome.UNCHANGED:
        print(f"nothing to do: {options.table} has run {publication.run} as it is", file=sys.stderr)
    else:
        print(f"{outcome.value:<12} {publication.rows:,} documents of run {publication.run} in {options.table}")
    return 0


def _describe(opened: CompleteRun) -> "Publication":
    """A run as it goes into a table.

    Raises:
      ConfigError: it did not write Parquet, or nothing.
      StorageError: a file is not what it wrote.
    """
    from schemas.manifest import fingerprint
    from transforms.lake.iceberg import Publication
    from transforms.storage.annotations import copy_rows
    from transforms.storage.plans import read_plans
    from transforms.storage.runs import read_receipts
    from transforms.storage.written import opened_parquet

    if (found := opened.settings["output"]["format"]) != "parquet":
        raise ConfigError(f"expected a run with --output-format parquet, found {found}; annotate into another --output")
    name = next((file.data for file in opened.files if file.data), None)
    if name is None:
        raise ConfigError("expected a run with annotations, found one without a document")
    with opened_parquet(opened.store, name) as parquet:
        schema = parquet.schema.remove_metadata()
    began_with = [dataclasses.asdict(file) for file in read_plans(opened.store)[0].files]

    def receipts() -> Iterator["Receipt"]:
        return read_receipts(opened.store, opened.slices)

    return Publication(
        run=fingerprint(opened.settings),
        corpus=fingerprint({"files": began_with}),
        digest=opened.digest,
        schema=schema,
        rows=sum(receipt.tally.documents for receipt in receipts()),
        read=lambda: (batch for receipt in receipts() for batch in copy_rows(opened.store, receipt)),
    )
