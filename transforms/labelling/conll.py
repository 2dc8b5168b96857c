"""CoNLL columns: a word and its BIO tag per line, for any editor, and for training.

    # newdoc id = 9f86d081...           the digest of the text, by which it is found again
    # document = "news.txt#3"           whatever else is known, as comments
    # text = Anna slept.
    Anna    B-PER
    slept   O
    .       O

A line of the text is a sentence. White space is not written: on the way back the words are looked for in the text that
went out, so every offset returns as it was. A word in which an entity begins or ends becomes two.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from schemas.errors import ConfigError, FileError, ParseError
from schemas.selections import Answer, SelectedDocument, Selection, Span
from transforms.corpora.conll import Sentence, group_documents, parse_sentences
from transforms.labelling.records import decode
from transforms.tags.encode import encode_tags
from transforms.text.words import cut_words, find_words

UNITS = ("codepoint",)


def write(selection: Selection, documents: Sequence[SelectedDocument]) -> dict[str, bytes]:  # noqa: ARG001
    """The selection as files by name; a document without words leaves nothing."""
    blocks = (
        render_document(document, [each.span for each in document.suggestions], document.provenance)
        for document in documents
    )
    return {"selection.conll": "".join(blocks).encode()}


def render_document(document: SelectedDocument, spans: Sequence[Span], comments: Mapping[str, Any]) -> str:
    """A document with entities as lines that end with an empty one.

    Args:
      document: the document.
      spans: its entities in code points, without overlaps and without white space at their edges.
      comments: what is written above it, by name; the digest need not be among it.
    """
    text = document.text
    words = cut_words(find_words(text), (place for span in spans for place in span[:2]))
    first = {start: number for number, (start, _) in enumerate(words)}
    last = {end: number + 1 for number, (_, end) in enumerate(words)}
    tags = encode_tags([(first[start], last[end], label) for start, end, label in spans], len(words))
    head = [f"# newdoc id = {document.digest}"]
    head += [f"# {name} = {json.dumps(value)}" for name, value in comments.items() if name != "digest"]
    lines: list[str] = []
    for sentence in _cut_sentences(text, words, tags):
        line = text[words[sentence.start][0] : words[sentence.stop - 1][1]]
        lines += head
        if not any(character in line for character in "\t\r\n"):
            lines.append(f"# text = {line}")
        lines += [f"{text[slice(*words[at])]}\t{tags[at]}" for at in range(sentence.start, sentence.stop)]
        lines.append("")
        head = []
    return "".join(line + "\n" for line in lines)


def recognises(record: Mapping[str, Any]) -> bool:  # noqa: ARG001
    """No JSON is CoNLL."""
    return False


def load(content: bytes, source: str) -> Iterator[tuple[str, list[Sentence]]]:
    """A file to its documents, each with its place."""
    try:
        sentences = list(parse_sentences(decode(content, source).split("\n"), source=source))
    except FileError as error:
        raise ConfigError(error.message) from error
    for document in group_documents(sentences, is_marked=True):
        yield f"line {document[0].line}", document


def read(place: str, record: Sequence[Sentence], *, unit: str, annotator: str) -> Answer:  # noqa: ARG001
    """A document to an answer whose spans count words; arguments and errors as in `label_studio.read`."""
    if not all(sentence.tags for sentence in record):
        raise ParseError("no_tags", "expected a word and its tag on each line, found one column")
    if not record[0].document_id:
        raise ParseError(
            "no_digest",
            "expected '# newdoc id = ' with the digest of the document above its first sentence, found none; keep the "
            "comments of spanmill select",
        )
    spans: list[Span] = []
    words: list[str] = []
    for sentence in record:
        spans += [(first + len(words), last + len(words), label) for first, last, label in sentence.spans]
        words += sentence.words
    return Answer(
        place=place,
        digest=record[0].document_id,
        text=None,
        words=tuple(words),
        spans=tuple(spans),
        annotator=annotator,
    )


def _cut_sentences(text: str, words: Sequence[tuple[int, int]], tags: Sequence[str]) -> Iterator[slice]:
    """Slices of the words by lines of the text; an entity that goes over a line's end keeps both together."""
    begin = 0
    for at, ((_, end), (start, _)) in enumerate(pairwise(words), 1):
        if "\n" in text[end:start] and not tags[at].startswith("I-"):
            yield slice(begin, at)
            begin = at
    if words:
        yield slice(begin, len(words))
