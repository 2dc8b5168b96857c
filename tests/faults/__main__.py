"""Runs the fault matrix, or tries whether it notices spanmill being broken.

python -m tests.faults               every row: kept or broken
python -m tests.faults M03 M04       these rows
python -m tests.faults --mutants     every row under its mutants: caught or missed
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.conftest import write_checkpoint
from tests.faults.harness import Row, Workshop
from tests.faults.matrix import ROWS


def main() -> int:
    """Runs what is asked for; 1 when a promise is broken or a mutant missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="rows to run; all if none are named")
    parser.add_argument("--mutants", action="store_true", help="break spanmill on purpose")
    options = parser.parse_args()
    if unknown := sorted({*options.ids} - {row.id for row in ROWS}):
        parser.error(f"expected rows of the matrix, found {unknown}")
    chosen = [row for row in ROWS if not options.ids or row.id in options.ids]
    run = try_mutants if options.mutants else run_row
    with tempfile.TemporaryDirectory(prefix="spanmill-faults-") as folder:
        # What is written on the way is told to nobody.
        with contextlib.redirect_stderr(io.StringIO()):
            model = write_checkpoint(Path(folder, "model"))
        workshop = Workshop(Path(folder, "work"), model)
        results = [run(workshop, row) for row in chosen]
    failed = len(results) - sum(results)
    print(f"{len(results)} rows, {failed} {'missed' if options.mutants else 'broken'}")
    return 1 if failed else 0


def run_row(workshop: Workshop, row: Row) -> bool:
    """Prints what a row observed; whether the promise is kept."""
    observed, is_kept, seconds = _check(workshop, row)
    print(f"{row.id}  {row.injected:<38} {observed:<72} {'kept' if is_kept else 'broken'} {seconds:6.1f} s", flush=True)
    return is_kept


def try_mutants(workshop: Workshop, row: Row) -> bool:
    """Prints whether a row fails under each of its mutants; whether it fails under all."""
    caught = []
    for mutant in row.mutants:
        observed, is_kept, seconds = _check(workshop, row, mutant)
        caught.append(not is_kept)
        reason = "" if is_kept else f"  {observed[:80]}"
        print(f"{row.id}  {mutant:<26} {'missed' if is_kept else 'caught'} {seconds:6.1f} s{reason}", flush=True)
    return all(caught)


def _check(workshop: Workshop, row: Row, mutant: str = "") -> tuple[str, bool, float]:
    started = time.monotonic()
    with workshop.bench(mutant) as bench:
        try:
            return row.check(bench), True, time.monotonic() - started
        except Exception as error:  # noqa: BLE001 - a row that breaks in another way is broken too
            # What an assertion without a message says is its own line.
            reason = " ".join(str(error).split()) or traceback.extract_tb(error.__traceback__)[-1].line
            return reason, False, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
