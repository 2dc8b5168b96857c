"""A look at labelled files before anything is trained on them: what a person should mend first.

    file ──> sentences with lines ─┬─ tags: labels, scheme, steps that break it and what becomes of them
                                   ├─ layout: columns, empty documents, words of nothing
                                   ├─ lengths: words, and pieces of a model's tokenizer
                                   └─ repetitions (training.repetitions): duplicates, leaks, conflicting labels

Unlike `train`, which refuses a file with a tag that is none, this reads on and says where such tags stand.
"""

import dataclasses
import hashlib
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import ConfigError, FileError
from schemas.labels import OUTSIDE, split_tag
from schemas.slices import FileRef
from training.examples import short_name
from training.repetitions import find_conflicts, find_duplicates, find_leaks
from transforms.corpora.conll import Sentence, parse_sentences
from transforms.corpora.files import list_files, open_stream
from transforms.tags.decode import decode_tags
from transforms.tags.schemes import SCHEMES

REPORT_VERSION = 1
KEPT_LINES = 20
KEPT_ROWS = 100
MIXED = "mixed"
_TAG = re.compile(r"O|[BIESLUM][-_]\S+")
_MARK = re.compile(r"-DOCSTART-|#\s*newdoc(\s|$)")
_COMMENT = re.compile(r"#\s*((newdoc|newpar)(\s|$)|[\w.:-]+\s*=)")
_QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
_SCHEMES = ("BIO", "IO", "IOB1", "BIOES", "BILOU", "BMES")
"""Of schemes that fit a file as well, the first is meant."""


@dataclasses.dataclass(frozen=True)
class InspectedFile:
    """A file as it stands.

    Attributes:
      name: its folder and file name, or its whole address where two files share these.
      digest: SHA-256 of its decompressed bytes, hex.
      lines: its lines.
      sentences: its sentences, each with the line of its first word.
      short_lines: lines that lack a column, and are read as O.
      times: how often it was named.
    """

    name: str
    digest: str
    lines: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    short_lines: tuple[int, ...] = ()
    times: int = 1


@dataclasses.dataclass(frozen=True)
class PieceCounter:
    """Counts the pieces of sentences by a model's tokenizer.

    Attributes:
      count: texts to how many pieces each has, special ones included, and how many of all are unknown to the tokenizer.
      limit: most pieces in a window.
      model: the model's name.
    """

    count: Callable[[Sequence[str]], tuple[Sequence[int], int]]
    limit: int
    model: str


def read_labelled(patterns: Sequence[str]) -> list[InspectedFile]:
    """CoNLL files in the order given, those of one pattern by name.

    Raises:
      ConfigError: a file is missing, unreadable, empty or no table of columns.
    """
    listed = [file for pattern in patterns for file in list_files([pattern], flag="--labels")]
    times = Counter(file.uri for file in listed)
    refs: dict[str, FileRef] = {file.uri: file for file in listed}
    names = Counter(short_name(file.uri) for file in refs.values())
    return [
        dataclasses.replace(
            _read_file(file, file.source if names[short_name(file.uri)] > 1 else short_name(file.uri)),
            times=times[file.uri],
        )
        for file in refs.values()
    ]


def inspect_files(files: Sequence[InspectedFile], counter: PieceCounter | None = None) -> dict[str, Any]:
    """Files to a report as JSON values; it holds words of the files.

    Args:
      files: the files; leaks are looked for between any two of them.
      counter: counts pieces; None leaves them out.
    """
    described = [_describe_file(file, counter) for file in files]
    return {
        "report_version": REPORT_VERSION,
        "kind": "labels",
        "labels": sorted({label for file in described for label in file["entities"]}),
        "model": counter and {"name": counter.model, "limit": counter.limit},
        "files": described,
        "conflicts": find_conflicts({file.name: file.sentences for file in files}, kept=KEPT_ROWS),
        "leaks": [
            {"first": one.name, "second": other.name, **find_leaks(one.sentences, other.sentences, kept=KEPT_LINES)}
            for one, other in itertools.combinations(files, 2)
        ],
    }


def find_scheme(steps: Mapping[tuple[str, str], int]) -> str:
    """Steps between tags, O around every sentence, to the scheme that they break least; `mixed` where none has all.

    >>> find_scheme({("O", "I-PER"): 9, ("I-PER", "B-PER"): 1, ("B-PER", "O"): 1})
    'IOB1'
    """
    prefixes = {split_tag(tag)[0] for step in steps for tag in step} - {OUTSIDE}
    fitting = [name for name in _SCHEMES if prefixes <= set(SCHEMES[name].prefixes)]
    return min(fitting, key=lambda name: sum(n for step, n in steps.items() if breaks(step, name)), default=MIXED)


def breaks(step: tuple[str, str], scheme: str) -> bool:
    """Whether a scheme forbids a step from one tag to the next.

    >>> breaks(("O", "I-PER"), "BIO"), breaks(("O", "I-PER"), "IOB1")
    (True, False)
    """
    (p, label), (q, other) = map(split_tag, step)
    allowed = SCHEMES[scheme].same if label and label == other else SCHEMES[scheme].other
    return p + q not in allowed


def describe_step(step: tuple[str, str]) -> str:
    """What conlleval's rules, by which files are read, make of a step.

    >>> describe_step(("O", "I-PER"))
    'a PER begins'
    """
    label = split_tag(step[0])[1]
    if step[1] == OUTSIDE:
        return f"the {label} ends"
    begun = [label for first, _, label in decode_tags(step) if first == 1]
    return f"a {begun[0]} begins" if begun else f"the {label} goes on"


def _read_file(file: FileRef, name: str) -> InspectedFile:
    try:
        with open_stream(file) as stream:
            content = stream.read()
        lines = content.decode("utf-8-sig").split("\n")
        short: list[int] = []
        sentences = tuple(parse_sentences(lines, source=file.source, short_lines=short))
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected UTF-8 in {file.source!r}, found a bad byte at {error.start}") from None
    except FileError as error:
        raise ConfigError(error.message) from error
    if not sentences:
        raise ConfigError(f"expected labelled sentences in {file.source!r}, found none")
    return InspectedFile(name, hashlib.sha256(content).hexdigest(), tuple(lines), sentences, tuple(short))


def _describe_file(file: InspectedFile, counter: PieceCounter | None) -> dict[str, Any]:
    tagged = [sentence for sentence in file.sentences if sentence.tags]
    untagged = [sentence.line for sentence in file.sentences if not sentence.tags]
    entities = Counter(label for sentence in tagged for _, _, label in sentence.spans)
    # A tag that is none would be read as I and speak for IOB1.
    steps = Counter(step for sentence in tagged for step in _steps(sentence) if all(map(_TAG.fullmatch, step)))
    scheme = find_scheme(steps)
    return {
        "name": file.name,
        "digest": file.digest,
        "sentences": len(file.sentences),
        "words": sum(len(sentence.words) for sentence in file.sentences),
        "documents": sum(sentence.opens_document for sentence in file.sentences),
        "entities": dict(sorted(entities.items())),
        "sentences_without_entities": sum(not sentence.spans for sentence in tagged),
        "sentences_without_tags": len(untagged),
        "untagged_lines": untagged[:KEPT_LINES],
        "short_lines": {"count": len(file.short_lines), "lines": list(file.short_lines[:KEPT_LINES])},
        "times": file.times,
        "scheme": scheme,
        "prefixes": sorted({split_tag(tag)[0] for step in steps for tag in step} - {OUTSIDE}),
        "strays": _find_strays(tagged) if scheme == MIXED else None,
        "illegal": _find_illegal(tagged, steps, scheme),
        "odd_tags": _find_odd_tags(tagged),
        **_describe_layout(file),
        "duplicates": find_duplicates(file.sentences, kept=KEPT_LINES),
        "lengths": _describe_lengths([len(sentence.words) for sentence in file.sentences]),
        "longest": _find_longest(file.sentences),
        "pieces": counter and _count_pieces(file.sentences, counter),
    }


def _steps(sentence: Sentence) -> Iterator[tuple[str, str]]:
    return itertools.pairwise((OUTSIDE, *sentence.tags, OUTSIDE))


def _find_illegal(
    sentences: Iterable[Sentence], steps: Mapping[tuple[str, str], int], scheme: str
) -> dict[str, Any] | None:
    """Steps that break the scheme; None where there is no one scheme to break."""
    if scheme == MIXED:
        return None
    bad = {step for step in steps if breaks(step, scheme)}
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    n_sentences = 0
    for sentence in sentences:
        found = [(at, step) for at, step in enumerate(_steps(sentence)) if step in bad] if bad else []
        n_sentences += bool(found)
        for at, step in found:
            lines[step].append(sentence.line + min(at, len(sentence.words) - 1))
    ranked = sorted(bad, key=lambda step: (-steps[step], step))
    return {
        "sentences": n_sentences,
        "steps": sum(steps[step] for step in bad),
        "rows": [
            {
                "before": step[0],
                "after": step[1],
                "count": steps[step],
                "becomes": describe_step(step),
                "lines": lines[step][:KEPT_LINES],
            }
            for step in ranked[:KEPT_ROWS]
        ],
    }


def _find_strays(sentences: Sequence[Sentence]) -> dict[str, Any]:
    """The scheme that has the most tags, and the first line of each prefix that it lacks."""
    counts: Counter[str] = Counter()
    lines: dict[str, int] = {}
    for sentence in sentences:
        for line, tag in enumerate(sentence.tags, sentence.line):
            prefix = split_tag(tag)[0] if _TAG.fullmatch(tag) else OUTSIDE
            counts[prefix] += 1
            lines.setdefault(prefix, line)
    nearest = max(_SCHEMES, key=lambda name: sum(counts[prefix] for prefix in SCHEMES[name].prefixes))
    strays = sorted(lines.keys() - {OUTSIDE, *SCHEMES[nearest].prefixes})
    return {"nearest": nearest, "lines": {prefix: lines[prefix] for prefix in strays}}


def _find_odd_tags(sentences: Iterable[Sentence]) -> list[dict[str, Any]]:
    """What stands in the column of tags and is none."""
    lines: dict[str, list[int]] = defaultdict(list)
    for sentence in sentences:
        for at, tag in enumerate(sentence.tags):
            if not _TAG.fullmatch(tag):
                lines[tag].append(sentence.line + at)
    ranked = sorted(lines, key=lambda tag: (-len(lines[tag]), tag))
    return [{"tag": tag, "count": len(lines[tag]), "lines": lines[tag][:KEPT_LINES]} for tag in ranked]


def _describe_layout(file: InspectedFile) -> dict[str, Any]:
    """Columns of the lines, marks of documents with nothing behind them, and words of nothing that prints."""
    columns: dict[int, list[int]] = defaultdict(list)
    empty: list[int] = []
    mark = 0
    for number, line in enumerate(file.lines, 1):
        text = line.strip()
        if _MARK.match(text):
            if mark:
                empty.append(mark)
            mark = number
        elif text and not _COMMENT.match(text):
            mark = 0
            columns[len(line.rstrip("\r").split("\t") if "\t" in line else text.split())].append(number)
    if mark:
        empty.append(mark)
    blank = [
        sentence.line + at
        for sentence in file.sentences
        for at, word in enumerate(sentence.words)
        if all(unicodedata.category(char)[0] in "CZ" for char in word)
    ]
    return {
        "columns": [
            {"columns": n, "count": len(lines), "lines": lines[:KEPT_LINES]}
            for n, lines in sorted(columns.items(), key=lambda item: -len(item[1]))
        ],
        "empty_documents": {"count": len(empty), "lines": empty[:KEPT_LINES]},
        "blank_words": {"count": len(blank), "lines": blank[:KEPT_LINES]},
    }


def _describe_lengths(lengths: Sequence[int]) -> dict[str, int]:
    found = np.quantile(lengths, list(_QUANTILES.values()), method="higher").tolist()
    return dict(zip(_QUANTILES, map(int, found), strict=True))


def _find_longest(sentences: Sequence[Sentence]) -> list[dict[str, int]]:
    ranked = sorted(sentences, key=lambda sentence: -len(sentence.words))
    return [{"line": sentence.line, "words": len(sentence.words)} for sentence in ranked[:KEPT_LINES]]


def _count_pieces(sentences: Sequence[Sentence], counter: PieceCounter) -> dict[str, Any]:
    counts, n_unknown = counter.count([" ".join(sentence.words) for sentence in sentences])
    over = [sentence.line for sentence, n in zip(sentences, counts, strict=True) if n > counter.limit]
    return {
        **_describe_lengths(list(counts)),
        "total": int(sum(counts)),
        "unknown": n_unknown,
        "over": {"count": len(over), "lines": over[:KEPT_LINES]},
    }
