"""What a look at labelled files says in words, what hurts most first.

    broken    training refuses the file, or its scores will flatter
    harmful   the model learns something wrong, or less
    note      good to know

Within a level the finding that touches the larger share of the file stands first. Names of files and labels come from
data; whoever shows a finding escapes it.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.labels import OUTSIDE

LEVELS = ("broken", "harmful", "note")

_LEAKING = 0.01
_REPETITIVE = 0.05
_CONFLICTING = 0.01
_TOO_LONG = 0.01
_UNKNOWN = 0.01
_RARE = 10
_NAMED_LINES = 12


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something to mend or to know.

    Attributes:
      level: one of LEVELS.
      text: one sentence.
      share: how much of what it is about it touches, from 0 to 1.
      anchor: the table that tells more.
    """

    level: str
    text: str
    share: float
    anchor: str


def find_findings(report: Mapping[str, Any]) -> list[Finding]:
    """A report of labelled files in, its findings out, the gravest first."""
    found = [*_find_shared(report)]
    for file in report["files"]:
        found += [*_find_tags(file), *_find_repetitions(file), *_find_layout(file)]
        if report["model"]:
            found += _find_lengths(file, report["model"])
    return sorted(found, key=lambda one: (LEVELS.index(one.level), -one.share))


def _find_shared(report: Mapping[str, Any]) -> Iterator[Finding]:
    """What concerns several files."""
    for leak in report["leaks"]:
        first, second = leak["first"], leak["second"]
        n, share, n_long = leak["second_count"], leak["second_share"], leak["second_long"]
        if n_long:
            yield Finding(
                "broken" if share * n_long / n >= _LEAKING else "harmful",
                f"{n:,} {_plural(n, 'sentence')} of {second} ({100 * share:.1f} %) also {_stand(n)} in {first}, "
                f"{n_long:,} of them long: scores on one after training on the other will flatter.",
                share,
                "leaks",
            )
        elif n:
            yield Finding(
                "note", f"{n:,} short {_plural(n, 'sentence')} of {second} also {_stand(n)} in {first}.", share, "leaks"
            )
        if leak["disagreeing"]:
            n = leak["disagreeing"]
            text = f"{n:,} {_plural(n, 'sentence')} in both {first} and {second} {_are(n)} not tagged alike."
            yield Finding("harmful", text, share, "leaks")
    yield from _find_same_files(report["files"])
    yield from _find_conflicts(report["conflicts"])
    yield from _find_labels(report)


def _find_same_files(files: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Files that are named more than once, under one name or several."""
    same: dict[str, list[str]] = defaultdict(list)
    for file in files:
        same[file["digest"]].append(file["name"])
        if file["times"] > 1:
            yield Finding("note", f"{file['name']} is given {file['times']} times and is read once.", 0.0, "files")
    for names in same.values():
        if len(names) > 1:
            yield Finding("harmful", f"The files {_join(names)} are the same, byte for byte.", 1.0, "files")


def _find_conflicts(conflicts: Mapping[str, Any]) -> Iterator[Finding]:
    mentions = max(1, conflicts["mentions"])
    for name, text in (
        ("relabelled", "Of {m:,} mentions {n:,} {have} another label than most of the same words."),
        (
            "unlabelled",
            "Words that are labelled more often than not stand unlabelled {n:,} {times}, beside {m:,} mentions.",
        ),
    ):
        n = conflicts[name]
        share = n / mentions
        if n:
            level = "harmful" if share >= _CONFLICTING else "note"
            yield Finding(
                level,
                text.format(n=n, m=conflicts["mentions"], have=_have(n), times=_plural(n, "time")),
                share,
                "conflicts",
            )


def _find_labels(report: Mapping[str, Any]) -> Iterator[Finding]:
    files, labels = report["files"], report["labels"]
    for file in files:
        if not file["entities"]:
            yield Finding("harmful", f"{file['name']} has no entities.", 1.0, "labels")
    labelled = [file for file in files if file["entities"]]
    only: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for label in labels:
        only[tuple(file["name"] for file in labelled if label in file["entities"])].append(label)
    for names, own in only.items():
        if len(names) < len(labelled):
            subject = f"The {_plural(len(own), 'label')} {_join(own)} {_stand(len(own))} in {_join(names)} only"
            text = f"{subject}; training refuses labels that are not trained on."
            yield Finding("harmful", text, len(own) / len(labels), "labels")
    yield from _find_odd_labels(report)


def _find_odd_labels(report: Mapping[str, Any]) -> Iterator[Finding]:
    """Labels that are rare, written in two ways, or mean no entity."""
    if OUTSIDE in report["labels"]:
        text = f"The label {OUTSIDE} must be renamed: it means no entity, and training refuses it."
        yield Finding("broken", text, 1.0, "labels")
    for label in report["labels"]:
        n = sum(file["entities"].get(label, 0) for file in report["files"])
        if n < _RARE:
            text = f"The label {label} has {n} {_plural(n, 'mention')} in all: too few to learn it or to tell how well."
            yield Finding("note", text, 1 / (1 + n), "labels")
    spellings = defaultdict(list)
    for label in report["labels"]:
        spellings[label.casefold()].append(label)
    for same in spellings.values():
        if len(same) > 1:
            yield Finding("harmful", f"The labels {_join(same)} differ in case only.", 1.0, "labels")


def _find_tags(file: Mapping[str, Any]) -> Iterator[Finding]:
    name = file["name"]
    if n := file["sentences_without_tags"]:
        lines = _lines(file["untagged_lines"], n)
        text = f"{n:,} {_plural(n, 'sentence')} of {name} {_have(n)} a single column and no tags: {lines}."
        yield Finding("broken", text, n / file["sentences"], "tags")
    if n := file["short_lines"]["count"]:
        text = (
            f"{n:,} {_plural(n, 'line')} of {name} {'lacks' if n == 1 else 'lack'} a column, most likely the tag; "
            f"training refuses {'it' if n == 1 else 'them'}: {_lines(file['short_lines']['lines'], n)}."
        )
        yield Finding("broken", text, n / file["words"], "layout")
    if odd := file["odd_tags"]:
        n = sum(row["count"] for row in odd)
        text = f"{n:,} {_plural(n, 'word')} of {name} {_have(n)} a tag that is none, such as B-PER or O are."
        yield Finding("broken", text, n / file["words"], "tags")
    if file["illegal"] is None:
        strays = _join([f"{prefix} (line {line})" for prefix, line in file["strays"]["lines"].items()])
        text = (
            f"The prefixes {' '.join(file['prefixes'])} of {name} belong to no one scheme: "
            f"{file['strays']['nearest']}, the nearest, has no {strays}; conlleval's rules are used."
        )
        yield Finding("harmful", text, 1.0, "tags")
    elif n := file["illegal"]["sentences"]:
        text = f"{n:,} {_plural(n, 'sentence')} of {name} {_break(n)} the scheme {file['scheme']}."
        yield Finding("harmful", text, n / file["sentences"], "tags")


def _find_repetitions(file: Mapping[str, Any]) -> Iterator[Finding]:
    name, duplicates = file["name"], file["duplicates"]
    if n := duplicates["disagreeing"]:
        text = f"{n:,} {_plural(n, 'sentence')} of {name} {_are(n)} repeated with other tags."
        yield Finding("harmful", text, duplicates["share"], "duplicates")
    if n := duplicates["count"]:
        is_much = duplicates["long"] >= _REPETITIVE * file["sentences"]
        text = (
            f"{n:,} {_plural(n, 'sentence')} of {name} ({100 * duplicates['share']:.1f} %) "
            f"{'repeats' if n == 1 else 'repeat'} an earlier one, {duplicates['long']:,} of them long."
        )
        yield Finding("harmful" if is_much else "note", text, duplicates["share"], "duplicates")


def _find_layout(file: Mapping[str, Any]) -> Iterator[Finding]:
    name = file["name"]
    if len(file["columns"]) > 1:
        usual, *others = file["columns"]
        n = sum(row["count"] for row in others)
        text = f"{n:,} {_plural(n, 'line')} of {name} {_have(n)} other than the usual {usual['columns']} columns."
        yield Finding("harmful", text, n / (n + usual["count"]), "layout")
    if n := file["empty_documents"]["count"]:
        yield Finding("note", f"{n:,} {_plural(n, 'document')} of {name} {_have(n)} no words.", 0.0, "layout")
    if n := file["blank_words"]["count"]:
        text = f"{n:,} {_plural(n, 'word')} of {name} {_are(n)} made of spaces and control characters only."
        yield Finding("note", text, n / file["words"], "layout")


def _find_lengths(file: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[Finding]:
    pieces, name = file["pieces"], file["name"]
    if n := pieces["over"]["count"]:
        share = n / file["sentences"]
        text = (
            f"{n:,} {_plural(n, 'sentence')} of {name} {_have(n)} more than {model['limit']} pieces and will be cut "
            "between words: nothing is lost but context."
        )
        yield Finding("harmful" if share >= _TOO_LONG else "note", text, share, "lengths")
    if n := pieces["unknown"]:
        share = n / max(1, pieces["total"])
        text = f"{n:,} {_plural(n, 'piece')} of {name} ({100 * share:.1f} %) {_are(n)} unknown to the tokenizer."
        yield Finding("harmful" if share >= _UNKNOWN else "note", text, share, "lengths")


def _join(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _lines(lines: Sequence[int], count: int) -> str:
    """The first of some lines, and how many more there are."""
    shown = [str(line) for line in lines[:_NAMED_LINES]]
    more = [f"{count - len(shown):,} more"] if count > len(shown) else []
    return f"{_plural(count, 'line')} {_join([*shown, *more])}"


def _plural(n: int, thing: str) -> str:
    return thing if n == 1 else f"{thing}s"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _stand(n: int) -> str:
    return "stands" if n == 1 else "stand"


def _break(n: int) -> str:
    return "breaks" if n == 1 else "break"
