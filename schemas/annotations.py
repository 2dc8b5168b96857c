"""Annotations as they are written: one row per document, or one per entity in the flat layout.

One tagger writes its entities into `entities`. Several have names and a column each, `entities_<name>`; where all are
read together, a label stands behind its tagger's name.
"""

from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa

from schemas.errors import ConfigError

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

ADAPTER_FIELD = pa.field("adapter", pa.string(), nullable=False)
"""Where one of several taggers is chosen for each document: its name."""

PROBABILITIES_FIELD = pa.field(
    "probabilities", pa.large_list(pa.field("item", pa.float32(), nullable=False)), nullable=False
)
"""Where they are kept: probabilities of the document's tokens, row by row (tokens, tags), as the decoder had them.

The tags are those of the run's settings, in their order.
"""

_FLAT_NAMES = {*(field.name for field in ENTITY_TYPE), "tagger", "is_below"}

_PROVENANCE = [
    pa.field("id", pa.string()),
    pa.field("source", pa.string(), nullable=False),
    pa.field("row", pa.int64(), nullable=False),
    pa.field("digest", pa.string(), nullable=False),
]


def entity_column(tagger: str = "", *, is_below: bool = False) -> str:
    """The name of a column of entities, with that of the tagger where several annotate.

    >>> entity_column(), entity_column("legal"), entity_column("legal", is_below=True)
    ('entities', 'entities_legal', 'below_legal')
    """
    name = "below" if is_below else "entities"
    return f"{name}_{tagger}" if tagger else name


def join_label(tagger: str, label: str) -> str:
    """A label as it is counted and read back: with the name of its tagger where several annotate.

    >>> join_label("", "PER"), join_label("legal", "PER")
    ('PER', 'legal/PER')
    """
    return f"{tagger}/{label}" if tagger else label


def find_taggers(columns: Iterable[str]) -> tuple[str, ...]:
    """Names of the taggers whose columns are among those of a run; one alone has the empty name.

    >>> find_taggers(["id", "entities", "entities_kept"]), find_taggers(["id", "entities_a", "entities_b"])
    (('',), ('a', 'b'))
    """
    columns = list(columns)
    if entity_column() in columns:
        return ("",)
    start = entity_column("_").removesuffix("_")
    return tuple(column.removeprefix(start) for column in columns if column.startswith(start))


def check_kept(
    names: Collection[str], *, layout: str, is_routed: bool = False, has_probabilities: bool = False
) -> None:
    """Refuses to keep columns of the input whose names a run reads back as its own.

    Args:
      names: the columns.
      layout: document or flat.
      is_routed: whether a tagger is chosen for each document.
      has_probabilities: whether probabilities of tokens are written.

    Raises:
      ConfigError: naming them.
    """
    writers = ((ADAPTER_FIELD, is_routed, "--route"), (PROBABILITIES_FIELD, has_probabilities, "--keep-probabilities"))
    for field, is_written, flag in writers:
        if is_written and field.name in names:
            raise ConfigError(
                f"expected kept columns with names of their own, found {field.name!r}, which {flag} writes; "
                "leave it out of --keep-columns"
            )
    if clash := sorted(_FLAT_NAMES & set(names)) if layout == "flat" else []:
        raise ConfigError(
            f"expected kept columns with names of their own, found {clash}; the flat layout has them already, of the "
            "entity: leave them out of --keep-columns, or set --layout document"
        )


def annotation_schema(
    kept: Sequence[pa.Field] = (), *, taggers: Sequence[str] = ("",), has_below: bool = False
) -> pa.Schema:
    """Schema with one row per document.

    Args:
      kept: fields copied from the input.
      taggers: names of the taggers, each with a column; a single one has none.
      has_below: whether entities under their threshold are kept in `below`.
    """
    fields = list(_PROVENANCE)
    for is_below in (False, True) if has_below else (False,):
        names = [entity_column(tagger, is_below=is_below) for tagger in taggers]
        fields += [pa.field(name, pa.list_(ENTITY_TYPE), nullable=False) for name in names]
    fields += [
        pa.field("windows", pa.int32(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
    ]
    return pa.schema([*fields, *kept])


def flat_schema(kept: Sequence[pa.Field] = (), *, taggers: Sequence[str] = ("",), has_below: bool = False) -> pa.Schema:
    """Schema with one row per entity, with the name of its tagger where there are several; see `annotation_schema`."""
    fields = [*_PROVENANCE, *ENTITY_TYPE]
    if any(taggers):
        fields.append(pa.field("tagger", pa.string(), nullable=False))
    if has_below:
        fields.append(pa.field("is_below", pa.bool_(), nullable=False))
    return pa.schema([*fields, pa.field("model", pa.string(), nullable=False), *kept])
