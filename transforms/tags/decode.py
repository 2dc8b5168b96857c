"""From tag probabilities to spans of units (words, or tokens).

    probabilities (n_units, n_tags) --choose--> tags (n_units,) --find--> spans [first, last) with label and score

Documents are laid end to end in one array; `bounds` says where each begins, so that one pass of array operations
decodes a whole batch of documents. Spans are found by the rules of conlleval (Tjong Kim Sang and De Meulder, 2003),
which read every scheme, and which on a legal sequence agree with the scheme's own definition.

A model with a conditional random field (Lafferty et al., 2001) scores steps between tags too, and then the best path is
searched in full. Its logits are not needed for that: the logarithms of its probabilities differ from them by a number
per unit, which all paths share. So probabilities that were stitched from windows do as well.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from schemas.labels import TagSet, split_tag
from transforms.tags.schemes import allowed_steps

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_FLOOR = 1e-30
_MOST_STEPS = 1 << 22
"""Scores of steps held at once in a search over documents."""
DECODERS = ("viterbi", "argmax")
REPAIRS = ("conlleval", "discard")


@dataclasses.dataclass(frozen=True)
class UnitSpans:
    """Spans over units, in order of position.

    Attributes:
      first: (n,) first unit.
      last: (n,) one past the last unit.
      label: (n,) index into the tag set's labels.
      score: (n,) mean probability of the span's tags.
    """

    first: IntArray
    last: IntArray
    label: IntArray
    score: FloatArray


class Decoder:
    """Chooses tags and finds spans for one tag set.

    Args:
      tag_set: the model's tags and scheme.
      decoder: `viterbi` takes the most probable legal sequence (Viterbi, 1967, over the scheme's transitions and those
        that the model has learned); `argmax` takes the most probable tag of each unit.
      repair: what to make of an illegal sequence, which only `argmax` can give: `conlleval` lets a stray inside tag
        begin an entity, `discard` drops every entity that an illegal step touches.
    """

    def __init__(self, tag_set: TagSet, *, decoder: str = "viterbi", repair: str = "conlleval") -> None:
        if decoder not in DECODERS:
            raise ConfigError(f"expected a decoder of {DECODERS}, found {decoder!r}")
        if repair not in REPAIRS:
            raise ConfigError(f"expected a repair policy of {REPAIRS}, found {repair!r}")
        self.labels = tag_set.labels
        self._is_viterbi = decoder == "viterbi"
        self._is_discarding = repair == "discard"
        self._steps, self._first, self._last = allowed_steps(tag_set)
        self._penalty = np.where(self._steps, 0.0, -np.inf)
        learned = tag_set.transitions
        self._learned = learned and _Learned(
            steps=self._penalty + np.array(learned.steps),
            first=np.where(self._first, learned.first, -np.inf),
            last=np.where(self._last, learned.last, -np.inf),
        )
        self._outside = tag_set.tags.index("O") if "O" in tag_set.tags else -1
        parts = [split_tag(tag) for tag in tag_set.tags]
        self._prefix = np.array([prefix for prefix, _ in parts])
        self._label = np.array([self.labels.index(label) if label else -1 for _, label in parts])

    def decode(self, probabilities: FloatArray, bounds: IntArray) -> UnitSpans:
        """Tag probabilities in, spans out.

        Args:
          probabilities: (n_units, n_tags), documents laid end to end.
          bounds: (n_documents + 1,) where each document begins; the last entry is n_units.
        """
        tags = self.choose_tags(probabilities, bounds)
        spans = self.find_spans(tags, bounds)
        if not len(spans.first):
            return spans
        chosen = np.take_along_axis(probabilities, tags[:, None], axis=1)[:, 0].astype(np.float64)
        # Span by span, so that what stands before a span changes no digit; every other sum is of what lies between two.
        edges = np.stack([spans.first, spans.last], axis=1).ravel()
        score = np.add.reduceat(np.append(chosen, 0.0), edges)[::2] / (spans.last - spans.first)
        return dataclasses.replace(spans, score=np.clip(score, 0.0, 1.0).astype(np.float32))

    def choose_tags(self, probabilities: FloatArray, bounds: IntArray) -> IntArray:
        """One tag per unit, (n_units,)."""
        if self._is_viterbi and self._learned:
            return _search_documents(probabilities, bounds, self._learned)
        tags: IntArray = probabilities.argmax(axis=1)
        if self._is_viterbi and len(tags):
            # An argmax sequence that is legal is the best legal one: only the other documents need the search.
            illegal = np.add.reduceat(
                np.append(self._illegal_units(tags, bounds), False), np.minimum(bounds[:-1], len(tags))
            )
            for document in np.flatnonzero((illegal > 0) & (np.diff(bounds) > 0)):
                begin, end = bounds[document], bounds[document + 1]
                tags[begin:end] = self._best_legal_path(probabilities[begin:end], tags[begin:end])
        return tags

    def find_spans(self, tags: IntArray, bounds: IntArray) -> UnitSpans:
        """Spans of a tag sequence, their scores not yet known (NaN)."""
        label, prefix = self._label[tags], self._prefix[tags]
        first, last = _find_runs(prefix, label, bounds)
        if self._is_discarding and len(first):
            bad = np.concatenate([[0], np.cumsum(self._illegal_units(tags, bounds))])
            # A span is touched by the step into it, the steps within, and the step out of it; none leads out of a
            # document into the next.
            keep = bad[last + ~np.isin(last, bounds)] - bad[first] == 0
            first, last = first[keep], last[keep]
        return UnitSpans(first, last, label[first], np.full(len(first), np.nan, dtype=np.float32))

    def _illegal_units(self, tags: IntArray, bounds: IntArray) -> BoolArray:
        """Marks units that may not follow the unit before them, or may not close their document."""
        illegal = np.zeros(len(tags), dtype=bool)
        illegal[1:] = ~self._steps[tags[:-1], tags[1:]]
        begin, end = bounds[:-1], bounds[1:]
        filled = end > begin
        illegal[begin[filled]] = ~self._first[tags[begin[filled]]]
        illegal[end[filled] - 1] |= ~self._last[tags[end[filled] - 1]]
        return illegal

    def _best_legal_path(self, probabilities: FloatArray, tags: IntArray) -> IntArray:
        """The most probable legal sequence of one document, (n_units,), searched only where argmax breaks the rules.

        Units whose most probable tag is O cut the document into pieces, and only illegal pieces are searched, as if
        every cut were O. The mended pieces are less probable than what they replace, by their loss. Where the next best
        tag of a cut costs less than the losses on its two sides, another tag there might have paid: that cut is given
        up and the search repeated. When none is left to give up, no other sequence can be more probable.
        """
        scores = np.log(np.maximum(probabilities, _FLOOR, dtype=np.float64))
        cuts = np.flatnonzero(tags == self._outside)
        best_two = np.partition(scores[cuts], -2, axis=1)[:, -2:]
        margin = best_two[:, 1] - best_two[:, 0]
        illegal = np.flatnonzero(self._illegal_units(tags, np.array([0, len(tags)])))
        while True:
            path: IntArray = tags.copy()
            edges: IntArray = np.concatenate([[-1], cuts, [len(tags)]])
            loss = np.zeros(len(edges) - 1)
            for piece in np.unique(np.searchsorted(edges[1:], illegal)):
                begin, end = int(edges[piece]) + 1, int(edges[piece + 1])
                starts = self._first if begin == 0 else self._steps[self._outside]
                stops = self._last if end == len(tags) else self._steps[:, self._outside]
                path[begin:end] = self._search(scores[begin:end], starts, stops)
                units = np.arange(begin, end)
                loss[piece] = (scores[units, tags[units]] - scores[units, path[units]]).sum()
            is_sure = margin >= loss[:-1] + loss[1:]
            if is_sure.all():
                return path
            for piece in np.flatnonzero(loss):
                # All that would be given up one by one, for a longer piece never loses more.
                is_sure[_last_true(margin[:piece] >= loss[piece]) + 1 : piece] = False
                is_sure[piece : piece + _first_true(margin[piece:] >= loss[piece])] = False
            cuts, margin = cuts[is_sure], margin[is_sure]

    def _search(self, scores: npt.NDArray[np.float64], starts: BoolArray, stops: BoolArray) -> IntArray:
        """Viterbi search for the legal sequence with the highest sum of scores, (n_units,)."""
        n_units, n_tags = scores.shape
        back = np.empty((n_units, n_tags), dtype=np.int16)
        best = np.where(starts, scores[0], -np.inf)
        columns = np.arange(n_tags)
        for unit in range(1, n_units):
            reach = best[:, None] + self._penalty
            back[unit] = reach.argmax(axis=0)
            best = reach[back[unit], columns] + scores[unit]
        path = np.empty(n_units, dtype=np.int64)
        path[-1] = np.where(stops, best, -np.inf).argmax()
        for unit in range(n_units - 1, 0, -1):
            path[unit - 1] = back[unit, path[unit]]
        return path


@dataclasses.dataclass(frozen=True)
class _Learned:
    """Learned scores where the scheme allows a step, first or last tag, minus infinity elsewhere."""

    steps: npt.NDArray[np.float64]
    first: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]


def _search_documents(probabilities: FloatArray, bounds: IntArray, learned: _Learned) -> IntArray:
    """Viterbi search for the best path of every document, (n_units,), a unit of many documents at a time."""
    scores = np.log(np.maximum(probabilities, _FLOOR, dtype=np.float64))
    tags = np.zeros(len(scores), dtype=np.int64)
    lengths = np.diff(bounds)
    # Longest first: those that still go on are always the first.
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    n_together = max(1, _MOST_STEPS // scores.shape[1] ** 2)
    for start in range(0, len(order), n_together):
        chosen = order[start : start + n_together]
        _search_block(scores, bounds[chosen], lengths[chosen], learned, tags)
    return tags


def _search_block(
    scores: npt.NDArray[np.float64], begin: IntArray, lengths: IntArray, learned: _Learned, tags: IntArray
) -> None:
    """Fills in the tags of documents, the longest first."""
    back = np.zeros((len(begin), int(lengths[0]), scores.shape[1]), dtype=np.int16)
    best = learned.first + scores[begin]
    for unit in range(1, int(lengths[0])):
        n_going = np.count_nonzero(lengths > unit)
        reach = best[:n_going, :, None] + learned.steps
        back[:n_going, unit] = reach.argmax(axis=1)
        best[:n_going] = reach.max(axis=1) + scores[begin[:n_going] + unit]
    current = (best + learned.last).argmax(axis=1)
    for unit in range(int(lengths[0]) - 1, -1, -1):
        n_going = np.count_nonzero(lengths > unit)
        tags[begin[:n_going] + unit] = current[:n_going]
        if unit:
            current[:n_going] = back[np.arange(n_going), unit, current[:n_going]]


def _find_runs(prefix: npt.NDArray[np.str_], label: IntArray, bounds: IntArray) -> tuple[IntArray, IntArray]:
    """Prefixes and labels of units, a label under 0 outside, to (first, last) of spans, `last` exclusive."""
    opens = np.zeros(len(label) + 1, dtype=bool)
    opens[bounds[:-1]] = True
    opens = opens[:-1]
    previous_label = np.concatenate([[-1], label[:-1]])
    previous_prefix = np.concatenate([["O"], prefix[:-1]])
    is_inside = label >= 0
    begins = is_inside & (
        opens
        | (label != previous_label)
        | np.isin(prefix, ["B", "S", "U"])
        | np.isin(previous_prefix, ["E", "S", "L", "U"])
    )
    first = np.flatnonzero(begins)
    stops = np.append(np.flatnonzero(begins | ~is_inside | opens), len(label))
    last = stops[np.searchsorted(stops, first, side="right")] if len(first) else first
    return first, last


def _first_true(values: BoolArray) -> int:
    """Index of the first true value, or their number."""
    return int(values.argmax()) if values.any() else len(values)


def _last_true(values: BoolArray) -> int:
    """Index of the last true value, or -1."""
    return len(values) - 1 - _first_true(values[::-1])


def decode_tags(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Tags of one sequence to (first, last, label) spans, `last` exclusive, by the rules of conlleval.

    >>> decode_tags(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [(0, 2, 'PER'), (3, 4, 'LOC'), (4, 5, 'LOC')]
    """
    if not tags:
        return []
    # Tags may be as many as units where a file has something else in their column, so nothing is made of pairs of them.
    prefixes, names = zip(*map(split_tag, tags), strict=True)
    codes = {name: code for code, name in enumerate(dict.fromkeys(filter(None, names)))}
    labels = np.array([codes.get(name, -1) for name in names], dtype=np.int64)
    firsts, lasts = _find_runs(np.array(prefixes), labels, np.array([0, len(tags)]))
    return [(first, last, names[first]) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
