"""A registry on the terminal: its checkpoints, its history, one checkpoint, and what gates said of a candidate."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from rich.console import Console
from rich.style import Style
from rich.text import Text

from schemas.registry import COLLECTION, CheckpointRecord, HistoryEntry, Refusal, Verdict
from schemas.scores import MICRO
from transforms.reports import charts
from transforms.reports.summary import make_table

_SHOWN = 12
_GOOD, _BAD, _OPEN = Style(color="green"), Style(color="red", bold=True), Style(color="yellow")


def print_registry(
    records: Mapping[str, CheckpointRecord],
    entries: Sequence[HistoryEntry],
    refusals: Sequence[Refusal],
    console: Console,
) -> None:
    """Checkpoints, those added last coming last, and the history below.

    Args:
      records: checkpoints by digest.
      entries: the history.
      refusals: refused candidates.
      console: where to print.
    """
    rows = [
        (
            record.digest[:_SHOWN],
            record.kind,
            describe_state(record.digest, entries, refusals),
            _minute(record.at),
            *_made(record),
        )
        for record in sorted(records.values(), key=lambda record: (record.at, record.digest))
    ]
    columns = ("checkpoint", "kind", "state", "added", "method", "from weights")
    console.print(make_table("checkpoints", columns, rows, is_number=[False] * len(columns)))
    if entries:
        history = [
            (
                str(entry.number),
                _minute(entry.at),
                entry.kind,
                *map(_short, (entry.champion, entry.replaces)),
                _note(entry),
            )
            for entry in entries
        ]
        columns = ("entry", "at", "kind", "champion", "replaces", "note")
        console.print()
        console.print(make_table("history", columns, history, is_number=[True, *[False] * 5]))


def print_checkpoint(
    record: CheckpointRecord, entries: Sequence[HistoryEntry], refusals: Sequence[Refusal], console: Console
) -> None:
    """A checkpoint: what it is, what it was made from, how it was judged; arguments as in `print_registry`."""
    facts = [
        ("checkpoint", record.digest),
        ("state", describe_state(record.digest, entries, refusals)),
        ("kind", record.kind),
        ("added", f"{record.at} by {record.command}"),
        ("weights", record.weights_digest),
        *([("base", record.base)] if record.base else []),
        *_describe_card(record),
    ]
    for name, value in facts:
        console.print(Text(f"{name:<12} {charts.printable(value)}"), soft_wrap=True)
    for verdict, title in _find_verdicts(record.digest, entries, refusals):
        console.print()
        console.print(Text(title, style="bold"))
        print_verdict(verdict, console)


def print_verdict(verdict: Verdict, console: Console) -> None:
    """What each gate said, `none` where it had nothing to measure, and the scores of the candidate."""
    for gate in verdict.gates:
        mark = Text("pass  ", _GOOD) if gate.passed else Text("FAIL  ", _BAD)
        if gate.measured is None:
            mark = Text("none  ", _OPEN)
        console.print(mark + Text(charts.printable(f"{gate.name}: {gate.sentence}")), soft_wrap=True)
    rows = [
        (item.name, f"{item.documents:,}", f"{100 * score.f1:.2f}", f"{score.support:,}", f"{item.ece:.4f}")
        for item in verdict.sets
        for score in item.scores
        if score.label == MICRO
    ]
    if rows:
        console.print(make_table("test sets", ("set", "documents", "F1", "entities", "calibration error"), rows))


def describe_state(digest: str, entries: Sequence[HistoryEntry], refusals: Sequence[Refusal]) -> str:
    """What a checkpoint is at the moment.

    >>> describe_state("0a1b", (), ())
    'candidate'
    """
    if entries and entries[-1].champion == digest:
        return "champion"
    if any(entry.champion == digest for entry in entries):
        return "champion before"
    count = sum(refusal.digest == digest for refusal in refusals)
    return f"refused {count} times" if count > 1 else "refused" if count else "candidate"


def _find_verdicts(
    digest: str, entries: Sequence[HistoryEntry], refusals: Sequence[Refusal]
) -> Iterator[tuple[Verdict, str]]:
    for entry in entries:
        if entry.champion == digest and entry.verdict:
            by_force = f" BY FORCE: {charts.printable(entry.forced)}" if entry.forced else ""
            yield entry.verdict, f"entry {entry.number}, {entry.kind} on {entry.at}{by_force}"
    for refusal in refusals:
        if refusal.digest == digest:
            yield refusal.verdict, f"refused on {refusal.at} beside champion {_short(refusal.verdict.champion)}"


def _describe_card(record: CheckpointRecord) -> Iterator[tuple[str, str]]:
    card = record.card
    if not card:
        return
    yield "method", f"{card['method']}, {card['steps']} steps"
    yield "from", f"{card['base']} with weights {card['base_digest']}"
    for data in card["data"]:
        yield data["role"], f"{data['name']}, {data['sentences']:,} sentences, {data['digest'][:_SHOWN]}"
    for score in card["scores"]:
        f1 = next((row["f1"] for row in score["after"] if row["label"] == MICRO), 0.0)
        yield "F1", f"{100 * f1:.2f} on {score['name']} ({score['role']}), at training"


def _made(record: CheckpointRecord) -> tuple[str, str]:
    return (str(record.card["method"]), _short(record.parent_weights)) if record.card else ("", "")


def _note(entry: HistoryEntry) -> str:
    if entry.kind == COLLECTION:
        return f"removed {_join(map(_short_name, entry.removed))}"
    if entry.forced:
        return f"BY FORCE: {entry.forced}"
    if not entry.verdict:
        return ""
    n_open = sum(gate.measured is None for gate in entry.verdict.gates)
    return f"{len(entry.verdict.gates) - n_open} gates passed" + (f", {n_open} judged nothing" if n_open else "")


def _minute(at: str) -> str:
    """A time of a record, UTC, to the minute."""
    return at[:16].replace("T", " ")


def _short(digest: str) -> str:
    return digest[:_SHOWN] or "none"


def _short_name(name: str) -> str:
    digest, dot, copy = name.partition(".")
    return digest[:_SHOWN] + dot + copy


def _join(names: Collection[str] | Iterator[str]) -> str:
    return ", ".join(names)
