"""From texts to tokens with offsets and word boundaries, a whole column at once, nothing truncated.

    "Anna slept." ──> ids 4698 7771 1012   start 0 5 10   end 4 10 11   starts_word 1 1 1

Words are the tokenizer's own. A tokenizer that only splits at spaces (SentencePiece, byte-level BPE) would make one
word of a whole Chinese, Japanese or Thai sentence; for those, a token that begins in a script written without spaces
begins a word.
"""

import dataclasses
import os
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from schemas.errors import CheckpointError, TokenizationError

BLOCK_CHARACTERS = 1 << 18
_BATCH_CHARACTERS = 1 << 20

# Scripts written without spaces between words: Thai, Lao, Myanmar, Khmer; CJK symbols, kana, ideographs and their
# compatibility forms, half-width kana, and the supplementary ideographic planes.
UNSPACED = np.array(
    [
        (0x0E00, 0x0F00),
        (0x1000, 0x10A0),
        (0x1780, 0x1800),
        (0x2E80, 0x3130),
        (0x31C0, 0xA4D0),
        (0xF900, 0xFB00),
        (0xFF66, 0xFFA0),
        (0x1B000, 0x1B170),
        (0x20000, 0x3FFFF),
    ],
    dtype=np.uint32,
)


@dataclasses.dataclass(frozen=True)
class TokenColumns:
    """Tokens of several texts, end to end.

    Attributes:
      ids: (n_tokens,) vocabulary ids.
      start: (n_tokens,) first code point within the token's own text.
      end: (n_tokens,) one past the last.
      starts_word: (n_tokens,) whether a word begins here.
      bounds: (n_texts + 1,) where each text's tokens begin; the last entry is n_tokens.
    """

    ids: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    starts_word: npt.NDArray[np.bool_]
    bounds: npt.NDArray[np.int64]


class ColumnTokenizer:
    """Tokenizes columns of texts with one fast tokenizer; not to be shared between threads.

    Args:
      serialized: the tokenizer as JSON (`tokenizer.json`).

    Raises:
      CheckpointError: the JSON is no tokenizer.
    """

    def __init__(self, serialized: str) -> None:
        # Forked workers and threads of our own are no reason to tokenize on one core.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        try:
            self._tokenizer = Tokenizer.from_str(serialized)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"expected a fast tokenizer in tokenizer.json, found {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._is_split_at_spaces = not getattr(self._tokenizer.model, "continuing_subword_prefix", None)
        self.prefix_ids, self.suffix_ids = self._special_ids()
        self.pad_id = self._pad_id()
        self._unknown_id = self._find_unknown()

    def tokenize(self, texts: Sequence[str]) -> TokenColumns:
        """Texts in, tokens out; a text of any length takes time and memory in proportion to it."""
        blocks = [(document, base, block) for document, text in enumerate(texts) for base, block in cut_blocks(text)]
        ids, start, end, starts_word, owner = [], [], [], [], []
        for batch in _batches(blocks):
            encodings = self._tokenizer.encode_batch([block for _, _, block in batch], add_special_tokens=False)
            for (document, base, block), encoding in zip(batch, encodings, strict=True):
                offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
                words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
                ids.append(np.array(encoding.ids, dtype=np.int32))
                start.append(offsets[:, 0] + np.int32(base))
                end.append(offsets[:, 1] + np.int32(base))
                starts_word.append(self._mark_words(words, offsets, block))
                owner.append((document, len(words)))
        counts = np.zeros(len(texts), dtype=np.int64)
        for document, n_tokens in owner:
            counts[document] += n_tokens
        return TokenColumns(
            ids=_join(ids, np.int32),
            start=_join(start, np.int32),
            end=_join(end, np.int32),
            starts_word=_join(starts_word, np.bool_),
            bounds=np.concatenate([[0], np.cumsum(counts)]),
        )

    def count_unknown(self, columns: TokenColumns) -> npt.NDArray[np.int64] | None:
        """How many tokens of each text stand for what the vocabulary lacks, (n_texts,); None if no token does."""
        if self._unknown_id is None:
            return None
        sums = np.concatenate([[0], np.cumsum(columns.ids == self._unknown_id)])
        counts: npt.NDArray[np.int64] = np.diff(sums[columns.bounds])
        return counts

    def _mark_words(
        self, words: npt.NDArray[np.int64], offsets: npt.NDArray[np.int32], block: str
    ) -> npt.NDArray[np.bool_]:
        starts = np.ones(len(words), dtype=bool)
        starts[1:] = (words[1:] != words[:-1]) | (words[1:] < 0)
        if self._is_split_at_spaces and len(words) and not block.isascii():
            points = code_points(block)[np.minimum(offsets[:, 0], len(block) - 1)]
            starts |= is_unspaced(points)
        return starts

    def _special_ids(self) -> tuple[list[int], list[int]]:
        encoding = self._tokenizer.encode("a")
        special = encoding.special_tokens_mask
        inside = [at for at, is_special in enumerate(special) if not is_special]
        if not inside:
            raise CheckpointError("expected a tokenizer that reads the letter 'a', found no token for it")
        return encoding.ids[: inside[0]], encoding.ids[inside[-1] + 1 :]

    def _pad_id(self) -> int:
        for token in ("[PAD]", "<pad>", "<|endoftext|>", "</s>"):
            if (id_ := self._tokenizer.token_to_id(token)) is not None:
                return int(id_)
        return 0

    def _find_unknown(self) -> int | None:
        model = self._tokenizer.model
        # A model of SentencePiece does not tell which piece it is; byte-level ones have none, and say so.
        names = [model.unk_token] if hasattr(model, "unk_token") else ["<unk>", "[UNK]"]
        return next(
            (int(id_) for name in names if name and (id_ := self._tokenizer.token_to_id(name)) is not None), None
        )


def cut_blocks(text: str) -> Iterator[tuple[int, str]]:
    """A text as (start, block) pieces that tokenize as the whole does, BLOCK_CHARACTERS at most.

    A block ends before a line end, else before a space, which every tokenizer reads the same at the start of a text;
    text without either is cut where it must be.
    """
    start = 0
    while len(text) - start > BLOCK_CHARACTERS:
        limit = start + BLOCK_CHARACTERS
        # The later half of the block is searched for a line end first, since a line end is the surer cut.
        cut = text.rfind("\n", limit - BLOCK_CHARACTERS // 2, limit)
        cut = cut if cut > start else text.rfind(" ", start + 1, limit)
        cut = cut if cut > start else limit
        yield start, text[start:cut]
        start = cut
    if start < len(text):
        yield start, text[start:]


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """The text's code points, (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def is_unspaced(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which code points belong to scripts written without spaces between words, (n,)."""
    is_within = (points[:, None] >= UNSPACED[:, 0]) & (points[:, None] < UNSPACED[:, 1])
    is_any: npt.NDArray[np.bool_] = np.any(is_within, axis=1)
    return is_any


def check_coverage(text: str, start: npt.NDArray[np.int32], end: npt.NDArray[np.int32]) -> None:
    """Proves that the tokens of a text cover every letter and digit of it.

    Spaces, controls and combining marks, which normalizers drop, need no token of their own.

    Args:
      text: the text.
      start: (n,) first code point of each token.
      end: (n,) one past the last.

    Raises:
      TokenizationError: the tokenizer passed over a letter or digit.
    """
    n = len(text)
    depth = np.cumsum(np.bincount(start, minlength=n + 1) - np.bincount(end, minlength=n + 1))[:n]
    unread = np.flatnonzero(depth == 0)
    for position in unread[code_points(text)[unread] > ord(" ")] if len(unread) else ():
        character = text[position]
        if unicodedata.category(character)[0] in "LN":
            raise TokenizationError(
                "uncovered", f"expected a token for every letter, found none for U+{ord(character):04X} at {position}"
            )


def _batches(blocks: Sequence[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    batch: list[tuple[int, int, str]] = []
    size = 0
    for block in blocks:
        batch.append(block)
        size += len(block[2])
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _join(arrays: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)
