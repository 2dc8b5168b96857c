"""Corpora of four shapes, made from the data sets of the project, as Parquet files with `id` and `text`.

    news        1 to 60 sentences of newswire to a document, log-normal around ten: the default
    btc         a tweet to a document
    sentences   a sentence to a document
    wikitext2   an article to a document

Documents are distinct, since a window that has been seen before may be answered from memory; `Corpus` says how many of
its windows are. News goes on for as long as it is asked to: the first round over the sentences keeps their order, each
later one shuffles them and cuts elsewhere. Without the data sets, news is made from the lines of the sample corpus.
"""

import dataclasses
import itertools
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.ceiling import cut_texts
from benchmarks.peers.processes import ROOT

SHAPES = ("news", "btc", "sentences", "wikitext2")
SAMPLE = ROOT / "assets" / "corpus" / "uner-ewt-dev.parquet"
_MOST_SENTENCES = 60
_ROW_GROUP = 16
_CALIBRATION_DOCUMENTS = 300
_HEADING = re.compile(r"^ = [^=]+ = $", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    Attributes:
      name: its shape.
      path: the file.
      one: a file with its shortest document alone.
      tokens: (n_documents,) our tokenizer's tokens of each, without special ones.
      windows: (n_windows,) tokens of each window, with special ones.
      repeated_windows: windows whose like came before.
      shortest: the number of its shortest document.
      n_bytes: its size as text.
    """

    name: str
    path: Path
    one: Path
    tokens: np.ndarray
    windows: np.ndarray
    repeated_windows: int
    shortest: int
    n_bytes: int

    def __str__(self):
        return (
            f"{len(self.tokens):,} documents of {self.name}, {self.tokens.sum():,} tokens, "
            f"{len(self.windows):,} windows of which {self.repeated_windows} repeat another"
        )

    def count_tokens(self, most_tokens=None):
        """The tokens that are read of all documents but that one, when no more than `most_tokens` of each are."""
        read = self.tokens if most_tokens is None else np.minimum(self.tokens, most_tokens)
        return int(read.sum() - read[self.shortest])


def make_corpus(shape, n_documents, *, data, folder, checkpoint):
    """Writes a corpus of at most so many documents under `folder`; fewer where the data set has no more."""
    texts = list(itertools.islice(generate_texts(shape, data), n_documents))
    folder.mkdir(parents=True, exist_ok=True)
    path, one = folder / f"{shape}-{len(texts)}.parquet", folder / f"{shape}-{len(texts)}-one.parquet"
    _write(path, texts)
    shortest = min(range(len(texts)), key=lambda number: len(texts[number]))
    _write(one, texts[shortest : shortest + 1])
    tokenizer, columns, windows = cut_texts(checkpoint, texts)
    contents = {columns.ids[first:last].tobytes() for first, last in zip(windows.first, windows.last, strict=True)}
    n_special = len(tokenizer.prefix_ids) + len(tokenizer.suffix_ids)
    return Corpus(
        name=shape,
        path=path,
        one=one,
        tokens=np.diff(columns.bounds),
        windows=windows.last - windows.first + n_special,
        repeated_windows=len(windows.first) - len(contents),
        shortest=shortest,
        n_bytes=sum(len(text.encode()) for text in texts),
    )


def write_calibration(path, data):
    """Writes news for calibration, from sentences that are in no corpus here; without data sets from the same ones."""
    train = data / "conll2003" / "train.txt"
    sentences = read_sentences(train) if train.exists() else _news_sentences(data)
    _write(path, list(itertools.islice(_news(sentences), _CALIBRATION_DOCUMENTS)))


def generate_texts(shape, data):
    """Distinct texts of a shape, in the same order every time."""
    if shape == "news":
        return _distinct(_news(_news_sentences(data)))
    if shape == "btc":
        return _distinct(read_sentences(data / "btc" / "dev.conll"))
    if shape == "sentences":
        return _distinct(read_sentences(data / "conll2003" / "dev.txt"))
    return _distinct(_articles(sorted((data / "wikitext2").glob("*.txt"))))


def has_shape(shape, data):
    """Whether a shape can be made; news always can."""
    folders = {"btc": "btc", "sentences": "conll2003", "wikitext2": "wikitext2"}
    return shape == "news" or (data / folders[shape]).is_dir()


def read_sentences(path):
    """The sentences of a CoNLL file, words joined by spaces."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    sentences = (" ".join(line.split("\t")[0] for line in block.splitlines() if line.strip()) for block in blocks)
    return [sentence for sentence in sentences if sentence]


def _news_sentences(data):
    path = data / "conll2003" / "dev.txt"
    if path.exists():
        return read_sentences(path)
    texts = pq.read_table(SAMPLE, columns=["text"])["text"].to_pylist()
    return [line for text in texts for line in text.splitlines() if line.strip()]


def _news(sentences):
    for number in itertools.count():
        rng = random.Random(number)
        order = sentences if number == 0 else rng.sample(sentences, len(sentences))
        first = 0
        while first < len(order):
            count = min(_MOST_SENTENCES, max(1, int(rng.lognormvariate(2.3, 0.9))))
            yield " ".join(order[first : first + count])
            first += count


def _articles(paths):
    for path in paths:
        text = path.read_text(encoding="utf-8")
        starts = [match.start() for match in _HEADING.finditer(text)]
        for start, end in itertools.pairwise([*starts, len(text)]):
            yield text[start:end].strip()


def _distinct(texts):
    seen = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _write(path, texts):
    ids = [str(number) for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=_ROW_GROUP)
