"""Gold annotations as a column may hold them."""

from typing import Any


def read_gold(value: Any, text: str) -> list[dict[str, Any]] | None:
    """Gold spans of one document; None when it is not labelled.

    Args:
      value: a list of {start, end, label} mappings or [start, end, label] triples, in code points; None when
        nobody labelled the document.
      text: the document's text.

    Raises:
      ValueError: the value is something else, or a span does not lie within the text.

    >>> read_gold([[0, 4, "PER"]], "Anna slept")
    [{'start': 0, 'end': 4, 'label': 'PER'}]
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {type(value).__name__}")  # noqa: TRY004
    spans = []
    for item in value:
        try:
            start, end, label = (item["start"], item["end"], item["label"]) if isinstance(item, dict) else item[:3]
        except (KeyError, TypeError, ValueError):
            raise ValueError("expected start, end and label in each span") from None
        # A bool is an int to Python, and none to Arrow.
        is_placed = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
        if not is_placed or not isinstance(label, str):
            raise ValueError(f"expected whole numbers with 0 <= start < end <= {len(text)} and a label in each span")
        try:
            label.encode()
        except UnicodeEncodeError:
            raise ValueError("expected Unicode scalar values in each label") from None
        spans.append({"start": start, "end": end, "label": label})
    return spans
