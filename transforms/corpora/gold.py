"""Gold annotations as a column may hold them: spans, or a tag per token."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from transforms.tags.decode import decode_tags


@dataclasses.dataclass(frozen=True)
class Gold:
    """What the annotators said of one document.

    Attributes:
      spans: {start, end, label} in code points.
      tags: {start, end, tag, opens} of each token, when gold is tags; `opens` where a sentence begins.
    """

    spans: list[dict[str, Any]]
    tags: list[dict[str, Any]] | None = None


def read_gold(value: Any, text: str, tokens: Any = None) -> Gold | None:
    """Gold annotations of one document; None when it is not labelled.

    Args:
      value: a list of {start, end, label} mappings or [start, end, label] triples, in code points; or a list of tags,
        one per token; None when nobody labelled the document.
      text: the document's text.
      tokens: the tokens that the tags belong to, in order, each found in the text.

    Raises:
      ValueError: the value is something else, a span does not lie within the text, or the tokens are not those of
        the text or not as many as the tags.

    >>> read_gold([[0, 4, "PER"]], "Anna slept").spans
    [{'start': 0, 'end': 4, 'label': 'PER'}]
    >>> read_gold(["B-PER", "O"], "Anna slept", ["Anna", "slept"]).spans
    [{'start': 0, 'end': 4, 'label': 'PER'}]
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {type(value).__name__}")  # noqa: TRY004
    if tokens is not None:
        return _read_tags(value, text, tokens)
    if value and isinstance(value[0], str):
        raise ValueError("expected spans, found tags; set --tokens-column to the column of their tokens")
    spans = [_read_span(item, len(text)) for item in value]
    # A span that is given twice is one annotation.
    return Gold(list({(span["start"], span["end"], span["label"]): span for span in spans}.values()))


def join_tokens(tokens: Any) -> str:
    """Tokens to a text with spaces between.

    Raises:
      ValueError: they are no strings.
    """
    return " ".join(_check_strings(tokens, "tokens"))


def place_tokens(tokens: Sequence[str], text: str) -> list[tuple[int, int]] | None:
    """The (start, end) of tokens that make up a text, white space aside; None when they do not.

    >>> place_tokens(["do", "n't"], "don't")
    [(0, 2), (2, 5)]
    """
    places, cursor = [], 0
    for token in tokens:
        start = text.find(token, cursor)
        if start < 0 or text[cursor:start].strip():
            return None
        cursor = start + len(token)
        places.append((start, cursor))
    return None if text[cursor:].strip() else places


def tag_tokens(places: Sequence[tuple[int, int]], tags: Sequence[str]) -> Gold:
    """Places of a sentence's tokens and their tags, of any scheme, to gold annotations."""
    spans = [
        {"start": places[first][0], "end": places[last - 1][1], "label": label}
        for first, last, label in decode_tags(tags)
    ]
    tagged = [
        {"start": start, "end": end, "tag": tag, "opens": at == 0}
        for at, ((start, end), tag) in enumerate(zip(places, tags, strict=True))
    ]
    return Gold(spans, tagged)


def _read_tags(tags: list[Any], text: str, tokens: Any) -> Gold:
    tags, tokens = _check_strings(tags, "tags"), _check_strings(tokens, "tokens")
    if len(tags) != len(tokens):
        raise ValueError(f"expected as many tags as tokens, found {len(tags)} tags and {len(tokens)} tokens")
    places = place_tokens(tokens, text)
    if places is None:
        raise ValueError("expected the tokens of the text, in order, found others")
    return tag_tokens(places, tags)


def _check_strings(values: Any, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        found = (
            sorted({type(value).__name__ for value in values}) if isinstance(values, list) else type(values).__name__
        )
        raise ValueError(f"expected a list of {name} as strings, found {found}")
    return values


def _read_span(item: Any, length: int) -> dict[str, Any]:
    try:
        start, end, label = (item["start"], item["end"], item["label"]) if isinstance(item, dict) else item[:3]
    except (KeyError, TypeError, ValueError):
        raise ValueError("expected start, end and label in each span") from None
    # A bool is an int to Python, and none to Arrow.
    is_placed = type(start) is int and type(end) is int and 0 <= start < end <= length
    if not is_placed or not isinstance(label, str):
        # Numbers may be shown; a string could be the text itself.
        found = ", ".join(str(value) if type(value) is int else type(value).__name__ for value in (start, end, label))
        raise ValueError(
            f"expected whole numbers with 0 <= start < end <= {length} and a label in each span, found {found}"
        )
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError("expected Unicode scalar values in each label") from None
    return {"start": start, "end": end, "label": label}
