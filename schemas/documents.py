"""Documents as they are read: an Arrow table with one row per document.

Columns: `id` string, `row` int64 (position in the file, from 0), `text` large_string (null counts as empty), then
`gold` (list of {start, end, label}) when the corpus is labelled, `tags` (list of {start, end, tag, opens}, one per
token, with `opens` where a sentence begins; null where gold is no tags) when those are wanted, and the kept columns
under names that no other has.
"""

import pyarrow as pa

_KEPT = "kept:"

GOLD_TYPE = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))
TAGS_TYPE = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("tag", pa.string()), ("opens", pa.bool_())])
)

DOCUMENT_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("text", pa.large_string()),
)


def kept_column(name: str) -> str:
    """The name of a kept column in a table of documents, from the one that it has in the input and in the output.

    >>> kept_column("text")
    'kept:text'
    """
    return f"{_KEPT}{name}"


def find_kept(schema: pa.Schema) -> list[pa.Field]:
    """The kept columns of a table of documents, as they are written.

    >>> find_kept(pa.schema([*DOCUMENT_FIELDS, pa.field(kept_column("year"), pa.int16())]))
    [pyarrow.Field<year: int16>]
    """
    return [field.with_name(field.name.removeprefix(_KEPT)) for field in schema if field.name.startswith(_KEPT)]
