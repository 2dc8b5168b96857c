"""Documents drawn from all over a corpus, without reading the whole of it.

    files by size ──> places at equal distances in bytes ──> a slice at each ──> documents, as the run would read them

A place falls into a file as likely as the file is large, so that what is measured per byte at each place, times the
bytes of the corpus, is an estimate of the whole without bias (Hansen and Hurwitz, 1943), whatever differs between
files.
"""

import bisect
import dataclasses
import itertools
import random
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigError, FileError
from schemas.slices import FileRef, Slice
from schemas.tables import FileTable
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.formats import read_parts, survey_file
from transforms.estimating.slicing import Cut, measure_cut, weigh

_MOST_TEXT_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """What lies at one place of the corpus.

    Attributes:
      documents: documents there, as the run would read them; none where there are none.
      sizes: bytes of the text of each.
      documents_per_byte: how many documents there are per byte of the files there.
      text_per_byte: bytes of text per byte of the files.
      read_seconds_per_byte: seconds of reading per byte of text.
      file_cut: how a run cuts the file.
      plan_seconds_per_byte: seconds of cutting the file into slices per byte of it.
      part_bytes: bytes of text in one of the parts that a slice is annotated and written in.
      n_parts: how many parts a slice has there.
      source: the file, as annotations name it.
    """

    documents: pa.Table | None
    file_cut: Cut
    sizes: tuple[int, ...] = ()
    documents_per_byte: float = 0.0
    text_per_byte: float = 0.0
    read_seconds_per_byte: float = 0.0
    plan_seconds_per_byte: float = 0.0
    part_bytes: float = 0.0
    n_parts: int = 1
    source: str = ""

    @property
    def slice_at(self) -> tuple[str, int]:
        """Where the slice begins that it lies in, file and row; places of the same slice hold the same documents."""
        assert self.documents is not None
        return self.source, self.documents.column("row")[0].as_py()

    def cut(self, n_bytes: int, rng: random.Random) -> tuple[pa.Table, int] | None:
        """Neighbouring documents from a random one on, one at least, and the bytes of their texts.

        Args:
          n_bytes: bytes of text that are wanted; the last document may exceed them.
          rng: chooses the first; after the last document comes the first, so that all are as likely.
        """
        if self.documents is None or not sum(self.sizes):
            return None
        first = rng.randrange(len(self.sizes))
        chosen: list[int] = []
        total = 0
        for at in itertools.islice(itertools.cycle(range(len(self.sizes))), first, first + len(self.sizes)):
            chosen.append(at)
            total += self.sizes[at]
            if total >= n_bytes:
                break
        return self.documents.take(pa.array(chosen)), total


def draw_places(
    files: FileTable,
    corpus: CorpusConfig,
    *,
    n_places: int,
    slice_bytes: int,
    rng: random.Random,
    is_strict: bool = True,
) -> list[Draw]:
    """What lies at places spread over the bytes of a corpus.

    Args:
      files: its files.
      corpus: how documents are found in them.
      n_places: how many places; a small corpus has fewer that differ.
      slice_bytes: size of a slice, as the run would have it; large ones are read in part.
      rng: chooses where the first one lies, and the slice at each.
      is_strict: a file that cannot be read is an error, instead of places without documents.

    Raises:
      ConfigError: the files hold nothing, or one of them cannot be read, and `is_strict`.
    """
    ends = list(itertools.accumulate(files.column("size_bytes").to_pylist()))
    if not ends or not ends[-1]:
        raise ConfigError("expected input that holds something, found none; there is nothing to estimate")
    step, offset = ends[-1] / n_places, rng.random()
    places = [min((at + offset) * step, ends[-1] - 1) for at in range(n_places)]
    draws: list[Draw] = []
    for number, found in itertools.groupby(places, key=lambda place: bisect.bisect_right(ends, place)):
        file, n_found = files[number], len(list(found))
        try:
            draws += list(_draw_from(file, corpus, (n_found, slice_bytes), rng))
        except FileError as error:
            if is_strict:
                raise ConfigError(f"{error}; mend the file or set --bad-files dead-letter") from error
            draws += [Draw(documents=None, file_cut=Cut(file, ()))] * n_found
    return draws


def _draw_from(file: FileRef, corpus: CorpusConfig, wanted: tuple[int, int], rng: random.Random) -> Iterator[Draw]:
    """What lies at a wanted number of places of one file, of which a run has slices of a wanted size."""
    n_places, slice_bytes = wanted
    survey_bytes = min(slice_bytes, _MOST_TEXT_BYTES)
    started = time.perf_counter()
    survey = survey_file(file, corpus, survey_bytes)
    plan_s = (time.perf_counter() - started) / file.size_bytes
    cut = measure_cut(survey, corpus, survey_bytes, slice_bytes)
    weights = [weigh(slice_) for slice_ in survey.slices]
    if not sum(weights):
        yield from [Draw(documents=None, file_cut=cut, plan_seconds_per_byte=plan_s)] * n_places
        return
    ends = list(itertools.accumulate(weights))
    for at in range(n_places):
        place = (at + rng.random()) * ends[-1] / n_places
        slice_ = survey.slices[min(bisect.bisect_right(ends, place), len(ends) - 1)]
        yield _read(slice_, corpus, file.size_bytes * weigh(slice_) / ends[-1], (cut, plan_s))


def _read(slice_: Slice, corpus: CorpusConfig, n_bytes: float, planned: tuple[Cut, float]) -> Draw:
    """The documents of a slice, or enough of them; `n_bytes` is its share of the file, which was planned already."""
    tables: list[pa.Table] = []
    n_rows = text_bytes = 0
    started = time.perf_counter()
    for part in read_parts(slice_, corpus):
        tables.append(part.documents)
        n_rows += part.documents.num_rows + len(part.rejects)
        text_bytes += pc.sum(pc.binary_length(part.documents.column("text"))).as_py() or 0
        if text_bytes >= _MOST_TEXT_BYTES:
            break
    seconds = time.perf_counter() - started
    documents = pa.concat_tables(tables)
    sizes = pc.fill_null(pc.binary_length(documents.column("text")), 0).to_pylist()
    return Draw(
        documents=documents,
        file_cut=planned[0],
        sizes=tuple(sizes),
        documents_per_byte=slice_.rows / n_bytes,
        text_per_byte=text_bytes * slice_.rows / n_rows / n_bytes,
        read_seconds_per_byte=seconds / text_bytes if text_bytes else 0.0,
        plan_seconds_per_byte=planned[1],
        part_bytes=text_bytes / len(tables),
        n_parts=max(1, round(len(tables) * slice_.rows / n_rows)),
        source=slice_.file.source,
    )
