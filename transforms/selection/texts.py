"""Texts of candidates, read from the run's input again."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator

from transforms.corpora.documents import CorpusConfig
from transforms.reports.excerpts import Sample
from transforms.reports.samples import read_samples
from transforms.selection.candidates import Candidate, SelectedRun


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Reads documents of a run with their texts.

    Attributes:
      run: the run.
      corpus: how documents are found in its input.
      unit: unit of its offsets.
    """

    run: SelectedRun
    corpus: CorpusConfig
    unit: str

    def read(self, candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, Sample]]:
        """Candidates with their texts, and entities in code points, in the order of the input.

        A part of the input is read once, no further than to the last candidate there, and one text is held at a time. A
        sample whose text is not to be had any more says why.
        """
        by_slice: defaultdict[int, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            by_slice[candidate.slice_number].append(candidate)
        for number in sorted(by_slice):
            slice_ = self.run.files[number][0]
            ordered = sorted(by_slice[number], key=lambda candidate: candidate.document.row)
            samples = read_samples(slice_, (each.document for each in ordered), self.corpus, self.unit)
            yield from zip(ordered, samples, strict=True)
