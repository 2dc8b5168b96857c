"""What each augmentation that draws copies promises beyond what all promise."""

import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from schemas.errors import ConfigError
from tests.training.augmentation.recipes import ANNA, OTTO, RIVER, SENTENCES, build_sentence, make_material, surfaces
from tests.training.recipes import make_tokenizer
from training.augmentation import casing, concatenation, mention_swap, synonyms, token_masking, token_swap
from training.augmentation.casing import CasingConfig
from training.augmentation.concatenation import ConcatenationConfig
from training.augmentation.mention_swap import MentionSwapConfig
from training.augmentation.synonyms import SynonymsConfig, read_synonyms
from training.augmentation.token_masking import TokenMaskingConfig
from training.augmentation.token_swap import TokenSwapConfig
from training.augmentation.typos import TyposConfig, mistype

CORPUS = [ANNA, OTTO, RIVER, build_sentence((["Mia"], "PER"), (["saw"], None), (["New", "York"], "LOC"))]


def _tokenizer(*, is_lower):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=is_lower)
    return tokenizer


@given(sentences=st.lists(SENTENCES, min_size=1, max_size=5))
def test_mention_swap_takes_mentions_of_the_same_label_and_leaves_the_context(sentences):
    known = {surface for sentence in sentences for surface in surfaces(sentence)}
    contexts = {_context(sentence) for sentence in sentences}
    for copy in mention_swap.prepare(MentionSwapConfig(share=2), make_material(sentences)).draw(0):
        assert set(surfaces(copy)) <= known
        assert _context(copy) in contexts


def _context(sentence):
    inside = {at for first, last, _ in sentence.spans for at in range(first, last)}
    return tuple(word for at, word in enumerate(sentence.words) if at not in inside)


def test_mention_swap_always_takes_another_mention():
    material = make_material(CORPUS)
    copies = mention_swap.prepare(MentionSwapConfig(share=1, rate=1), material).draw(0)
    assert len(copies) == 3
    for copy in copies:
        (original,) = (sentence for sentence in CORPUS if _context(sentence) == _context(copy))
        assert not set(surfaces(copy)) & set(surfaces(original))


def test_mention_swap_has_nothing_to_swap_with_where_a_label_has_one_name():
    assert mention_swap.prepare(MentionSwapConfig(share=1, rate=1), make_material([ANNA, ANNA])).draw(0) == []


@given(sentences=st.lists(SENTENCES, min_size=1, max_size=5))
def test_token_swap_takes_words_of_the_same_tag(sentences):
    known = {pair for sentence in sentences for pair in zip(sentence.words, sentence.tags, strict=True)}
    for copy in token_swap.prepare(TokenSwapConfig(share=2, rate=0.8), make_material(sentences)).draw(0):
        assert set(zip(copy.words, copy.tags, strict=True)) <= known
        assert copy.spans in {sentence.spans for sentence in sentences}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lower", ("anna", "went", "to", "rome", ".")),
        ("upper", ("ANNA", "WENT", "TO", "ROME", ".")),
        ("title", ("Anna", "Went", "To", "Rome", ".")),
    ],
)
def test_casing_writes_whole_sentences(kind, expected):
    config = CasingConfig(share=1, kinds=(kind,))
    (copy,) = casing.prepare(config, make_material([ANNA], tokenizer=_tokenizer(is_lower=False))).draw(0)
    assert (copy.words, copy.spans) == (expected, ANNA.spans)


def test_casing_writes_only_mentions_if_asked_to():
    config = CasingConfig(share=1, kinds=("upper",), words="mentions")
    copies = casing.prepare(config, make_material([ANNA, RIVER], tokenizer=_tokenizer(is_lower=False))).draw(0)
    assert [copy.words for copy in copies] == [("ANNA", "went", "to", "ROME", ".")]


@pytest.mark.parametrize("is_lower", [True, False])
def test_casing_says_when_the_model_cannot_see_it(is_lower, caplog):
    with caplog.at_level(logging.WARNING):
        casing.prepare(CasingConfig(), make_material([ANNA], tokenizer=_tokenizer(is_lower=is_lower)))
    assert ("reads all text in lower case" in caplog.text) == is_lower


@given(word=st.text(min_size=1, max_size=12).filter(lambda word: word.split() == [word]), seed=st.integers(0, 50))
def test_a_mistyped_word_keeps_a_letter_and_all_that_are_none(word, seed):
    typed = mistype(word, TyposConfig(rate=0.7), random.Random(seed))
    assert any(map(str.isalpha, typed)) or typed == word
    assert [c for c in typed if not c.isalpha()] == [c for c in word if not c.isalpha()]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("swap", "oRem"), ("double", "RRoommee"), ("drop", "Rome")],
)
def test_slips_of_each_kind_at_every_letter(kind, expected):
    assert mistype("Rome", TyposConfig(rate=1, kinds=(kind,)), random.Random(0)) == expected


def test_a_neighbouring_key_is_beside_above_or_below_and_keeps_its_case():
    config = TyposConfig(rate=1, kinds=("neighbour",))
    assert {mistype("s", config, random.Random(seed)) for seed in range(200)} == set("awedzx")
    assert {mistype("P", config, random.Random(seed)) for seed in range(200)} == set("OL")
    assert mistype("é1", config, random.Random(0)) == "é1"


def test_typos_strike_about_as_many_letters_as_the_rate_says():
    words = ["quick"] * 4000
    config = TyposConfig(rate=0.1, kinds=("double",))
    chance = random.Random(0)
    n_more = sum(len(mistype(word, config, chance)) - 5 for word in words)
    assert n_more == pytest.approx(2000, rel=0.1)


@given(sentence=SENTENCES, mentions=st.booleans())
def test_token_masking_changes_nothing_but_to_the_mask(sentence, mentions):
    material = make_material([sentence])
    for copy in token_masking.prepare(TokenMaskingConfig(share=1, rate=0.6, mentions=mentions), material).draw(0):
        assert copy.spans == sentence.spans
        assert all(new in {old, "[MASK]"} for old, new in zip(sentence.words, copy.words, strict=True))


def test_token_masking_takes_the_unknown_token_where_there_is_no_mask():
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    (copy,) = token_masking.prepare(
        TokenMaskingConfig(share=1, rate=1), make_material([ANNA], tokenizer=tokenizer)
    ).draw(0)
    assert copy.words == ("Anna", "[UNK]", "[UNK]", "Rome", "[UNK]")


@given(sentences=st.lists(SENTENCES, min_size=1, max_size=5), max_words=st.integers(2, 30))
def test_concatenation_joins_whole_sentences_up_to_the_limit(sentences, max_words):
    config = ConcatenationConfig(share=2, max_sentences=4, max_words=max_words)
    for copy in concatenation.prepare(config, make_material(sentences)).draw(0):
        assert len(copy.words) <= max_words
        assert _can_be_cut(list(copy.tags), list(copy.words), sentences, 4)


def _can_be_cut(tags, words, sentences, n_left):
    if not words:
        return True
    return n_left > 0 and any(
        words[: len(one.words)] == list(one.words)
        and tags[: len(one.words)] == one.tags
        and _can_be_cut(tags[len(one.words) :], words[len(one.words) :], sentences, n_left - 1)
        for one in sentences
    )


def _write(tmp_path, text):
    path = tmp_path / "words.tsv"
    path.write_text(text, encoding="utf-8")
    return SynonymsConfig(share=1, rate=1, file=str(path))


def test_synonyms_keep_the_case_of_the_word(tmp_path):
    config = _write(tmp_path, "went\tran off\n")
    sentences = [build_sentence(([word], None)) for word in ("went", "Went", "WENT")]
    copies = synonyms.prepare(config, make_material(sentences)).draw(0)
    assert {copy.words for copy in copies} == {("ran", "off"), ("Ran", "off"), ("RAN", "OFF")}


def test_synonyms_leave_mentions_and_unknown_words(tmp_path):
    config = _write(tmp_path, "anna\tsomeone\nrome\tsomewhere\nto\tinto\n")
    (copy,) = synonyms.prepare(config, make_material([ANNA, RIVER])).draw(0)
    assert copy.words == ("Anna", "went", "into", "Rome", ".")


def test_synonyms_of_a_word_may_stand_on_several_lines(tmp_path):
    config = _write(tmp_path, "went\tran\n\nWent\tflew\tdrove off\n")
    path = tmp_path / "words.tsv"
    assert read_synonyms(path) == {"went": (("ran",), ("flew",), ("drove", "off"))}
    synonyms.check(config, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"went ran\n", "in 'words.tsv' line 1, found 2 words and 0 synonyms"),
        (b"saw\tspotted\nwent\t\n", "in 'words.tsv' line 2, found 1 words and 0 synonyms"),
        (b"\tran\n", "line 1, found 0 words and 1 synonyms"),
        (b"\n \n", "expected synonyms in 'words.tsv', found none"),
        (b"went\tr\xffn\n", "expected UTF-8 in 'words.tsv', found a bad byte at 6"),
    ],
)
def test_a_file_without_synonyms_is_refused(tmp_path, content, message):
    config = _write(tmp_path, "")
    (tmp_path / "words.tsv").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        synonyms.check(config, None)


def test_a_missing_file_of_synonyms_is_named():
    with pytest.raises(ConfigError, match=r"cannot read file of --augment synonyms 'no\.tsv': No such file"):
        synonyms.check(SynonymsConfig(file="no.tsv"), None)
