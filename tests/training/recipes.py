"""Makes a tiny encoder and labelled files; nothing is downloaded."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

PEOPLE = ("anna", "otto", "mia")
PLACES = ("rome", "oslo", "lima")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VOCABULARY = (*_SPECIAL, *PEOPLE, *PLACES, "went", "to", "saw", "the", "river", "un", "##der", "##way", ".", "-")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer with the presets of a sentence encoder."""
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(_VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def make_encoder(directory: Path) -> Path:
    """A random BERT of two layers."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def make_labelled_file(path: Path, *, n_sentences: int, shift: int = 0) -> Path:
    """Sentences such as `anna went to rome .`, in every pairing of names."""
    lines = []
    for at in range(shift, shift + n_sentences):
        person, place = PEOPLE[at % 3], PLACES[at // 3 % 3]
        verb = ("went", "to") if at % 2 else ("saw", "the")
        lines += [f"{person} B-person", *(f"{word} O" for word in verb), f"{place} B-location", ". O", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
