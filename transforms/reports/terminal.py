"""Documents on the terminal: text with its entities in colour, label and score behind each.

    in colour   Ada Lovelace PER 0.98 wrote      the entity stands on the colour of its label
    in plain    [Ada Lovelace](PER 0.98) wrote   in a pipe, a file, or a terminal without colours

Texts, ids and labels come from data: nothing in them is read as markup, and control characters are taken out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.color import Color
from rich.console import Console
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

from transforms.reports import charts
from transforms.reports.excerpts import Piece, Sample, Segment, mark_excerpts
from transforms.storage.annotations import EntityFilter

_WIDTH = 100
_MUTED, _BAD, _WARN = Style(dim=True), Style(color="red"), Style(color="yellow")
_NOTES = {"spurious": ("not in gold", _BAD), "below": ("under its threshold", _MUTED)}


class Tones(dict[str, int]):
    """Label to the number of its colour; a label that was not seen before gets the next one.

    >>> tones = Tones(["LOC", "PER"])
    >>> tones["PER"], tones["ORG"], tones["PER"]
    (1, 2, 1)
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        super().__init__((label, rank % len(charts.COLORS)) for rank, label in enumerate(labels))

    def __missing__(self, label: str) -> int:
        return self.setdefault(label, len(self) % len(charts.COLORS))


def print_sample(sample: Sample, console: Console, wanted: EntityFilter, tones: Tones) -> None:
    """A document in; its id, where it comes from and its text with entities go to the console.

    Args:
      sample: the document; a long one is shortened around the entities that are looked for.
      console: where to print.
      wanted: what is looked for; when that is low scores, the entities that have them stand out.
      tones: the colours of labels.
    """
    is_plain = console.color_system is None or console.no_color
    canvas = _Canvas(wanted, tones, is_plain=is_plain)
    if sample.problem:
        canvas.add_problem(sample)
    else:
        for segment in mark_excerpts(sample, find_focus(sample, wanted)):
            canvas.add_segment(segment)
    heading = "# " if is_plain else ""
    console.print(Text(f"{heading}{charts.printable(sample.id)}", Style(bold=True)), soft_wrap=True)
    console.print(Text(f"{charts.printable(sample.source)}, row {sample.row:,}", _MUTED), soft_wrap=True)
    if console.is_terminal:
        console.print(Padding(canvas.text, (0, 0, 1, 2)), width=min(_WIDTH, console.width))
    else:
        # Whatever reads the lines wants them as they are.
        console.print(canvas.text, end="\n\n", soft_wrap=True)


def find_focus(sample: Sample, wanted: EntityFilter) -> list[Mapping[str, Any]]:
    """The entities of a document that are looked for; none when nothing is left out."""
    if not wanted.is_active:
        return []
    return [entity for entity in sample.entities if wanted.matches(entity["label"], entity["score"])]


class _Canvas:
    """A document's text while it is being drawn."""

    def __init__(self, wanted: EntityFilter, tones: Tones, *, is_plain: bool) -> None:
        self.text = Text()
        self._wanted = wanted
        self._tones = tones
        self._is_plain = is_plain
        self._is_missed = False

    def add_segment(self, segment: Segment) -> None:
        """Draws a part of an excerpt."""
        if segment.kind == "gap":
            self.text.append("[…]", _MUTED)
        elif segment.kind == "text":
            self._add_pieces(segment.pieces, Style(), _BAD)
        else:
            self._add_mark(segment)

    def add_problem(self, sample: Sample) -> None:
        """Draws a document without text: what is known of its entities, a line each."""
        self.text.append(f"the text is not available: {charts.printable(sample.problem)}", _WARN)
        for entity in sorted(sample.entities, key=lambda entity: (entity["start"], entity["end"])):
            self.text.append("\n")
            kind = "below" if entity.get("is_below") else "found"
            piece = Piece(" ".join(entity["text"].split()), "", is_missed_end=False)
            self._add_mark(Segment(kind, (piece,), entity["label"], entity["score"]))
            self.text.append(f" {entity['start']}–{entity['end']}", _MUTED)

    def _add_mark(self, segment: Segment) -> None:
        is_low = self._wanted.below > 0 and self._wanted.matches(segment.label, segment.score)
        is_faint = not is_low and (self._wanted.below > 0 or segment.kind == "below")
        hue = Color.parse(charts.COLORS[self._tones[segment.label]])
        mark = Style(color=hue, underline=True) if is_faint else Style(color=_ink_on(hue), bgcolor=hue, bold=is_low)
        score = "" if segment.score is None else f" {segment.score:.2f}"
        notes = [_NOTES[segment.kind]] if segment.kind in _NOTES else []
        if self._is_plain and is_low:
            notes.append((f"under {self._wanted.below:g}", _MUTED))
        self.text.append("[" if self._is_plain else "")
        self._add_pieces(segment.pieces, mark, mark)
        self.text.append("](" if self._is_plain else " ")
        self.text.append(f"{charts.printable(segment.label)}{score}", Style(color=hue, bold=not is_faint))
        for note, style in notes:
            self.text.append(f", {note}" if self._is_plain else f" {note}", style)
        self.text.append(")" if self._is_plain else "")

    def _add_pieces(self, pieces: Iterable[Piece], style: Style, missed: Style) -> None:
        for piece in pieces:
            is_missed = bool(piece.missed)
            if is_missed and not self._is_missed and self._is_plain:
                self.text.append("{")
            self.text.append(_clean(piece.text), missed + Style(underline=True) if is_missed else style)
            self._is_missed = is_missed and not piece.is_missed_end
            if piece.is_missed_end:
                label = charts.printable(piece.missed)
                self.text.append(f"}}({label} missed)" if self._is_plain else f" {label} missed", _BAD)


def _ink_on(color: Color) -> str:
    """White where WCAG 2 grants it enough contrast, 4.5, on a colour; else black."""
    channels = [value / 255 for value in color.get_truecolor()]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "white" if 1.05 / (luminance + 0.05) >= 4.5 else "black"


def _clean(text: str) -> str:
    """A text without control characters, those apart that lay it out."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(charts.printable, line.split("\t"))) for line in lines)
