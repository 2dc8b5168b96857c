"""Answers that repeat the text, with marks around its entities (as GPT-NER does; Wang et al., 2023).

    Anna met Otto in Rome.    ->    <PER>Anna</PER> met <PER>Otto</PER> in <LOC>Rome</LOC>.

A mark is the label between angle brackets, with `_` for what cannot stand there. Where the text itself has what looks
like a mark of these labels, its `<` is shown as `&lt;`, and an `&lt;` there as `&amp;lt;`; so nothing is taken for what
it is not. Marks do not nest, and no space stands beside one on the inside.

Every mention is meant where it stands: the repeated text is laid over the document's (Levenshtein, 1966). An answer is
as it should be when it is the text but for marks of known labels, opened and closed in turn. What else is mended:

| repair        | what it mends                                                                |
|---------------|------------------------------------------------------------------------------|
| label-name    | a mark in other letters, such as `<person>` for PER                          |
| unknown-label | marks of labels that nobody asked for                                        |
| nested        | marks within others; the outer ones count                                    |
| unbalanced    | a mark that is not closed, or not opened; one closed by another one's mark   |
| empty-mark    | marks around nothing                                                         |
| text-around   | there is other text before or after the repeated one                         |
| cut           | the end of the text is missing                                               |
| copy          | the text is repeated with mistakes                                           |
| mentions-only | the text is not repeated, but some mentions are there, of no certain place   |
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence

from rapidfuzz.distance import Levenshtein

from schemas.prompts import Grammar
from transforms.prompts.answers import Mention, Parsed, apply_repairs, match_label
from transforms.prompts.examples import Example
from transforms.text.words import find_words

_LEAST_SIMILARITY = 0.5
_ANY_MARK = re.compile(r"<(/?)([^\W\d][^<>\n]{0,60})>")


@dataclasses.dataclass(frozen=True)
class _Part:
    """A piece of an answer: text, or a mark that opens, closes or is of no known label.

    Attributes:
      kind: text, open, close or unknown.
      label: the label of a mark; the name in a mark that is not known.
      first: where it begins in the answer.
      last: where it ends.
    """

    kind: str
    label: str
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class _Marked:
    """A marked mention: its place in the copied text, and in the answer with its marks."""

    start: int
    end: int
    label: str
    first: int
    last: int


def name_labels(labels: Sequence[str]) -> dict[str, str]:
    """How each label is written in prompts and answers.

    >>> name_labels(["PER", "work of art", "work/of/art"])
    {'PER': 'PER', 'work of art': 'work_of_art', 'work/of/art': 'work_of_art_2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[^\w.-]+", "_", label)
        name = name if re.match(r"[^\W\d]", name) else f"_{name}"
        spellings = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        names[label] = next(spelling for spelling in spellings if spelling not in names.values())
    return names


def show(text: str, labels: Sequence[str]) -> str:
    """A text as prompts show it: with `&lt;` where something looks like a mark.

    >>> show("the <PER> mark, and a < b", ["PER"])
    'the &lt;PER> mark, and a < b'
    """
    return _looks_like_mark(labels).sub(lambda match: _escape(match[0]), text)


def render(example: Example, labels: Sequence[str]) -> str:
    """The right answer for an example.

    >>> render(Example("Anna slept.", ((0, 4, "PER"),)), ["PER"])
    '<PER>Anna</PER> slept.'
    """
    names = name_labels(labels)
    shown = show(example.text, labels)
    to_shown = _shift_positions(_looks_like_mark(labels), example.text, _escape)
    pieces, at = [], 0
    for start, end, label in example.spans:
        first, last = to_shown(start), to_shown(end)
        if label in names and first >= at:
            pieces += [shown[at:first], f"<{names[label]}>", shown[first:last], f"</{names[label]}>"]
            at = last
    return "".join([*pieces, shown[at:]])


def constrain(text: str, labels: Sequence[str]) -> Grammar:
    """The answers that a text may have: itself, with marks around some of its words.

    From each word there is a rule outside of entities and one within; so the grammar has two rules per word, and never
    goes back. What closes a mention may be the mark of any label: rules within an entity of each label would take
    engines ten times as long to prepare, and the label is that of the opening mark.
    """
    shown, names = show(text, labels), name_labels(labels).values()
    words = find_words(shown)
    rules = [
        "root ::= o0",
        "open ::= " + " | ".join(f'"<{name}>"' for name in names),
        "close ::= " + " | ".join(f'"</{name}>"' for name in names),
    ]
    at = 0
    for number, (start, end) in enumerate(words):
        space = f"{_quote(shown[at:start])} " if at < start else ""
        word = _quote(shown[start:end])
        rules.append(f"o{number} ::= {space}{word} o{number + 1} | {space}open {word} i{number + 1}")
        if number:
            rules.append(f"i{number} ::= {space}{word} i{number + 1} | close o{number}")
        at = end
    rules.append(f"o{len(words)} ::= {_quote(shown[at:])}")
    if words:
        rules.append(f"i{len(words)} ::= close o{len(words)}")
    return Grammar("gbnf", "\n".join(rules) + "\n")


def parse(answer: str, text: str, labels: Sequence[str]) -> Parsed | None:
    """An answer to its mentions, each near its place; None where it cannot be read."""
    names = {name: label for label, name in name_labels(labels).items()}
    parts = _split(answer, _known_mark(labels), names)
    if _is_balanced(parts):
        copy, marked = _strip(answer, parts, labels)
        if copy == text and all(mark.start < mark.end for mark in marked):
            return Parsed(tuple(_mention(copy, mark, mark.start) for mark in marked))
    parts, repairs = apply_repairs(
        _split(answer, _ANY_MARK, names),
        (
            ("label-name", lambda parts: _rename(parts, names)),
            ("unknown-label", lambda parts: _drop_unknown(parts, answer, text)),
            ("nested", _drop_nested),
            ("unbalanced", _balance),
            ("empty-mark", lambda parts: _drop_empty(parts, answer)),
        ),
    )
    copy, marked = _strip(answer, parts, labels)
    repair, locate = _lay_over(copy, text)
    if repair == "mentions-only" and not marked:
        return None
    mentions = tuple(_mention(copy, mark, locate(mark.start) if locate else None) for mark in marked)
    return Parsed(mentions, (*repairs, repair) if repair else repairs)


def _looks_like_mark(labels: Sequence[str]) -> "re.Pattern[str]":
    """What has to be escaped in a text; the first alternative is what has not been yet."""
    names = "|".join(map(re.escape, name_labels(labels).values()))
    return re.compile(rf"<(?=/?(?:{names})>)|&(?:amp;)*lt;(?=/?(?:{names})>)")


def _known_mark(labels: Sequence[str]) -> "re.Pattern[str]":
    return re.compile(rf"<(/?)({'|'.join(map(re.escape, name_labels(labels).values()))})>")


def _escape(match: str) -> str:
    """What is shown for a `<`, or for what would be read as one."""
    return "&lt;" if match == "<" else f"&amp;{match[1:]}"


def _unescape(match: str) -> str:
    return "<" if match == "&lt;" else f"&{match.removeprefix('&amp;')}"


def _shift_positions(pattern: "re.Pattern[str]", text: str, replace: Callable[[str], str]) -> Callable[[int], int]:
    """Positions in a text to those where each match is replaced."""
    ends, shifts = [0], [0]
    for match in pattern.finditer(text):
        ends.append(match.end())
        shifts.append(shifts[-1] + len(replace(match[0])) - len(match[0]))
    return lambda at: at + shifts[bisect.bisect_right(ends, at) - 1]


def _split(answer: str, mark: "re.Pattern[str]", names: dict[str, str]) -> tuple[_Part, ...]:
    parts, at = [], 0
    for match in mark.finditer(answer):
        parts.append(_Part("text", "", at, match.start()))
        kind = ("close" if match[1] else "open") if match[2] in names else "unknown"
        parts.append(_Part(kind, names.get(match[2], match[2]), *match.span()))
        at = match.end()
    parts.append(_Part("text", "", at, len(answer)))
    return tuple(parts)


def _is_balanced(parts: Sequence[_Part]) -> bool:
    marks = [part for part in parts if part.kind != "text"]
    return len(marks) % 2 == 0 and all(
        (first.kind, last.kind) == ("open", "close") and first.label == last.label
        for first, last in zip(marks[::2], marks[1::2], strict=True)
    )


def _strip(answer: str, parts: Sequence[_Part], labels: Sequence[str]) -> tuple[str, list[_Marked]]:
    """Balanced parts to the copied text and the mentions in it, without spaces at their ends."""
    shown, opened = "", (0, 0)
    places: list[tuple[int, int, str, int, int]] = []
    for part in parts:
        if part.kind == "text":
            shown += answer[part.first : part.last]
        elif part.kind == "open":
            opened = len(shown), part.first
        elif part.kind == "close":
            places.append((opened[0], len(shown), part.label, opened[1], part.last))
    escaped = re.compile(_looks_like_mark(labels).pattern.partition(")|")[2])
    to_plain = _shift_positions(escaped, shown, _unescape)
    copy = escaped.sub(lambda match: _unescape(match[0]), shown)
    marked = []
    for start, end, label, first, last in places:
        inner = copy[to_plain(start) : to_plain(end)]
        begin = to_plain(start) + len(inner) - len(inner.lstrip())
        marked.append(_Marked(begin, begin + len(inner.strip()), label, first, last))
    return copy, marked


def _mention(copy: str, mark: _Marked, near: int | None) -> Mention:
    return Mention(copy[mark.start : mark.end], mark.label, mark.first, mark.last, near)


def _rename(parts: tuple[_Part, ...], names: dict[str, str]) -> tuple[_Part, ...]:
    renamed = []
    for part in parts:
        label = match_label(part.label, list(names.values())) if part.kind == "unknown" else None
        kind = "close" if label and part.last - part.first > len(part.label) + 2 else "open"
        renamed.append(part if label is None else dataclasses.replace(part, kind=kind, label=label))
    return tuple(renamed)


def _drop_unknown(parts: tuple[_Part, ...], answer: str, text: str) -> tuple[_Part, ...]:
    """Keeps what the text has too: it is no mark."""
    kept = []
    for part in parts:
        if part.kind != "unknown":
            kept.append(part)
        elif answer[part.first : part.last] in text:
            kept.append(dataclasses.replace(part, kind="text", label=""))
    return tuple(kept)


def _drop_nested(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """Leaves out marks within a mention that is closed later; each inner one takes its closing mark along."""
    kept: list[_Part] = []
    opened: list[_Part] = []
    for part in parts:
        if part.kind == "open":
            opened.append(part)
        is_inner = part.kind != "text" and len(opened) > 1
        if part.kind == "close" and opened:
            opened.pop()
        if not is_inner:
            kept.append(part)
    # Openings that nothing closes are no nesting.
    return tuple(kept) if len(opened) == 0 else parts


def _balance(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """Leaves out marks without a partner; of two openings in a row, the second has the closing mark."""
    kept: list[_Part] = []
    opened: int | None = None
    lonely: list[int] = []
    for part in parts:
        if part.kind == "open":
            if opened is not None:
                lonely.append(opened)
            opened = len(kept)
        elif part.kind == "close":
            if opened is None:
                lonely.append(len(kept))
            else:
                part = dataclasses.replace(part, label=kept[opened].label)
            opened = None
        kept.append(part)
    if opened is not None:
        lonely.append(opened)
    return tuple(part for at, part in enumerate(kept) if at not in lonely)


def _drop_empty(parts: tuple[_Part, ...], answer: str) -> tuple[_Part, ...]:
    """Leaves out pairs of marks with nothing between them but space."""
    kept: list[_Part] = []
    for part in parts:
        between = [known for known in itertools.takewhile(lambda known: known.kind != "open", reversed(kept))]
        if part.kind == "close" and not "".join(answer[known.first : known.last] for known in between).strip():
            del kept[len(kept) - len(between) - 1]
        else:
            kept.append(part)
    return tuple(kept)


def _lay_over(copy: str, text: str) -> tuple[str, Callable[[int], int] | None]:
    """The repair that a copy needs, and what turns a position in it into one in the text, if that can be told."""
    if copy == text:
        return "", lambda at: at
    if text.strip() and (found := copy.find(text.strip())) != -1:
        shift = len(text) - len(text.lstrip()) - found
        return "text-around" if copy.strip() != text.strip() else "", lambda at: at + shift
    begun = re.sub(r"</?[^<>\n]*$", "", copy).rstrip()
    if begun and text.startswith(begun):
        return "cut", lambda at: at
    # A copy that is shorter may be one of the beginning.
    target = max((text, text[: len(copy)]), key=lambda part: Levenshtein.normalized_similarity(copy, part))
    if not copy.strip() or Levenshtein.normalized_similarity(copy, target) < _LEAST_SIMILARITY:
        return "mentions-only", None
    blocks = list(Levenshtein.opcodes(copy, target))
    firsts = [block.src_start for block in blocks]

    def locate(at: int) -> int:
        block = blocks[max(0, bisect.bisect_right(firsts, at) - 1)]
        return int(min(block.dest_start + at - block.src_start, block.dest_end))

    return "copy", locate


def _quote(literal: str) -> str:
    """A literal of GBNF."""
    return '"' + "".join(map(_escape_character, literal)) + '"'


def _escape_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable() or ord(character) > 0x7F:
        return character
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{ord(character):02X}")
