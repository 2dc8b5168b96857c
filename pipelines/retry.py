"""`spanmill retry`: the documents of a run that failed, once more from the source files."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_options
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import Run, open_run, run_option
from pipelines.runs.redoing import redo
from schemas.errors import FileError

if TYPE_CHECKING:
    from schemas.slices import FileRef, Slice

DESCRIPTION = "Annotate the slices of a run again that hold dead letters, after a fix, also of an input file."


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """Everything a person can ask of the job."""

    run: str = run_option()
    error: tuple[str, ...] = option("retry only what failed by one of these errors, such as crash", ())


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(RetryOptions, arguments, prog="spanmill retry", description=DESCRIPTION, has_beam=False)
    with stopping_on_signals("the same command goes on from what is committed"):
        return run(options)


def run(options: RetryOptions) -> int:
    """Takes slices with dead letters back and annotates them again; returns the exit status of the run.

    A file that was mended since is read anew, all of it.

    Raises:
      ConfigError: there is no run, or its command is not known.
    """
    opened = open_run(options.run, flag="RUN")
    dead, letters = _find_dead(opened, frozenset(options.error))
    if not dead:
        others = f"; it has {dict(sorted(letters.items()))}" if letters else ""
        print(f"nothing to do: the run has no dead letters{_by(options.error)}{others}")
        return 0
    n_letters = sum(count for error, count in letters.items() if not options.error or error in options.error)
    files = {slice_.file for slice_ in dead}
    mended = {file.source for file in files if _has_changed(file)}
    ids = {slice_.slice_id for slice_ in dead}
    again = [slice_ for slice_ in opened.slices if slice_.slice_id in ids or slice_.file.source in mended]
    print(
        f"retrying {n_letters:,} dead letters in {len(again):,} slices of {len(files):,} files, "
        f"{len(mended):,} of them changed since",
        file=sys.stderr,
    )
    return redo(opened, again, replaced=mended)


def _by(errors: Sequence[str]) -> str:
    return f" by {', '.join(errors)}" if errors else ""


def _find_dead(opened: Run, errors: frozenset[str]) -> tuple[list["Slice"], Counter[str]]:
    """Slices with dead letters of the wanted errors, or of an earlier retry that was cut off; all letters by error."""
    from transforms.storage.commits import read_receipt
    from transforms.workers.threads import map_ahead

    def look(slice_: "Slice") -> tuple["Slice", Mapping[str, int], bool]:
        """The slice, its dead letters by error, and whether a retry was cut off before it."""
        receipt = read_receipt(opened.store, slice_.slice_id)
        return slice_, receipt.tally.dead if receipt else {}, receipt is None and _has_changed(slice_.file)

    dead: list[Slice] = []
    letters: Counter[str] = Counter()
    for slice_, counts, was_cut_off in map_ahead(look, opened.slices):
        letters.update(counts)
        if was_cut_off or any(not errors or error in errors for error in counts):
            dead.append(slice_)
    return dead, letters


def _has_changed(file: "FileRef") -> bool:
    """Whether a file is there and is another than the run read."""
    from transforms.corpora.files import check_unchanged

    try:
        check_unchanged(file)
    except FileError as error:
        return error.code == "input_changed"
    return False
