"""Dead letters: what could not be annotated, and why; never the text itself."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa

from schemas.errors import RecordError

DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("digest", pa.string()),
        pa.field("size_bytes", pa.int64()),
    ]
)
"""`row` and `id` are null for a letter about a whole file; `digest` and `size_bytes` are of the text."""


class Imprint(NamedTuple):
    """What is told of a text that is not kept: its SHA-256 and its size."""

    digest: str
    size_bytes: int

    @classmethod
    def of(cls, text: bytes) -> "Imprint":
        """The imprint of a text that is held."""
        return cls(hashlib.sha256(text).hexdigest(), len(text))


def dead_letter(
    source: str,
    error: RecordError,
    *,
    stage: str,
    row: int | None = None,
    document_id: str | None = None,
    text: bytes | Imprint | None = None,
) -> dict[str, object]:
    """One row of DEAD_LETTER_SCHEMA; of the text it keeps digest and size."""
    imprint = Imprint.of(text) if isinstance(text, bytes) else text
    return {
        "id": document_id,
        "source": source,
        "row": row,
        "stage": stage,
        "error": error.code,
        "message": error.message,
        "digest": imprint.digest if imprint else None,
        "size_bytes": imprint.size_bytes if imprint else None,
    }


def count_letters(letters: Iterable[Mapping[str, object]]) -> dict[str, int]:
    """Dead letters to their number by error."""
    return dict(sorted(Counter(str(letter["error"]) for letter in letters).items()))
