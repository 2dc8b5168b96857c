"""Documents as they are read: an Arrow table with one row per document.

Columns: `id` string, `row` int64 (position in the file, from 0), `text` large_string (null counts as empty), then
`gold` (list of {start, end, label}) when the corpus is labelled, `tags` (list of {start, end, tag, opens}, one per
token, with `opens` where a sentence begins; null where gold is no tags) when those are wanted, and the kept columns.
"""

import pyarrow as pa

GOLD_TYPE = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))
TAGS_TYPE = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("tag", pa.string()), ("opens", pa.bool_())])
)

DOCUMENT_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("text", pa.large_string()),
)
