"""Live progress of a run, read from its commits, so that it is right on every runner."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

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
from transforms.storage.commits import COMMITS
from transforms.storage.store import Store

_POLL_S, _LINE_S = 0.5, 10.0


@contextlib.contextmanager
def watch_commits(store: Store, slices: Sequence[Slice], *, is_shown: bool) -> Iterator[None]:
    """Shows how many documents are committed while the body runs: a bar in a terminal, else a line now and then."""
    if not is_shown or not slices:
        yield
        return
    rows = {slice_.slice_id: slice_.rows for slice_ in slices}
    show = _show_bar if sys.stderr.isatty() else _show_lines

    def count_done() -> int:
        return sum(rows.get(name, 0) for name in store.list(COMMITS))

    with _telling(lambda stop: show(count_done, sum(rows.values()), stop)):
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
        while not stop.wait(_POLL_S):
            progress.update(task, completed=count_done())
        progress.update(task, completed=count_done())


def _show_lines(count_done: Callable[[], int], total: int, stop: threading.Event) -> None:
    started, first = time.monotonic(), count_done()
    while not stop.wait(_LINE_S):
        done, elapsed = count_done(), time.monotonic() - started
        rate = (done - first) / elapsed
        left = f", about {(total - done) / rate:,.0f} s left" if rate else ""
        print(f"annotated {done:,} of {total:,} documents, {rate:,.1f}/s{left}", file=sys.stderr, flush=True)
