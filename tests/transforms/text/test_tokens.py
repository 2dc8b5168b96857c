import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from schemas.errors import CheckpointError, TokenizationError
from tests.conftest import ROOT, write_tokenizer
from transforms.text import tokens
from transforms.text.tokens import ColumnTokenizer, check_coverage, cut_blocks


@pytest.fixture(scope="module")
def tokenizer():
    return ColumnTokenizer((ROOT / "assets/model/tokenizer.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def space_tokenizer():
    """A byte-level tokenizer, which knows words by the spaces before them."""
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    model = Tokenizer(models.BPE(vocabulary, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return ColumnTokenizer(model.to_str())


def _pieces(columns, text, document=0):
    span = slice(columns.bounds[document], columns.bounds[document + 1])
    return [text[start:end] for start, end in zip(columns.start[span], columns.end[span], strict=True)]


def test_tokenize_gives_offsets_into_each_text(tokenizer):
    columns = tokenizer.tokenize(["Anna slept.", "", "Bert"])
    assert columns.bounds.tolist() == [0, 3, 3, 4]
    assert _pieces(columns, "Anna slept.") == ["Anna", "slept", "."]
    assert _pieces(columns, "Bert", 2) == ["Bert"]


def test_tokenize_takes_word_boundaries_from_the_tokenizer(tokenizer):
    text = "unbelievableness, said O'Neill"
    columns = tokenizer.tokenize([text])
    words = [text[start:] for start in columns.start[columns.starts_word]]
    assert [word.split()[0] for word in words] == ["unbelievableness,", ",", "said", "O'Neill", "'Neill", "Neill"]
    assert not columns.starts_word.all()


def test_tokenize_makes_a_word_of_each_token_in_scripts_without_spaces(space_tokenizer):
    text = "東京に住む"
    columns = space_tokenizer.tokenize([text])
    assert columns.starts_word.all()


def test_tokenize_keeps_words_of_spaced_scripts_together(space_tokenizer):
    columns = space_tokenizer.tokenize(["Zoë wrote"])
    assert columns.start[columns.starts_word].tolist() == [0, 3]


def test_tokenize_cuts_nothing_off(tokenizer):
    text = "word " * 5000
    assert len(tokenizer.tokenize([text]).ids) == 5000


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_tokenize_covers_every_letter_of_any_text(tokenizer, text):
    columns = tokenizer.tokenize([text])
    check_coverage(text, columns.start, columns.end)
    assert (columns.start <= columns.end).all()
    assert (columns.end <= len(text)).all()


def test_count_unknown_counts_what_the_vocabulary_lacks_in_each_text(tokenizer):
    columns = tokenizer.tokenize(["Anna", "", "a 𓀀 b 𓀁𓀂", "𓀀"])
    assert tokenizer.count_unknown(columns).tolist() == [0, 0, 2, 1]


def test_count_unknown_finds_the_piece_of_sentencepiece():
    model = Tokenizer(models.Unigram([("<s>", 0.0), ("<unk>", 0.0), ("a", -1.0)], unk_id=1))
    tokenizer = ColumnTokenizer(model.to_str())
    assert tokenizer.count_unknown(tokenizer.tokenize(["ax", "aa"])).tolist() == [1, 0]


def test_count_unknown_says_nothing_where_bytes_leave_nothing_unknown(space_tokenizer):
    assert space_tokenizer.count_unknown(space_tokenizer.tokenize(["𓀀"])) is None


def test_tokenize_reads_a_text_in_blocks_as_it_reads_it_whole(tokenizer, monkeypatch):
    text = " ".join(f"Word{number}, née Müller-{number}\n" for number in range(300))
    whole = tokenizer.tokenize([text, "after"])
    monkeypatch.setattr(tokens, "BLOCK_CHARACTERS", 100)
    blocks = tokenizer.tokenize([text, "after"])
    for column in ("ids", "start", "end", "starts_word", "bounds"):
        np.testing.assert_array_equal(getattr(blocks, column), getattr(whole, column))


def test_tokenize_takes_time_in_proportion_to_the_text(tokenizer):
    def seconds(n_words):
        started = time.perf_counter()
        tokenizer.tokenize(["Anna met Bert in Paris. " * n_words])
        return time.perf_counter() - started

    seconds(1_000)
    # Quadratic time would be a factor of 64; the bound leaves room for a noisy machine.
    assert seconds(40_000) < 32 * max(seconds(5_000), 0.01)


@given(st.text(alphabet="ab \n", max_size=300))
def test_cut_blocks_gives_back_the_text(text):
    original = tokens.BLOCK_CHARACTERS
    tokens.BLOCK_CHARACTERS = 16
    try:
        blocks = list(cut_blocks(text))
    finally:
        tokens.BLOCK_CHARACTERS = original
    assert "".join(block for _, block in blocks) == text
    assert all(text[start : start + len(block)] == block and len(block) <= 16 for start, block in blocks)


def test_check_coverage_names_the_letter_that_was_passed_over():
    with pytest.raises(TokenizationError, match=r"U\+0062 at 1") as caught:
        check_coverage("abc", np.array([0, 2]), np.array([1, 3]))
    assert caught.value.code == "uncovered"


def test_check_coverage_needs_no_token_for_spaces_controls_and_marks():
    check_coverage("a \u0000\u200d\u0301\ufe0f\ufffdb", np.array([0, 7]), np.array([1, 8]))


def test_special_tokens_are_found_around_the_text(tokenizer):
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == ([101], [102])


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path):
    write_tokenizer(tmp_path, [])
    settings_ = json.loads((tmp_path / "tokenizer.json").read_text())
    settings_["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    assert len(ColumnTokenizer(json.dumps(settings_)).tokenize(["a b c d e f g h"]).ids) == 8


def test_a_file_that_is_no_tokenizer_is_refused():
    with pytest.raises(CheckpointError, match="tokenizer"):
        ColumnTokenizer("{}")
