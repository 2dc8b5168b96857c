"""The formats, each a module with the same three functions, and the corpus as a whole."""

from collections.abc import Iterator, Sequence
from types import ModuleType

import pyarrow as pa

from schemas.errors import ConfigError
from schemas.slices import FileRef, Slice
from transforms.corpora import conll, jsonl, parquet, text
from transforms.corpora.documents import CorpusConfig, Part
from transforms.corpora.files import display_uri, suffix_of

FORMATS: dict[str, ModuleType] = {"parquet": parquet, "jsonl": jsonl, "text": text, "conll": conll}

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".text": "text",
    ".conll": "conll",
    ".conllu": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
}


def format_of(file: FileRef, config: CorpusConfig) -> str:
    """Name of a file's format.

    Raises:
      ConfigError: the format is auto and the suffix is not known.
    """
    if config.format != "auto":
        return config.format
    try:
        return SUFFIXES[suffix_of(file.uri)]
    except KeyError:
        raise ConfigError(
            f"expected a suffix of {sorted(SUFFIXES)} on {display_uri(file.uri)!r}, found {suffix_of(file.uri)!r}; "
            "set --format"
        ) from None


def describe_corpus(files: Sequence[FileRef], config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields of a corpus, and whether it carries gold; every file must agree on the fields.

    Raises:
      ConfigError: a column is missing somewhere, or differs between files.
      FileError: a file cannot be read.
    """
    kept: list[pa.Field] = []
    has_gold = True
    for file in files:
        fields, file_has_gold = FORMATS[format_of(file, config)].describe_columns(file, config)
        if kept and [(field.name, field.type) for field in fields] != [(field.name, field.type) for field in kept]:
            raise ConfigError(
                f"expected kept columns {[f'{f.name}: {f.type}' for f in kept]} in {display_uri(file.uri)!r} "
                f"as in the files before it, found {[f'{f.name}: {f.type}' for f in fields]}"
            )
        kept = fields
        has_gold &= file_has_gold
    return kept, has_gold


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """A file to its slices, in order.

    Raises:
      FileError: the file cannot be read.
    """
    slices: list[Slice] = FORMATS[format_of(file, config)].cut_slices(file, config, slice_bytes)
    return slices


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A slice to its documents in bounded parts.

    Raises:
      FileError: the file breaks while it is read.
    """
    parts: Iterator[Part] = FORMATS[slice_.format].read_parts(slice_, config)
    return parts
