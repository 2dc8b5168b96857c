"""Annotated documents to labelled text: a teacher's confident spans as what a student is trained on.

    document ──> is it confident? ──> words, spans over them ──> sentences ──> CoNLL

A document with one doubtful span is left out as a whole, for what is not labelled is taught as no entity; or its
doubtful spans are taken for text, which teaches caution.
"""

import bisect
import dataclasses
import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas.labels import OUTSIDE
from training.examples import LabelledSentence
from transforms.storage.annotations import AnnotatedDocument

LABELLED, EMPTY, DOUBTFUL, OVERLAPPING = "labelled", "empty", "doubtful", "overlapping"
"""What a document is to whoever wants to train on it."""

Span = tuple[int, int, str]


def judge_document(document: AnnotatedDocument, *, confidence: float, label_map: Mapping[str, str]) -> str:
    """What a document is: one of LABELLED, EMPTY, DOUBTFUL and OVERLAPPING.

    Args:
      document: the document; entities under their threshold, or that were outvoted, make it doubtful.
      confidence: least score of a span that is not doubtful.
      label_map: what labels are called; spans that it makes O are no spans.
    """
    entities, below = (
        [each for each in some if label_map.get(each["label"]) != OUTSIDE]
        for some in (document.entities, document.below)
    )
    if below or any(each["score"] < confidence for each in entities):
        return DOUBTFUL
    ordered = sorted((each["start"], each["end"]) for each in entities)
    if any(a[1] > b[0] for a, b in itertools.pairwise(ordered)):
        return OVERLAPPING
    return LABELLED if entities else EMPTY


def forget_doubtful(document: AnnotatedDocument, *, confidence: float) -> AnnotatedDocument:
    """A document without its doubtful spans."""
    sure = tuple(each for each in document.entities if each["score"] >= confidence)
    return dataclasses.replace(document, entities=sure, below=())


def rank_document(document: AnnotatedDocument, seed: int) -> int:
    """A number that chooses among documents: the same for the same text and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {document.digest}".encode()).digest()[:8], "big")


def count_empty(n_labelled: int, n_empty: int, share: float) -> int:
    """How many documents without entities there may be, so that they are a share of all at most.

    >>> count_empty(30, 100, 0.25), count_empty(30, 5, 0.25), count_empty(30, 100, 1.0)
    (10, 5, 100)
    """
    return n_empty if share >= 1 else min(n_empty, int(n_labelled * share / (1 - share) + 1e-9))


def map_spans(entities: Iterable[Mapping[str, Any]], label_map: Mapping[str, str]) -> list[Span]:
    """Entities to spans with the labels that they are to have, in order and without those that become O."""
    spans = [(each["start"], each["end"], label_map.get(each["label"], each["label"])) for each in entities]
    return sorted(span for span in spans if span[2] != OUTSIDE)


def label_text(text: str, spans: Sequence[Span]) -> list[LabelledSentence]:
    r"""A text and its spans to labelled sentences, one per line.

    Words end at white space and at punctuation, as tokenizers of BERT's family have it, and where a span does. Lines
    that a span goes over stay together.

    Args:
      text: the text.
      spans: (start, end, label) in code points, in order and without overlaps.

    >>> [sentence.words for sentence in label_text("Anna, 34.\nRome", [(0, 4, "PER")])]
    [('Anna', ',', '34', '.'), ('Rome',)]
    """
    words = list(_cut_words(text, sorted({edge for start, end, _ in spans for edge in (start, end)})))
    starts = [start for start, _ in words]
    placed = [
        (bisect.bisect_left(starts, start), bisect.bisect_left(starts, end), label) for start, end, label in spans
    ]
    glued = {at for first, last, _ in placed for at in range(first + 1, last)}
    opens = [
        at
        for at, (start, _) in enumerate(words)
        if not at or (at not in glued and "\n" in text[words[at - 1][1] : start])
    ]
    sentences = []
    for begin, end in itertools.pairwise([*opens, len(words)]):
        own = tuple(
            (first - begin, last - begin, label) for first, last, label in placed if begin <= first < last <= end
        )
        chosen = tuple(text[a:b] for a, b in words[begin:end])
        sentences.append(LabelledSentence(chosen, own, opens_document=not begin))
    return sentences


def render_conll(id_: str, sentences: Iterable[LabelledSentence]) -> str:
    r"""Sentences of a document to lines of CoNLL, with the mark of a document before them.

    >>> render_conll("a", label_text("Anna slept", [(0, 4, "PER")]))
    '# newdoc id = a\nAnna\tB-PER\nslept\tO\n\n'
    """
    lines = [f"# newdoc id = {' '.join(id_.split())}"]
    for sentence in sentences:
        lines += [f"{word}\t{tag}" for word, tag in zip(sentence.words, sentence.tags, strict=True)]
        lines.append("")
    return "\n".join(lines) + "\n"


def _cut_words(text: str, edges: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where the words of a text begin and end; `edges` are places where one ends at any rate."""
    for kind, group in itertools.groupby(range(len(text)), key=lambda at: _classify(text[at])):
        places = list(group)
        if kind == " ":
            continue
        begin, end = places[0], places[-1] + 1
        inner = edges[bisect.bisect_right(edges, begin) : bisect.bisect_left(edges, end)]
        yield from itertools.pairwise([*places, end] if kind == "." else [begin, *inner, end])


@functools.cache
def _classify(char: str) -> str:
    """White space, punctuation and other signs, or a part of a word."""
    if char.isspace():
        return " "
    return "." if unicodedata.category(char)[0] in "PS" else "w"
