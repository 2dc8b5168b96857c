"""The report of a run, three times: as JSON values, as one HTML file, and as a summary for the terminal.

    tally, run --build--> report --render--> HTML, with a few documents and their entities
                                 --print---> terminal

The HTML file stands alone: no script, no external resource, and a policy that forbids both. Everything that comes from
data passes through escaping, and everything on a line of its own in the terminal through `printable`.
"""

import dataclasses
import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.receipts import SCORE_BINS, STAGES, Tally
from transforms.scoring import charts
from transforms.scoring.matching import score_matches

REPORT_VERSION = 1
EXCERPT_CHARACTERS = 1200

_CONTEXTS = (600, 300, 150, 80, 40)
_MAX_INPUTS = 50


@dataclasses.dataclass(frozen=True)
class Sample:
    """A document to show in the report.

    Attributes:
      id: the document's id.
      source: the file that it came from.
      row: its position there, from 0.
      text: the whole text.
      entities: predicted `start`, `end`, `label` and `score`, in code points of the text.
      gold: gold `start`, `end` and `label`; None for a document without gold.
    """

    id: str
    source: str
    row: int
    text: str
    entities: Sequence[Mapping[str, Any]]
    gold: Sequence[Mapping[str, Any]] | None = None


def build_report(tally: Tally, *, run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's counts and description in, its report as JSON values out.

    Shares and rates that would divide by zero, or whose counts are not given, are None.

    Args:
      tally: counts of the whole run.
      run: `fingerprint`, `settings`, `versions`, `model` (name, digest), `inputs` (mappings of uri, size_bytes, rows)
        and `seconds` (wall time of this start); for the rates also `documents_this_start` and `tokens_this_start`,
        because a resumed run did part of its documents before.
    """
    seconds = run["seconds"]
    return {
        "report_version": REPORT_VERSION,
        **{key: run[key] for key in ("fingerprint", "model", "settings", "versions")},
        "inputs": [dict(item) for item in run["inputs"]],
        "documents": tally.documents,
        "failed_documents": tally.dead_rows,
        "failed_fraction": _divide(tally.dead_rows, tally.documents + tally.dead_rows),
        "dead_letters": sum(tally.dead.values()),
        "dead_letters_by_error": _rank(tally.dead),
        "entities": sum(tally.entities.values()),
        "entities_by_label": _rank(tally.entities),
        "entities_below_threshold_by_label": dict(sorted(tally.below.items())),
        **_report_histograms(tally),
        "characters": tally.characters,
        "tokens": tally.tokens,
        "windows": tally.windows,
        "computed_tokens": tally.computed_tokens,
        "overhead_fraction": _divide(tally.computed_tokens - tally.tokens, tally.tokens),
        "seconds": seconds,
        "documents_per_s": _divide(run.get("documents_this_start"), seconds),
        "tokens_per_s": _divide(run.get("tokens_this_start"), seconds),
        "stages": _share_seconds(tally.seconds),
        "scores": _report_scores(tally.matches),
    }


def render_html(report: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """A report and the documents to show in, one self-contained HTML file out.

    Args:
      report: what `build_report` gave, or the same read back from JSON.
      samples: documents in the order to show them; long ones are shortened around their entities.
    """
    labels = _rank_labels(report, samples)
    view = {
        "report": report,
        "colors": charts.COLORS,
        "tones": {label: rank % len(charts.COLORS) for rank, label in enumerate(labels)},
        "charts": {name: Markup(svg) for name, svg in _draw_charts(report, labels)},
        "labels": labels,
        "max_bars": charts.MAX_BARS,
        "max_panels": charts.MAX_PANELS,
        "samples": [(sample, list(mark_excerpts(sample))) for sample in samples],
        "has_gold": any(sample.gold is not None for sample in samples),
        "scored": sorted((report["scores"] or {"labels": []})["labels"], key=lambda row: labels.index(row["label"])),
        "stages": {stage: report["stages"][stage] for stage in _order_stages(report["stages"])},
        "dead_letters": _rank(report["dead_letters_by_error"]),
        "settings": list(_flatten(report["settings"])),
        "inputs": report["inputs"][:_MAX_INPUTS],
    }
    return _template().render(view)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A stretch of an excerpt that is drawn in one way.

    Attributes:
      text: the characters.
      missed: label of the missed gold entity that covers it, or an empty string.
      is_missed_end: whether that entity ends here.
    """

    text: str
    missed: str
    is_missed_end: bool


@dataclasses.dataclass(frozen=True)
class Segment:
    """A predicted entity, the text between two of them, or a gap.

    Attributes:
      kind: `text`, `gap`, `found` (also when there is no gold to compare with) or `spurious`.
      pieces: its text, cut where missed gold entities begin and end; none for a gap.
      label: the entity's label.
      score: the entity's score.
    """

    kind: str
    pieces: tuple[Piece, ...] = ()
    label: str = ""
    score: float = 0.0


def mark_excerpts(sample: Sample) -> Iterator[Segment]:
    """A document in, what to show of it out, in order.

    Of overlapping entities the outer one is shown, else the one that begins first.
    """
    wanted = {(span["start"], span["end"], span["label"]) for span in sample.gold or ()}
    entities = _drop_overlaps(sample.entities)
    given = {(span["start"], span["end"], span["label"]) for span in sample.entities}
    missed = _drop_overlaps([{"start": s, "end": e, "label": label} for s, e, label in sorted(wanted - given)])
    last = 0
    for start, end in _choose_excerpts(sample.text, [*entities, *missed]):
        if start > last:
            yield Segment("gap")
        here = start
        for entity in entities:
            first, stop = max(entity["start"], here), min(entity["end"], end)
            if first < stop:
                if here < first:
                    yield Segment("text", tuple(_cut_pieces(sample.text, here, first, missed)))
                is_found = sample.gold is None or (entity["start"], entity["end"], entity["label"]) in wanted
                pieces = tuple(_cut_pieces(sample.text, first, stop, missed))
                yield Segment("found" if is_found else "spurious", pieces, entity["label"], entity["score"])
                here = stop
        if here < end:
            yield Segment("text", tuple(_cut_pieces(sample.text, here, end, missed)))
        last = end
    if last < len(sample.text):
        yield Segment("gap")


def print_summary(report: Mapping[str, Any], console: Console) -> None:
    """A report in; its headline figures and tables go to the console.

    Args:
      report: what `build_report` gave.
      console: where to print.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(justify="right", style="bold")
    facts.add_row("documents", f"{report['documents']:,}")
    facts.add_row("failed", f"{report['failed_documents']:,} ({format_share(report['failed_fraction'])})")
    facts.add_row("entities", f"{report['entities']:,}")
    facts.add_row("documents/s", format_rate(report["documents_per_s"]))
    facts.add_row("tokens/s", format_rate(report["tokens_per_s"]))
    facts.add_row("wall time", format_duration(report["seconds"]))
    if report["scores"]:
        facts.add_row("strict F1", f"{report['scores']['micro']['f1']:.4f}")
    console.print(facts)
    for table in _summary_tables(report):
        console.print()
        console.print(table)


def format_share(share: float | None) -> str:
    """A share in, a percentage out that never rounds something to nothing.

    >>> format_share(0.1234), format_share(0.00001), format_share(0.0), format_share(None)
    ('12.3 %', '< 0.1 %', '0.0 %', '–')
    """
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def format_rate(rate: float | None) -> str:
    """Something per second in, a readable number out.

    >>> format_rate(12345.6), format_rate(3.21), format_rate(None)
    ('12,346', '3.2', '–')
    """
    if rate is None:
        return "–"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}"


def format_duration(seconds: float) -> str:
    """Seconds in, a readable time out.

    >>> format_duration(0.25), format_duration(61.7), format_duration(7384)
    ('0.25 s', '1 min 02 s', '2 h 03 min')
    """
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_size(size_bytes: int) -> str:
    """Bytes in, a readable size out.

    >>> format_size(512), format_size(1_500_000), format_size(999_999_999_999)
    ('512 B', '1.5 MB', '1,000.0 GB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    unit, scale = next((pair for pair in (("kB", 1e3), ("MB", 1e6)) if size_bytes < 1000 * pair[1]), ("GB", 1e9))
    return f"{size_bytes / scale:,.1f} {unit}"


def _divide(part: float | None, whole: float) -> float | None:
    return part / whole if whole and part is not None else None


def _report_histograms(tally: Tally) -> dict[str, Any]:
    return {
        "score_histogram": {
            "edges": [k / SCORE_BINS for k in range(SCORE_BINS + 1)],
            "by_label": {label: list(tally.scores[label]) for label in sorted(tally.scores)},
        },
        "length_histogram": {
            "first_tokens": [0, *(2**k for k in range(len(tally.lengths) - 1))],
            "documents": list(tally.lengths),
        },
    }


def _share_seconds(seconds: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    total = sum(seconds.values())
    return {
        stage: {"seconds": seconds[stage], "share": _divide(seconds[stage], total)} for stage in _order_stages(seconds)
    }


def _order_stages(stages: Iterable[str]) -> list[str]:
    return sorted(stages, key=lambda stage: (STAGES.index(stage) if stage in STAGES else len(STAGES), stage))


def _rank(counts: Mapping[str, int]) -> dict[str, int]:
    """Largest first; JSON with sorted keys loses that order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _report_scores(matches: Mapping[str, list[int]]) -> dict[str, Any] | None:
    if not matches:
        return None
    *labels, micro = [dataclasses.asdict(score) for score in score_matches(matches)]
    return {"labels": labels, "micro": micro, "matches": {label: list(matches[label]) for label in sorted(matches)}}


def _rank_labels(report: Mapping[str, Any], samples: Sequence[Sample]) -> list[str]:
    """Every label there is, the frequent first: the rank decides about the colour."""
    counts = report["entities_by_label"]
    scored = [row["label"] for row in (report["scores"] or {"labels": []})["labels"]]
    shown = {span["label"] for sample in samples for span in (*sample.entities, *(sample.gold or ()))}
    others = {*report["entities_below_threshold_by_label"], *report["score_histogram"]["by_label"], *scored, *shown}
    return [*_rank(counts), *sorted(others - set(counts))]


def _draw_charts(report: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    if report["entities"]:
        yield "labels", charts.draw_label_bars({label: report["entities_by_label"].get(label, 0) for label in labels})
    histograms = report["score_histogram"]["by_label"]
    if any(map(any, histograms.values())):
        empty = [0] * SCORE_BINS
        yield "scores", charts.draw_score_panels({label: histograms.get(label, empty) for label in labels})
    if any(report["length_histogram"]["documents"]):
        yield "lengths", charts.draw_length_bars(report["length_histogram"]["documents"])
    shares = {stage: report["stages"][stage]["share"] for stage in _order_stages(report["stages"])}
    if any(shares.values()):
        yield "time", charts.draw_time_bar(shares)


def _drop_overlaps(spans: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kept: list[Mapping[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        if not kept or span["start"] >= kept[-1]["end"]:
            kept.append(span)
    return kept


def _choose_excerpts(text: str, spans: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Character ranges to show: as much around every span as EXCERPT_CHARACTERS allow, else the first spans."""
    if len(text) <= EXCERPT_CHARACTERS:
        return [(0, len(text))]
    if not spans:
        return [(0, _snap(text, EXCERPT_CHARACTERS))]
    ranges: list[tuple[int, int]] = []
    for context in _CONTEXTS:
        ranges = _surround(text, spans, context)
        if sum(end - start for start, end in ranges) <= EXCERPT_CHARACTERS:
            return ranges
    chosen, left = [], EXCERPT_CHARACTERS
    for start, end in ranges:
        if left > 0:
            chosen.append((start, min(end, start + left)))
            left -= end - start
    return chosen


def _surround(text: str, spans: Sequence[Mapping[str, Any]], context: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (span["start"], span["end"])):
        start, end = max(0, span["start"] - context), min(len(text), span["end"] + context)
        start, end = _snap(text, start), max(span["end"], _snap(text, end))
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    return ranges


def _snap(text: str, position: int) -> int:
    """The position after the last space within the 20 characters before it: excerpts should not cut words."""
    if position in (0, len(text)):
        return position
    return (text.rfind(" ", max(0, position - 20), position) + 1) or position


def _cut_pieces(text: str, start: int, end: int, missed: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    here = start
    for span in missed:
        first, stop = max(span["start"], here), min(span["end"], end)
        if first < stop:
            if here < first:
                yield Piece(text[here:first], "", is_missed_end=False)
            yield Piece(text[first:stop], span["label"], is_missed_end=stop == span["end"])
            here = stop
    if here < end:
        yield Piece(text[here:end], "", is_missed_end=False)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _summary_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    total = report["entities"]
    shares = [
        (label, f"{n:,}", format_share(_divide(n, total))) for label, n in _rank(report["entities_by_label"]).items()
    ]
    yield _make_table("entities by label", ("label", "entities", "share"), shares)
    if report["scores"]:
        rows = [*report["scores"]["labels"], report["scores"]["micro"]]
        scores = [
            (row["label"], *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}")
            for row in rows
        ]
        yield _make_table("strict scores", ("label", "precision", "recall", "F1", "support"), scores)
    if report["dead_letters_by_error"]:
        letters = [(error, f"{n:,}") for error, n in _rank(report["dead_letters_by_error"]).items()]
        yield _make_table("dead letters", ("error", "letters"), letters)
    if report["stages"]:
        stages = [(stage, report["stages"][stage]) for stage in _order_stages(report["stages"])]
        times = [(stage, format_duration(value["seconds"]), format_share(value["share"])) for stage, value in stages]
        yield _make_table("time, summed over workers", ("stage", "time", "share"), times)


def _make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        # Text, not str: a label such as [red] is no markup.
        table.add_row(*(Text(charts.printable(cell)) for cell in row))
    return table


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "share": format_share,
        "rate": format_rate,
        "duration": format_duration,
        "size": format_size,
        "count": "{:,}".format,
        "line": charts.printable,
        "length_bin": charts.name_length_bin,
    }
    source = importlib.resources.files("transforms.scoring").joinpath("report.html.j2")
    return environment.from_string(source.read_text(encoding="utf-8"))
