"""Labelled files to what a model is trained and scored on.

    file --read--> sentences --map labels--> spans --split words--> BIO tags --tokenize--> pieces --cut--> windows

    file     Jo      Müller-Lüdenscheidt                             slept
    words    Jo      Müller       -     Lüdenscheidt                 slept
    pieces   jo      mull  ##er   -     lud   ##ens ##che ##id ##t   slept
    target   B-PER   I-PER -100   I-PER I-PER -100  -100  -100 -100  O

Words are the tokenizer's own, because a text to annotate has no others: a file's word that the tokenizer splits at
punctuation is several words here. The first piece of a word carries its tag, the others -100, which the loss leaves out
(Devlin et al., 2019, section 5.3). Spans are read by the rules of conlleval and written as BIO again, so files of any
scheme may be mixed. A sentence longer than the model reads is cut between words into windows; their tags are joined
again before anything is scored.
"""

import dataclasses
import hashlib
import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schemas.checkpoints import DataFile
from schemas.errors import ConfigError, FileError
from schemas.labels import OUTSIDE, TagSet, split_tag
from schemas.slices import FileRef, display_uri
from transforms.corpora.conll import Sentence, parse_sentences
from transforms.corpora.files import list_files, open_stream
from transforms.tags.decode import Decoder
from transforms.tags.encode import encode_tags
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
_TAG = re.compile(r"O|[BIESLUM][-_]\S+")


@dataclasses.dataclass(frozen=True)
class LabelledSentence:
    """A sentence with its entities.

    Attributes:
      words: its words.
      spans: entities as (first, last, label) over words, `last` exclusive.
      opens_document: whether a mark of a new document stands before it.
    """

    words: tuple[str, ...]
    spans: tuple[tuple[int, int, str], ...]
    opens_document: bool = False

    @property
    def tags(self) -> list[str]:
        """A BIO tag per word."""
        return encode_tags(list(self.spans), len(self.words), scheme="BIO")


@dataclasses.dataclass(frozen=True)
class LabelledFile:
    """A file of labelled sentences.

    Attributes:
      name: its folder and file name.
      digest: SHA-256 of its decompressed bytes, hex.
      sentences: its sentences.
    """

    name: str
    digest: str
    sentences: tuple[LabelledSentence, ...]

    @property
    def entities(self) -> Counter[str]:
        """How many entities of each label."""
        return Counter(label for sentence in self.sentences for _, _, label in sentence.spans)

    def describe(self, role: str) -> DataFile:
        """The file as a card names it."""
        n_words = sum(len(sentence.words) for sentence in self.sentences)
        return DataFile(
            role=role,
            name=self.name,
            digest=self.digest,
            sentences=len(self.sentences),
            words=n_words,
            entities=dict(sorted(self.entities.items())),
        )


@dataclasses.dataclass(frozen=True)
class Window:
    """A piece of a sentence that fits the model.

    Attributes:
      sentence: position of its sentence.
      words: position in the sentence of each word that it holds.
      input_ids: its pieces, special ones included.
      targets: for each piece the position of its tag, or IGNORED.
    """

    sentence: int
    words: tuple[int, ...]
    input_ids: tuple[int, ...]
    targets: tuple[int, ...]


def read_files(patterns: Sequence[str], *, flag: str) -> list[LabelledFile]:
    """CoNLL files, whatever their suffix, to labelled sentences.

    Raises:
      ConfigError: a file is missing, unreadable, empty, or its words have no tags.
    """
    if not patterns:
        return []
    try:
        return [_read_file(file) for file in list_files(patterns)]
    except FileError as error:
        raise ConfigError(error.message) from error
    except ConfigError as error:
        raise ConfigError(str(error).replace("check --input", f"check {flag}")) from error


def map_labels(files: Sequence[LabelledFile], label_map: Mapping[str, str]) -> list[LabelledFile]:
    """Renames labels, and drops entities whose label maps to O; labels without a row are kept."""
    return [
        dataclasses.replace(file, sentences=tuple(_map_sentence(sentence, label_map) for sentence in file.sentences))
        for file in files
    ]


def split_words(files: Sequence[LabelledFile], tokenizer: ColumnTokenizer) -> list[LabelledFile]:
    """Splits the words of files into the tokenizer's own words, and moves the spans along."""
    return [dataclasses.replace(file, sentences=tuple(split_sentences(file.sentences, tokenizer))) for file in files]


def split_sentences(sentences: Sequence[LabelledSentence], tokenizer: ColumnTokenizer) -> Iterator[LabelledSentence]:
    """Splits the words of sentences into the tokenizer's own words, and moves the spans along."""
    texts = [" ".join(sentence.words) for sentence in sentences]
    columns = tokenizer.tokenize(texts)
    for number, (sentence, text) in enumerate(zip(sentences, texts, strict=True)):
        tokens = slice(columns.bounds[number], columns.bounds[number + 1])
        starts = columns.start[tokens][columns.starts_word[tokens]]
        begins = np.cumsum([0, *(len(word) + 1 for word in sentence.words)])
        words: list[str] = []
        place = [0]
        for begin, word in zip(begins.tolist(), sentence.words, strict=False):
            end = begin + len(word)
            inner = starts[(starts >= begin) & (starts < end)].tolist()
            # A word without a piece stays as it is, so that its entity still counts.
            cuts = [begin, *inner[1:], end]
            words += [text[a:b] for a, b in pairwise(cuts)]
            place.append(len(words))
        spans = tuple((place[first], place[last], label) for first, last, label in sentence.spans)
        yield LabelledSentence(tuple(words), spans, sentence.opens_document)


def check_label_map(files: Sequence[LabelledFile], label_map: Mapping[str, str]) -> None:
    """Refuses a map with a label that no file has.

    Raises:
      ConfigError: naming the labels found.
    """
    found = {label for file in files for label in file.entities}
    if unknown := sorted(set(label_map) - found):
        raise ConfigError(f"expected --map from labels of the files, {sorted(found)}, found {unknown}")


def collect_labels(
    train: Sequence[LabelledFile], others: Sequence[LabelledFile], *, kept: Collection[str] = ()
) -> tuple[str, ...]:
    """Labels of the training files and those that are kept, sorted.

    Raises:
      ConfigError: there are none, or another file has a label that could never be found.
    """
    labels = {label for file in train for label in file.entities}
    if not labels:
        raise ConfigError(f"expected entities in the training files, found none in {[file.name for file in train]}")
    labels |= set(kept)
    for file in others:
        if strange := sorted(set(file.entities) - labels):
            raise ConfigError(
                f"expected labels of the training files, {sorted(labels)}, in {file.name!r}, found {strange}; "
                f"rename or drop them, as in --map {strange[0]}=O"
            )
    return tuple(sorted(labels))


def build_bio_tags(labels: Sequence[str]) -> TagSet:
    """Labels to the tags of a model.

    >>> build_bio_tags(["LOC", "PER"]).tags
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    return TagSet((OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI")), "BIO")


def chain_sentences(
    sentences: Sequence[LabelledSentence], *, fraction: float, max_words: int, seed: int
) -> list[LabelledSentence]:
    """Joins neighbours so that a model meets texts of several sentences too.

    The sentences are cut into runs of up to `max_words` words that do not cross a mark of a document; a run stays
    whole with a chance of `fraction`, else it falls into its sentences again. No word is lost or repeated.

    >>> a, b = LabelledSentence(("Anna",), ((0, 1, "PER"),)), LabelledSentence(("to", "Rome"), ((1, 2, "LOC"),))
    >>> chain_sentences([a, b], fraction=1.0, max_words=5, seed=0)[0].spans
    ((0, 1, 'PER'), (2, 3, 'LOC'))
    """
    draw = random.Random(seed)
    chained: list[LabelledSentence] = []
    for run in _cut_runs(sentences, max_words):
        chained += [join_sentences(run)] if draw.random() < fraction else run
    return chained


def join_sentences(run: Sequence[LabelledSentence]) -> LabelledSentence:
    """Several sentences to one; where they meet, a word still ends.

    >>> a, b = LabelledSentence(("Anna",), ((0, 1, "PER"),)), LabelledSentence(("slept",), ())
    >>> join_sentences([b, a])
    LabelledSentence(words=('slept', 'Anna'), spans=((1, 2, 'PER'),), opens_document=False)
    """
    words: list[str] = []
    spans: list[tuple[int, int, str]] = []
    for sentence in run:
        spans += [(first + len(words), last + len(words), label) for first, last, label in sentence.spans]
        words += sentence.words
    return LabelledSentence(tuple(words), tuple(spans), run[0].opens_document)


def cut_windows(
    sentences: Sequence[LabelledSentence], tag_set: TagSet, tokenizer: "PreTrainedTokenizerBase", *, max_tokens: int
) -> list[Window]:
    """Sentences to windows of at most `max_tokens` pieces that together hold every word that has a piece.

    Words of nothing but characters that the tokenizer drops have no piece; they are O when scored. Of a word that
    alone is longer than a window, the first pieces are kept.
    """
    if not sentences:
        return []
    encoded = tokenizer(
        [list(sentence.words) for sentence in sentences],
        is_split_into_words=True,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        verbose=False,
    )
    windows: list[Window] = []
    for number, sentence in enumerate(sentences):
        targets = [tag_set.tags.index(tag) for tag in sentence.tags]
        ids, word_of = encoded["input_ids"][number], encoded.word_ids(number)
        windows += _cut_sentence(number, ids, word_of, targets, max_tokens)
    return windows


def join_windows(
    probabilities: npt.NDArray[np.float32],
    windows: Sequence[Window],
    sentences: Sequence[LabelledSentence],
    tag_set: TagSet,
) -> list[list[str]]:
    """Tag probabilities of the words of all windows, in order, to the best legal tags of each sentence.

    Args:
      probabilities: (n_words, n_tags), the windows' words laid end to end.
      windows: the windows, in any order, each of a sentence's words in one of them at most.
      sentences: what the windows were cut from.
      tag_set: the model's tags, with what it has learned of their order.
    """
    bounds = np.concatenate([[0], np.cumsum([len(sentence.words) for sentence in sentences])]).astype(np.int64)
    places = np.array([bounds[window.sentence] + word for window in windows for word in window.words], dtype=np.int64)
    by_word = np.zeros((int(bounds[-1]), len(tag_set.tags)), dtype=np.float32)
    by_word[:, tag_set.tags.index(OUTSIDE)] = 1.0
    by_word[places] = probabilities
    tags = Decoder(tag_set).choose_tags(by_word, bounds)
    return [[tag_set.tags[tag] for tag in tags[a:b]] for a, b in pairwise(bounds)]


def short_name(uri: str) -> str:
    """A file's folder and name, which mean something on every machine.

    >>> short_name("/somewhere/data/btc/train.conll")
    'btc/train.conll'
    """
    return "/".join(PurePosixPath(display_uri(uri)).parts[-2:]).lstrip("/")


def shorten_path(path: str) -> str:
    """A path as given, or its last parts where it is absolute, which mean something on every machine.

    >>> shorten_path("models/a"), shorten_path("/somewhere/models/a")
    ('models/a', 'models/a')
    """
    return "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else path


def _read_file(file: FileRef) -> LabelledFile:
    with open_stream(file) as stream:
        content = stream.read()
    source = file.source
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected UTF-8 in {source!r}, found a bad byte at {error.start}") from None
    sentences = []
    for sentence in parse_sentences(text.split("\n"), source=source):
        if not sentence.tags:
            raise ConfigError(f"expected a word and its tag in {source!r} line {sentence.line}, found one column")
        _check_tags(sentence, source)
        sentences.append(LabelledSentence(sentence.words, tuple(sentence.spans), sentence.opens_document))
    if not sentences:
        raise ConfigError(f"expected labelled sentences in {source!r}, found none")
    return LabelledFile(short_name(file.uri), hashlib.sha256(content).hexdigest(), tuple(sentences))


def _check_tags(sentence: Sentence, source: str) -> None:
    for line, tag in enumerate(sentence.tags, sentence.line):
        if not _TAG.fullmatch(tag):
            raise ConfigError(f"expected tags such as B-PER or O in {source!r}, found {tag!r} at line {line}")
        if tag != OUTSIDE and split_tag(tag)[1] == OUTSIDE:
            raise ConfigError(
                f"expected labels other than O, which means no entity, in {source!r}, found {tag!r} at line {line}; "
                "rename the label in the file"
            )


def _map_sentence(sentence: LabelledSentence, label_map: Mapping[str, str]) -> LabelledSentence:
    mapped = ((first, last, label_map.get(label, label)) for first, last, label in sentence.spans)
    return dataclasses.replace(sentence, spans=tuple(span for span in mapped if span[2] != OUTSIDE))


def _cut_runs(sentences: Sequence[LabelledSentence], max_words: int) -> Iterator[list[LabelledSentence]]:
    run: list[LabelledSentence] = []
    n_words = 0
    for sentence in sentences:
        if run and (sentence.opens_document or n_words + len(sentence.words) > max_words):
            yield run
            run, n_words = [], 0
        run.append(sentence)
        n_words += len(sentence.words)
    if run:
        yield run


def _cut_sentence(
    number: int, ids: Sequence[int], word_of: Sequence[int | None], targets: Sequence[int], max_tokens: int
) -> Iterator[Window]:
    """Windows of one sentence, each between the special pieces that the tokenizer put around the whole."""
    inside = [at for at, word in enumerate(word_of) if word is not None]
    if not inside:
        return
    head, tail = list(ids[: inside[0]]), list(ids[inside[-1] + 1 :])
    room = max_tokens - len(head) - len(tail)
    pieces: dict[int, list[int]] = {}
    for at in inside:
        pieces.setdefault(word_of[at] or 0, []).append(ids[at])
    for words in _pack_words({word: min(len(own), room) for word, own in pieces.items()}, room):
        kept = [pieces[word][:room] for word in words]
        marks = [[targets[word]] + [IGNORED] * (len(own) - 1) for word, own in zip(words, kept, strict=True)]
        yield Window(
            number,
            tuple(words),
            (*head, *(piece for own in kept for piece in own), *tail),
            (*[IGNORED] * len(head), *(mark for own in marks for mark in own), *[IGNORED] * len(tail)),
        )


def _pack_words(n_pieces: Mapping[int, int], room: int) -> Iterator[list[int]]:
    """Words in order, as many together as there is room for."""
    words: list[int] = []
    used = 0
    for word, n in n_pieces.items():
        if words and used + n > room:
            yield words
            words, used = [], 0
        words.append(word)
        used += n
    if words:
        yield words
