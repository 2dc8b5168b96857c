"""Annotations of a run and gold documents, joined by id, to blocks of documents.

    gold documents ─> table ─┐
                             ├─ same id ─> same text? ─> spans in code points of the gold text ─> block
    rows of a run ──> table ─┘

Ids that occur more than once are joined where the texts agree. What finds no partner is counted and listed: a gold
document that the run does not hold counts as missed, and so does one that became a dead letter.
"""

import dataclasses
import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.documents import GOLD_TYPE, TAGS_TYPE
from schemas.errors import ConfigError
from schemas.labels import OUTSIDE
from transforms.pairing.tagged import TagConfig
from transforms.scoring.matching import Span, SpanColumns
from transforms.scoring.pairs import Document, PairBlock, Reading
from transforms.tags.chunks import Vocabulary
from transforms.tags.encode import encode_tags
from transforms.text.offsets import convert_offsets

IntArray = npt.NDArray[np.int64]
BOUNDARIES = ("characters", "tokens")

SCORED_TYPE = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string()), ("score", pa.float32())])
)
GOLD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("gold", GOLD_TYPE),
        pa.field("tags", TAGS_TYPE),
        pa.field("groups", pa.list_(pa.string())),
    ]
)
"""`gold` is null for a document that nobody labelled."""
PREDICTED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("digest", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("entities", SCORED_TYPE),
        pa.field("below", SCORED_TYPE),
        pa.field("groups", pa.list_(pa.string())),
    ]
)
"""`entities` is null for a document that became a dead letter; `text` is null unless the run's input was read again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinConfig:
    """How documents are compared.

    Attributes:
      tags: how gold tags are read.
      boundaries: `characters` takes predicted spans as they are; `tokens` widens them to the gold tokens they touch,
        where gold has tokens.
    """

    tags: TagConfig
    boundaries: str = "characters"


@dataclasses.dataclass
class _Pair:
    """A document of both sides; `predicted` is None where the run has none."""

    gold: Mapping[str, Any]
    predicted: Mapping[str, Any] | None


def join_documents(gold: pa.Table, predicted: pa.Table, config: JoinConfig) -> PairBlock:
    """Documents of both sides, complete with regard to their ids, to a block.

    Args:
      gold: table of GOLD_SCHEMA.
      predicted: table of PREDICTED_SCHEMA.
      config: how they are compared.

    Raises:
      ConfigError: the run read another text than the gold document holds.
    """
    notes = _Notes()
    # Tables arrive in any order; documents with the same id and text are told apart by where they come from.
    gold = gold.sort_by([(name, "ascending") for name in ("id", "source", "row")])
    predicted = predicted.sort_by([(name, "ascending") for name in ("id", "source", "row")])
    pairs = list(_pair_rows(gold.to_pylist(), predicted.to_pylist(), notes))
    return _BlockMaker(config, notes).make(pairs)


class _Notes:
    """What was noticed: counts, and examples with their ranks."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._listed: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def note(self, name: str, id_: str) -> None:
        self.counts[name] += 1
        self._listed[name].append((id_, id_))

    @property
    def listed(self) -> dict[str, tuple[tuple[Any, Any], ...]]:
        return {name: tuple(values) for name, values in self._listed.items()}


def _pair_rows(
    gold: Sequence[Mapping[str, Any]], predicted: Sequence[Mapping[str, Any]], notes: _Notes
) -> Iterator[_Pair]:
    wanted, given = _group_by_id(gold), _group_by_id(predicted)
    for id_ in sorted(wanted.keys() | given.keys()):
        golds: Sequence[Mapping[str, Any]] = wanted.get(id_, [])
        rows: Sequence[Mapping[str, Any] | None] = given.get(id_, [])
        if len(golds) > 1 or len(rows) > 1:
            notes.note("duplicate_ids", id_)
            rows = _order_by_text(golds, given.get(id_, []))
        for one, row in itertools.zip_longest(golds, rows):
            if one is None:
                notes.note("unmatched_predicted", id_)
            elif one["gold"] is None:
                notes.counts["unlabelled_documents"] += 1
            else:
                if row is None:
                    notes.note("unmatched_gold", id_)
                elif row["entities"] is None:
                    notes.note("dead_documents", id_)
                yield _Pair(one, row)


def _group_by_id(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["id"]].append(row)
    return dict(groups)


def _order_by_text(
    golds: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any] | None]:
    """The rows in the order of the gold documents whose text they read, None where there is none; then the rest."""
    left = list(rows)
    ordered: list[Mapping[str, Any] | None] = []
    for one in golds:
        digest = digest_text(one["text"])
        at = next((at for at, row in enumerate(left) if row["digest"] == digest), None)
        ordered.append(None if at is None else left.pop(at))
    return [*ordered, *left]


def digest_text(text: str) -> str:
    """The digest of a text, as runs write it beside its entities."""
    return hashlib.sha256(text.encode()).hexdigest()


class _BlockMaker:
    def __init__(self, config: JoinConfig, notes: _Notes) -> None:
        self._config = config
        self._notes = notes
        self._labels: list[str] = []
        self._vocabulary = Vocabulary(config.tags.scheme, config.tags.label_map, labels=self._labels)

    def make(self, pairs: Sequence[_Pair]) -> PairBlock:
        """Pairs to a block."""
        texts = _CharacterTexts([pair.gold["text"] for pair in pairs], [_token_bounds(pair.gold) for pair in pairs])
        predicted, scores = self._predicted_columns(pairs, texts, "entities")
        below = self._predicted_columns(pairs, texts, "below")
        default, strict = (self._gold_columns(pairs, is_strict=mode) for mode in (False, True))
        readings = Reading(default, predicted), Reading(strict, predicted)
        if all(pair.gold["tags"] is None for pair in pairs):
            readings = readings[0], readings[0]
        documents = tuple(
            Document(
                pair.gold["id"],
                pair.gold["source"],
                pair.gold["row"],
                texts.count_tokens(at, 0, len(pair.gold["text"])),
                tuple(_groups(pair)),
            )
            for at, pair in enumerate(pairs)
        )
        return PairBlock(
            documents=documents,
            labels=tuple(self._labels),
            default=readings[0],
            strict=readings[1],
            explained=readings[0] if self._config.tags.repair == "conlleval" else readings[1],
            texts=texts,
            scores=scores,
            below=below,
            tokens=self._count_right_tokens(pairs, predicted, texts),
            counts={**self._notes.counts, "gold invalid sequences": self._count_illegal(pairs)},
            listed=self._notes.listed,
        )

    def _gold_columns(self, pairs: Sequence[_Pair], *, is_strict: bool) -> SpanColumns:
        rows: list[tuple[int, int, int, int]] = []
        for document, pair in enumerate(pairs):
            tags = pair.gold["tags"]
            if tags is None:
                found = [
                    (span["start"], span["end"], self._vocabulary.label_code(span["label"]))
                    for span in pair.gold["gold"]
                ]
            else:
                codes = self._encode(pair)
                chunks = self._vocabulary.find(codes, _sentence_bounds(pair.gold), is_strict=is_strict)
                columns = (chunks.first.tolist(), chunks.last.tolist(), chunks.label.tolist())
                found = [(tags[a]["start"], tags[b - 1]["end"], label) for a, b, label in zip(*columns, strict=True)]
            rows += [(document, *span) for span in found if span[2] >= 0]
        return _to_columns(rows)

    def _encode(self, pair: _Pair) -> npt.NDArray[np.int16]:
        try:
            return self._vocabulary.encode((tag["tag"] for tag in pair.gold["tags"]), len(pair.gold["tags"]))
        except ConfigError as error:
            raise ConfigError(f"document {pair.gold['id']!r} of {pair.gold['source']!r}: {error}") from error

    def _count_illegal(self, pairs: Sequence[_Pair]) -> int:
        return sum(
            len(self._vocabulary.find_illegal(self._encode(pair), _sentence_bounds(pair.gold)))
            for pair in pairs
            if pair.gold["tags"]
        )

    def _predicted_columns(
        self, pairs: Sequence[_Pair], texts: "_CharacterTexts", column: str
    ) -> tuple[SpanColumns, npt.NDArray[np.float32]]:
        rows, scores = [], []
        for document, pair in enumerate(pairs):
            entities = (pair.predicted or {}).get(column) or ()
            spans = _in_gold_text(pair, entities) if entities else []
            if self._config.boundaries == "tokens" and pair.gold["tags"]:
                spans, kept = self._widen(spans, texts.tokens[document])
                entities = [entities[at] for at in kept]
            for (start, end, label), entity in zip(spans, entities, strict=True):
                code = self._vocabulary.label_code(label)
                if code >= 0:
                    rows.append((document, start, end, code))
                    scores.append(entity["score"])
        return _to_columns(rows), np.array(scores, dtype=np.float32)

    def _widen(self, spans: Sequence[Span], tokens: tuple[IntArray, IntArray]) -> tuple[list[Span], list[int]]:
        """Spans widened to the tokens they touch, those left out that would share one; and which were kept."""
        widened: list[Span] = []
        kept: list[int] = []
        for at, (start, end, label) in enumerate(spans):
            first, last = _touched(tokens, start, end)
            if first >= last or (widened and tokens[0][first] < widened[-1][1]):
                self._notes.counts["overlapping_entities"] += 1
                continue
            span = (int(tokens[0][first]), int(tokens[1][last - 1]), label)
            self._notes.counts["widened_entities"] += span != (start, end, label)
            widened.append(span)
            kept.append(at)
        return widened, kept

    def _count_right_tokens(
        self, pairs: Sequence[_Pair], predicted: SpanColumns, texts: "_CharacterTexts"
    ) -> IntArray | None:
        """Tokens (n_documents, 2) that would have the right tag if the spans were tags, and all of them."""
        if all(pair.gold["tags"] is None for pair in pairs):
            return None
        counts = np.zeros((len(pairs), 2), dtype=np.int64)
        begin = np.searchsorted(predicted.document, np.arange(len(pairs) + 1))
        for document, pair in enumerate(pairs):
            if not pair.gold["tags"]:
                continue
            spans: list[Span] = []
            for at in range(begin[document], begin[document + 1]):
                first, last = _touched(texts.tokens[document], predicted.first[at], predicted.last[at])
                if first < last and (not spans or first >= spans[-1][1]):
                    spans.append((first, last, self._labels[predicted.label[at]]))
            codes = np.zeros(len(pair.gold["tags"]), dtype=np.int16)
            for at, tag in enumerate(encode_tags(spans, len(codes), scheme=self._config.tags.scheme)):
                if tag != OUTSIDE:
                    codes[at] = self._vocabulary.code(tag[0], self._labels.index(tag[2:]))
            counts[document] = int((codes == self._encode(pair)).sum()), len(codes)
        return counts


class _CharacterTexts:
    """The texts of a block's documents, whose spans are in code points.

    Attributes:
      tokens: starts and ends of each document's tokens, or of its words between white space.
    """

    def __init__(self, texts: Sequence[str], tokens: Sequence[tuple[IntArray, IntArray]]) -> None:
        self._texts = texts
        self.tokens = tokens

    def text(self, document: int) -> str:
        """See Texts."""
        return self._texts[document]

    def place(self, document: int, first: int, last: int) -> tuple[int, int]:  # noqa: ARG002 - spans are places here
        """See Texts."""
        return first, last

    def surface(self, document: int, first: int, last: int) -> str:
        """See Texts."""
        return self._texts[document][first:last]

    def count_tokens(self, document: int, first: int, last: int) -> int:
        """See Texts."""
        begin, end = _touched(self.tokens[document], first, last)
        return max(0, end - begin)


def _token_bounds(gold: Mapping[str, Any]) -> tuple[IntArray, IntArray]:
    if gold["tags"] is None:
        places = [match.span() for match in re.finditer(r"\S+", gold["text"])]
    else:
        places = [(tag["start"], tag["end"]) for tag in gold["tags"]]
    starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return starts, ends


def _touched(tokens: tuple[IntArray, IntArray], start: int, end: int) -> tuple[int, int]:
    """The tokens [first, last) that share a character with [start, end)."""
    starts, ends = tokens
    return int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left"))


def _sentence_bounds(gold: Mapping[str, Any]) -> IntArray:
    """Where the sentences of a document begin among its tokens, and the number of tokens."""
    return np.array([*(at for at, tag in enumerate(gold["tags"]) if tag["opens"]), len(gold["tags"])], dtype=np.int64)


def _groups(pair: _Pair) -> Iterator[str]:
    yield from pair.gold["groups"] or ()
    yield from (pair.predicted or {}).get("groups") or ()


def _in_gold_text(pair: _Pair, entities: Sequence[Mapping[str, Any]]) -> list[Span]:
    """A row's entities as spans of the gold text, in code points.

    Raises:
      ConfigError: the run read a text that differs in more than white space.
    """
    assert pair.predicted is not None
    text = pair.gold["text"]
    spans = [(entity["start"], entity["end"], entity["label"]) for entity in entities]
    if pair.predicted["digest"] == digest_text(text):
        return to_code_points(text, spans, pair.predicted["unit"])
    own = pair.predicted["text"]
    solid, own_solid = _solid_places(text), _solid_places(own or "")
    if own is None or "".join(text.split()) != "".join(own.split()):
        advice = "" if own is not None else "; --reread-inputs joins texts that differ in white space only"
        raise ConfigError(
            f"expected the text of document {pair.gold['id']!r} as the run read it, found another in "
            f"{pair.gold['source']!r}{advice}"
        )
    moved = []
    for start, end, label in to_code_points(own, spans, pair.predicted["unit"]):
        first, last = np.searchsorted(own_solid, [start, end])
        moved.append((int(solid[first]), int(solid[last - 1]) + 1, label))
    return moved


def _solid_places(text: str) -> IntArray:
    """Positions of the characters that are no white space."""
    return np.array([at for at, char in enumerate(text) if not char.isspace()], dtype=np.int64)


def to_code_points(text: str, spans: Sequence[Span], unit: str) -> list[Span]:
    """Spans of a text, in any unit of offsets, in code points."""
    if unit == "codepoint" or text.isascii():
        return list(spans)
    places = convert_offsets(text, np.arange(len(text) + 1), unit)
    moved = np.searchsorted(places, [span[:2] for span in spans]).tolist()
    return [(start, end, label) for (start, end), (_, _, label) in zip(moved, spans, strict=True)]


def _to_columns(rows: Sequence[tuple[int, int, int, int]]) -> SpanColumns:
    document, first, last, label = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return SpanColumns(document, first, last, label)
