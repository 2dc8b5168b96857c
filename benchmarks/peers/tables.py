"""Tables for the terminal and for a README."""

import dataclasses
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable


@dataclasses.dataclass(frozen=True)
class Table:
    """What a section shows.

    Attributes:
      title: what is in it.
      columns: the first is aligned left, the others right.
      rows: as text.
      notes: sentences under it.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def show(self, *, is_markdown):
        """Prints it for GitHub, or for a terminal, and as wide as a large one where there is none."""
        if is_markdown:
            print(self.to_markdown())
        else:
            self._print(Console(highlight=False, width=None if sys.stdout.isatty() else 140))

    def to_markdown(self):
        """The same for GitHub."""
        marks = ["---"] + ["---:" if len(self.columns) > 2 else "---"] * (len(self.columns) - 1)
        lines = [f"**{self.title}**", "", *map(_row, (self.columns, marks, *self.rows)), ""]
        return "\n".join([*lines, *(line for note in self.notes for line in (note, ""))])

    def _print(self, console):
        table = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number and len(self.columns) > 2 else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(escape, row))
        console.print(table)
        for note in self.notes:
            console.print(note, markup=False)
        console.print()


def _row(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
