"""Gold files as jobs take them: the options of a person to how the files are read."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_pairs
from schemas.errors import CheckpointError, ConfigError, FileError
from schemas.labels import OUTSIDE, PREFIXES

if TYPE_CHECKING:
    from schemas.slices import FileRef
    from transforms.corpora.documents import CorpusConfig

_TAG = re.compile(rf"[{PREFIXES}][-_].")
_PEEKED_SENTENCES, _PEEKED_BYTES = 20_000, 4 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldOptions:
    """What a person can ask of gold; the options of a job with gold begin with these."""

    gold: tuple[str, ...] = option("gold files, folders, globs or URLs", (), metavar="GLOB")
    format: str = option("format of the gold files", "auto", choices=("auto", "parquet", "jsonl", "conll"))
    text_column: str = option("column or key of the text", "text")
    id_column: str = option("column or key of the id (default: id where there is one, else file#row)", "")
    gold_column: str = option("column or key of gold spans or tags", "gold")
    tokens_column: str = option("column or key of the tokens that gold tags belong to", "")
    conll_columns: str = option("columns of the gold CoNLL files, such as 0,3", "auto")
    scheme: str = option("tag scheme of gold", "auto", metavar="auto|BIO|IOB1|BIOES|BILOU|BMES|IO")
    map: tuple[str, ...] = option("rename labels on all sides, such as corporation=ORG", (), metavar="LABEL=LABEL")
    ignore_labels: tuple[str, ...] = option("labels to leave out on all sides", (), metavar="LABEL")


def map_labels(options: GoldOptions) -> dict[str, str]:
    """What each label is called; `O` for one that is left out.

    Raises:
      ConfigError: --map is no mapping.
    """
    return {**parse_pairs(options.map, flag="--map"), **dict.fromkeys(options.ignore_labels, OUTSIDE)}


def configure_corpus(options: GoldOptions, files: Sequence["FileRef"], groups: tuple[str, ...] = ()) -> "CorpusConfig":
    """How the gold files are read; CoNLL files have no columns of a table.

    Args:
      options: what was asked.
      files: the gold files.
      groups: columns to keep, to break scores down by.

    Raises:
      ConfigError: the format is not known, or CoNLL files are asked for columns.
    """
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.formats import format_of

    plain = CorpusConfig(format=options.format, conll_columns=options.conll_columns, has_tags=True)
    if all(format_of(file, plain) == "conll" for file in files):
        if groups:
            raise ConfigError(f"expected --by with columns that the run kept, as gold is CoNLL, found {list(groups)}")
        return plain
    return dataclasses.replace(
        plain,
        text_column=options.text_column,
        id_column=options.id_column,
        gold_column=options.gold_column,
        tokens_column=options.tokens_column,
        keep_columns=groups,
    )


def find_scheme(options: GoldOptions, files: Sequence["FileRef"], *, has_predicted: bool = False) -> str:
    """The scheme of gold: the one that was asked for, or that of the first tags; BIO when gold is spans.

    Args:
      options: what was asked.
      files: the gold files, one at least.
      has_predicted: whether CoNLL files hold a second column of tags.

    Raises:
      ConfigError: the first file cannot be read, or its tags fit no scheme, or --conll-columns names no columns.
    """
    from transforms.corpora.conll import parse_columns
    from transforms.tags.schemes import SCHEMES

    parse_columns(options.conll_columns, n_columns=3 if has_predicted else 2)
    if options.scheme != "auto":
        if options.scheme not in SCHEMES:
            raise ConfigError(f"expected --scheme auto or one of {sorted(SCHEMES)}, found {options.scheme!r}")
        return options.scheme
    return recognise_first(_first_tags(options, files[0], has_predicted=has_predicted), flag="--gold")


def recognise_first(sequences: Iterator[Sequence[str]], *, flag: str) -> str:
    """The scheme of the first sequences of tags; BIO where there are none.

    Args:
      sequences: tags by sentence or document.
      flag: where they come from, for messages.

    Raises:
      ConfigError: the tags cannot be read, or fit no scheme.
    """
    from transforms.tags.schemes import recognise_scheme

    try:
        tags = {tag for sequence in itertools.islice(sequences, _PEEKED_SENTENCES) for tag in sequence}
    except FileError as error:
        raise ConfigError(str(error)) from error
    if bare := sorted(tag for tag in tags - {OUTSIDE} if not _TAG.match(tag)):
        raise ConfigError(
            f"expected tags such as B-PER in {flag}, found {bare[:3]}; "
            "name their column with --conll-columns, or set --scheme IO for labels without prefixes"
        )
    try:
        return recognise_scheme(sorted(tags)) if tags - {OUTSIDE} else "BIO"
    except CheckpointError:
        prefixes = sorted({tag[0] for tag in tags - {OUTSIDE}})
        raise ConfigError(
            f"expected tags of one scheme in {flag}, found prefixes {prefixes}, which no scheme uses together; "
            "mend the tags or set --scheme"
        ) from None


def _first_tags(options: GoldOptions, file: "FileRef", *, has_predicted: bool) -> Iterator[Sequence[str]]:
    """Tags of the first sentences or documents of a gold file, until it ends."""
    from transforms.corpora.conll import read_documents
    from transforms.corpora.formats import cut_files, format_of, read_parts

    corpus = configure_corpus(options, [file])
    if format_of(file, corpus) == "conll":
        for document in read_documents(file, corpus, has_predicted=has_predicted):
            yield from (sentence.tags for sentence in document)
        return
    for slice_ in cut_files([file], corpus, _PEEKED_BYTES)[:1]:
        for part in read_parts(slice_, corpus):
            yield from ([tag["tag"] for tag in tags or ()] for tags in part.documents.column("tags").to_pylist())
