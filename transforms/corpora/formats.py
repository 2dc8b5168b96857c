"""The formats, each a module with the same three functions, and the corpus as a whole."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType

import pyarrow as pa

from schemas.errors import ConfigError, FileError, StorageError
from schemas.slices import FileRef, Slice
from transforms.corpora import conll, jsonl, parquet, text
from transforms.corpora.compression import suffix_of
from transforms.corpora.documents import CorpusConfig, Part
from transforms.workers.threads import map_ahead

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

_TOLD_FILES = 256


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
            f"expected a suffix of {sorted(SUFFIXES)} on {file.source!r}, found {suffix_of(file.uri)!r}; set --format"
        ) from None


@dataclasses.dataclass(frozen=True)
class Survey:
    """What planning learns of a file.

    Attributes:
      file: the file.
      kept: fields of its kept columns.
      has_gold: whether it carries gold spans.
      slices: what it is cut into, in order.
    """

    file: FileRef
    kept: tuple[pa.Field, ...]
    has_gold: bool
    slices: tuple[Slice, ...]


def survey_file(file: FileRef, config: CorpusConfig, slice_bytes: int) -> Survey:
    """Checks a file's columns and cuts it into slices of about `slice_bytes` of text.

    Raises:
      ConfigError: a column is missing or has the wrong type, or the format cannot be told.
      FileError: the file cannot be read to its end.
    """
    module = FORMATS[format_of(file, config)]
    kept, has_gold = module.describe_columns(file, config)
    return Survey(file, tuple(kept), has_gold, tuple(module.cut_slices(file, config, slice_bytes)))


def stream_slices(
    files: Iterable[FileRef],
    config: CorpusConfig,
    slice_bytes: int,
    *,
    is_strict: bool = True,
    tell: Callable[[int], object] = lambda _: None,
) -> Iterator[Slice]:
    """Surveys files in parallel and cuts them into slices of about `slice_bytes` of text, in the order of files.

    Args:
      files: any number of them; few are looked at ahead of what is taken.
      config: how documents are found in files.
      slice_bytes: wanted size of a slice.
      is_strict: a file that cannot be read is an error, instead of a slice that says so.
      tell: is told now and then how many files are cut.

    Raises:
      ConfigError: files disagree about their columns, or their store does not answer.
      FileError: a file cannot be read to its end, and `is_strict`.
    """

    def survey(file: FileRef) -> Survey:
        try:
            return survey_file(file, config, slice_bytes)
        except StorageError as error:
            raise ConfigError(str(error)) from error
        except FileError as error:
            if is_strict:
                raise
            broken = Slice(file, format_of(file, config), 0, 0, 0, 0, error=error.message)
            return Survey(file, (), has_gold=False, slices=(broken,))

    first: Survey | None = None
    for n_files, found in enumerate(map_ahead(survey, files), 1):
        if not any(slice_.error for slice_ in found.slices):
            first = first or found
            check_agreement(first, found)
        if not n_files % _TOLD_FILES:
            tell(n_files)
        yield from found.slices


def cut_files(
    files: Sequence[FileRef], config: CorpusConfig, slice_bytes: int, *, is_strict: bool = True
) -> list[Slice]:
    """As `stream_slices`, for a few files."""
    return list(stream_slices(files, config, slice_bytes, is_strict=is_strict))


def check_agreement(first: Survey, survey: Survey) -> None:
    """Refuses a file whose kept columns differ from those of the first, since they go into one schema.

    Raises:
      ConfigError: naming both files and both sets of columns.
    """
    if survey.kept == first.kept:
        return
    expected, found = ([f"{field.name}: {field.type}" for field in each.kept] for each in (first, survey))
    if expected != found:
        raise ConfigError(
            f"expected kept columns {expected} in {survey.file.source!r} as in {first.file.source!r}, found {found}"
        )


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A slice to its documents in bounded parts.

    Raises:
      FileError: the file breaks while it is read.
    """
    parts: Iterator[Part] = FORMATS[slice_.format].read_parts(slice_, config)
    return parts
