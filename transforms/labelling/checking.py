"""Answers held against the documents that went out.

    answer ──> which document? ──> same text? ──> spans in it, trimmed, apart, with labels that are known ──> checked

What fails is refused as a whole: a document with half of its entities would teach that the other half are none.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from schemas.errors import RecordError
from schemas.selections import LABELLED, UNLABELLED, Answer, Refusal, SelectedDocument, Span
from transforms.corpora.gold import place_tokens
from transforms.labelling.formats import AnswerFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedAnswer:
    """What one annotator said of one document, as it can be trained on.

    Attributes:
      digest: the document.
      spans: its entities in code points, by position.
      annotator: who gave it.
      labelled_at: when, ISO 8601; empty where the tool does not tell.
      file: the file it came from.
      format: the format of that file.
    """

    digest: str
    spans: tuple[Span, ...]
    annotator: str
    labelled_at: str
    file: str
    format: str


@dataclasses.dataclass(frozen=True)
class Checked:
    """Answers that hold, and what else was found.

    Attributes:
      answers: the answers, in order of files and places, one per document and annotator.
      refusals: those that do not hold, with the reason.
      counts: `skipped` and `superseded` answers; `trimmed` spans, `repeated` ones, and those with an edge
        `inside_words`, which in number are a sign of shifted offsets.
    """

    answers: tuple[CheckedAnswer, ...]
    refusals: tuple[Refusal, ...]
    counts: Mapping[str, int]


def check_answers(
    files: Iterable[AnswerFile], documents: Mapping[str, SelectedDocument], labels: Collection[str]
) -> Checked:
    """Checks every answer of some files.

    Where an annotator answered twice, the later answer holds, by time and else by order.

    Args:
      files: the files, in the order they are read.
      documents: the selection by digest.
      labels: labels that may occur.
    """
    held: dict[tuple[str, str], CheckedAnswer] = {}
    refusals: list[Refusal] = []
    counts: Counter[str] = Counter(dict.fromkeys(("skipped", "superseded", "trimmed", "repeated", "inside_words"), 0))
    for file in files:
        refusals += file.refusals
        for answer in file.answers:
            if answer.state != LABELLED:
                counts["skipped"] += answer.state != UNLABELLED
                continue
            try:
                checked = _check(answer, file, documents, labels, counts)
            except RecordError as error:
                refusals.append(
                    Refusal(
                        file=file.source,
                        place=answer.place,
                        digest=answer.digest,
                        annotator=answer.annotator,
                        reason=error.code,
                        message=error.message,
                    )
                )
                continue
            before = held.get((checked.digest, checked.annotator))
            counts["superseded"] += before is not None
            if before is None or checked.labelled_at >= before.labelled_at:
                held[checked.digest, checked.annotator] = checked
    return Checked(tuple(held.values()), tuple(refusals), dict(counts))


def _check(
    answer: Answer,
    file: AnswerFile,
    documents: Mapping[str, SelectedDocument],
    labels: Collection[str],
    counts: Counter[str],
) -> CheckedAnswer:
    document = _find_document(answer, documents)
    spans = answer.spans if answer.text is not None else _place_spans(answer, document)
    text = document.text
    found = set()
    for span in spans:
        trimmed = _trim(text, span)
        counts["trimmed"] += trimmed != span
        counts["repeated"] += trimmed in found
        counts["inside_words"] += _cuts_word(text, trimmed)
        found.add(trimmed)
    ordered = sorted(found)
    if unknown := sorted({label for _, _, label in ordered} - set(labels)):
        raise RecordError("unknown_label", f"expected labels of {sorted(labels)}, found {unknown}; see --labels")
    if overlaps := sum(before[1] > after[0] for before, after in pairwise(ordered)):
        raise RecordError("overlap", f"expected entities that do not overlap, found {overlaps} that do")
    return CheckedAnswer(
        digest=document.digest,
        spans=tuple(ordered),
        annotator=answer.annotator,
        labelled_at=answer.labelled_at,
        file=file.source,
        format=file.format,
    )


def _find_document(answer: Answer, documents: Mapping[str, SelectedDocument]) -> SelectedDocument:
    actual = hashlib.sha256(answer.text.encode()).hexdigest() if answer.text is not None else answer.digest
    if answer.digest and answer.digest in documents and actual != answer.digest:
        raise RecordError("other_text", "expected the text that was selected, found another; the tool changed it")
    document = documents.get(actual)
    if document is None:
        raise RecordError("unknown_document", "expected a document of the selection, found another")
    return document


def _place_spans(answer: Answer, document: SelectedDocument) -> list[Span]:
    """Spans over words to spans in code points."""
    places = place_tokens(answer.words, document.text)
    if places is None:
        raise RecordError("other_text", "expected the words of the document in order, found others")
    return [(places[first][0], places[last - 1][1], label) for first, last, label in answer.spans]


def _trim(text: str, span: Span) -> Span:
    """A span without white space at its edges."""
    start, end, label = span
    surface = text[start:end]
    start, end = start + len(surface) - len(surface.lstrip()), end - len(surface) + len(surface.rstrip())
    if start >= end:
        raise RecordError("empty_span", f"expected text in each entity, found none at {span[0]} to {span[1]}")
    return start, end, label


def _cuts_word(text: str, span: Span) -> bool:
    """Whether letters go on over an edge."""
    start, end, _ = span
    return any(0 < edge < len(text) and text[edge - 1 : edge + 1].isalpha() for edge in (start, end))
