"""Annotations as they are written: one row per document, or one per entity in the flat layout."""

from collections.abc import Sequence

import pyarrow as pa

SCHEMA_VERSION = 1

ENTITY_TYPE = pa.struct(
    [
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)

_PROVENANCE = [
    pa.field("id", pa.string()),
    pa.field("source", pa.string(), nullable=False),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("digest", pa.string(), nullable=False),
]


def annotation_schema(kept: Sequence[pa.Field] = (), *, has_below: bool = False) -> pa.Schema:
    """Schema with one row per document.

    Args:
      kept: fields copied from the input.
      has_below: whether entities under their threshold are kept in `below`.
    """
    fields = [
        *_PROVENANCE,
        pa.field("entities", pa.list_(ENTITY_TYPE), nullable=False),
    ]
    if has_below:
        fields.append(pa.field("below", pa.list_(ENTITY_TYPE), nullable=False))
    fields += [
        pa.field("windows", pa.int32(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
    ]
    return pa.schema([*fields, *kept])


def flat_schema(kept: Sequence[pa.Field] = (), *, has_below: bool = False) -> pa.Schema:
    """Schema with one row per entity; arguments as in `annotation_schema`."""
    fields = [*_PROVENANCE, *ENTITY_TYPE]
    if has_below:
        fields.append(pa.field("is_below", pa.bool_(), nullable=False))
    return pa.schema([*fields, pa.field("model", pa.string(), nullable=False), *kept])
