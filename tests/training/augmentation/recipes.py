"""Makes sentences of any shape, and what augmentations work on."""

from pathlib import Path

from hypothesis import strategies as st

from tests.training.recipes import make_tokenizer
from training.augmentation.copies import Material
from training.examples import LabelledSentence
from transforms.text.tokens import ColumnTokenizer

LABELS = ("LOC", "PER")
_KNOWN = ("went", "Went", "WENT", "Anna", "rome", "saw")
_CHARACTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "M"])
_WORDS = st.sampled_from(_KNOWN) | st.text(_CHARACTERS, min_size=1, max_size=6).filter(
    lambda word: word.split() == [word]
)
_SEGMENTS = st.tuples(st.lists(_WORDS, min_size=1, max_size=3), st.sampled_from((None, *LABELS)))


def build_sentence(*segments: tuple[list[str], str | None]) -> LabelledSentence:
    """Words, some of them mentions, to a sentence."""
    words: list[str] = []
    spans = []
    for own, label in segments:
        if label:
            spans.append((len(words), len(words) + len(own), label))
        words += own
    return LabelledSentence(tuple(words), tuple(spans))


SENTENCES = st.lists(_SEGMENTS, min_size=1, max_size=5).map(lambda segments: build_sentence(*segments))
"""Sentences of one to fifteen words in any script, with mentions that touch or do not."""

ANNA = build_sentence((["Anna"], "PER"), (["went", "to"], None), (["Rome"], "LOC"), (["."], None))
OTTO = build_sentence((["Otto", "Braun"], "PER"), (["saw", "the", "river", "."], None))
RIVER = build_sentence((["The", "river", "went", "."], None))


def make_material(sentences, *, seed=0, work=Path("unused"), tokenizer=None) -> Material:
    """What augmentations work on, with the tiny tokenizer."""
    tokenizer = tokenizer or make_tokenizer()
    return Material(tuple(sentences), tokenizer, ColumnTokenizer(tokenizer.backend_tokenizer.to_str()), seed, work)


def surfaces(sentence: LabelledSentence) -> list[tuple[tuple[str, ...], str]]:
    """The words and label of each mention."""
    return [(sentence.words[first:last], label) for first, last, label in sentence.spans]


def make_seq2seq(folder: Path, *, seed: int = 0) -> Path:
    """A tiny BART with random weights, which writes nonsense and always comes to an end."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        init_std=1.0,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=2,
        forced_eos_token_id=3,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
