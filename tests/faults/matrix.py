"""Every fault that spanmill promises to survive, one row each; a new row goes into the file of its section."""

from tests.faults import files, model, process, rows, security, stores, workers
from tests.faults.harness import Row

ROWS: tuple[Row, ...] = tuple(
    sorted(
        (*process.ROWS, *stores.ROWS, *files.ROWS, *rows.ROWS, *model.ROWS, *security.ROWS, *workers.ROWS),
        key=lambda row: row.id,
    )
)
IDS = tuple(f"M{number:02}" for number in range(1, 51))
