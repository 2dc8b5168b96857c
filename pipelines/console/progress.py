"""Live progress of a run, read from its commits, so that it is right on every runner."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pyarrow.compute as pc
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from schemas.slices import Slice
from schemas.tables import SliceTable, name_array
from transforms.storage.commits import COMMITS
from transforms.storage.store import Store

_POLL_S, _LINE_S, _RESTS = 0.5, 10.0, 20


@contextlib.contextmanager
def watch_commits(store: Store, slices: Sequence[Slice], *, is_shown: bool) -> Iterator[None]:
    """Shows how many documents are committed while the body runs: a bar in a terminal, else a line now and then."""
    if not is_shown or not slices:
        yield
        return
    table = SliceTable.of(slices)
    total: int = pc.sum(table.column("rows")).as_py()
    show = _show_bar if sys.stderr.isatty() else _show_lines

    def count_done() -> int:
        committed = name_array(store.list(COMMITS))
        done = table.column("rows").filter(pc.is_in(table.ids, value_set=committed))
        return int(pc.sum(done, min_count=0).as_py())

    with _telling(lambda stop: show(count_done, total, stop)):
        yield


@contextlib.contextmanager
def watch_clock(text: str, *, is_shown: bool) -> Iterator[None]:
    """Shows that the body runs and for how long: a spinner in a terminal, else a line now and then."""
    if not is_shown:
        yield
        return
    if sys.stderr.isatty():
        columns = (SpinnerColumn(), TextColumn(text), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            progress.add_task(text, total=None)
            yield
        return
    started = time.monotonic()

    def tell(stop: threading.Event) -> None:
        while not stop.wait(_LINE_S):
            print(f"{text}, {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)

    with _telling(tell):
        yield


class Counter:
    """How far something has come; told by whoever does it, from any thread."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def tell(self, done: int, *, total: int | None = None) -> None:
        """So many are done, of so many where that is known."""
        self.done, self.total = done, total


@contextlib.contextmanager
def watch_count(verb: str, what: str, *, is_shown: bool) -> Iterator[Counter]:
    """Shows how far the body has come, which tells a counter: a line in a terminal, else one now and then.

    Args:
      verb: what is done, such as `listed`.
      what: to what, such as `files`.
      is_shown: whether anything is shown.
    """
    counter = Counter()
    if not is_shown:
        yield counter
        return
    is_terminal = sys.stderr.isatty()
    started = time.monotonic()

    def tell(stop: threading.Event) -> None:
        while not stop.wait(_POLL_S if is_terminal else _LINE_S):
            rate = counter.done / (time.monotonic() - started)
            whole = f" of {counter.total:,}" if counter.total else ""
            left = f", about {(counter.total - counter.done) / rate:,.0f} s left" if counter.total and rate else ""
            line = f"{verb} {counter.done:,}{whole} {what}, {rate:,.0f}/s{left}"
            print(
                f"\r{line}\x1b[K" if is_terminal else line, end="" if is_terminal else "\n", file=sys.stderr, flush=True
            )
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    with _telling(tell):
        yield counter


@contextlib.contextmanager
def _telling(tell: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs a function in a thread beside the body, and tells it by an event that the body has ended."""
    stop = threading.Event()
    thread = threading.Thread(target=tell, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _show_bar(count_done: Callable[[], int], total: int, stop: threading.Event) -> None:
    columns = (
        TextColumn("annotating"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("documents"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("annotating", total=total, completed=count_done())
        wait_s = _POLL_S
        while not stop.wait(wait_s):
            started = time.monotonic()
            progress.update(task, completed=count_done())
            # A million commits take a while to list, and the workers have better use for the store.
            wait_s = max(_POLL_S, _RESTS * (time.monotonic() - started))
        progress.update(task, completed=count_done())


def _show_lines(count_done: Callable[[], int], total: int, stop: threading.Event) -> None:
    started, first = time.monotonic(), count_done()
    wait_s = _LINE_S
    while not stop.wait(wait_s):
        asked = time.monotonic()
        done, elapsed = count_done(), time.monotonic() - started
        wait_s = max(_LINE_S, _RESTS * (time.monotonic() - asked))
        rate = (done - first) / elapsed
        left = f", about {(total - done) / rate:,.0f} s left" if rate else ""
        print(f"annotated {done:,} of {total:,} documents, {rate:,.1f}/s{left}", file=sys.stderr, flush=True)
