"""Makes a tiny encoder and labelled files; nothing is downloaded."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from schemas.checkpoints import CARD_NAME, CheckpointCard
from schemas.specs import parse_spec
from training.adapters import write_adapter
from training.checkpoints import weights_digest
from training.encoders import digest_weights, load_model, open_encoder
from training.examples import build_bio_tags
from training.methods.methods import METHODS
from training.states import count_weights

PEOPLE = ("anna", "otto", "mia")
PLACES = ("rome", "oslo", "lima")
TAG_SET = build_bio_tags(["location", "person"])
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


def make_config(kind: str = "bert"):
    """A small encoder of a kind: two layers, 32 positions."""
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "pad_token_id": 0,
        "vocab_size": len(_VOCABULARY),
        # Some count positions from behind the padding index.
        "max_position_embeddings": 33 if kind in ("roberta", "xlm-roberta", "camembert", "mpnet") else 32,
    }
    if kind == "distilbert":
        sizes["hidden_dim"] = sizes.pop("intermediate_size")
    if kind == "modernbert":
        sizes |= {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    if kind == "electra":
        sizes["embedding_size"] = 16
    return AutoConfig.for_model(kind, **sizes)


def make_encoder(directory: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A random encoder of two layers."""
    torch.manual_seed(seed)
    AutoModel.from_config(make_config(kind)).save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def make_model(base: Path, spec: str, *, seed: int = 0):
    """What a method makes of a base, with other values than it began with in all that is trained; its tokenizer."""
    method, config = parse_spec(spec, {name: method.config for name, method in METHODS.items()}, flag="--method")
    encoder = open_encoder(str(base))
    model = METHODS[method].apply(load_model(encoder, TAG_SET, dropout=0.1, seed=seed), config)
    torch.manual_seed(seed + 1)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(0.3 * torch.randn_like(weights))
    return model.eval(), encoder.tokenizer


def make_adapter(base: Path, directory: Path, spec: str, *, seed: int = 0, dtype: str = "float32"):
    """A small checkpoint with its card, as training writes it, and the model that was written."""
    model, tokenizer = make_model(base, spec, seed=seed)
    write_adapter(model, tokenizer, directory, base=str(base), dtype=dtype)
    trained, total = count_weights(model)
    card = CheckpointCard(
        base=base.name,
        base_digest=digest_weights(str(base)),
        method=spec.partition(":")[0],
        labels=TAG_SET.labels,
        tags=TAG_SET.tags,
        label_map={},
        data=(),
        options={},
        steps=0,
        best_step=0,
        trained_parameters=trained,
        parameters=total,
        scores=(),
        weights_digest=weights_digest(directory),
        versions={},
    )
    (directory / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
    return model


def make_labelled_file(path: Path, *, n_sentences: int, shift: int = 0) -> Path:
    """Sentences such as `anna went to rome .`, in every pairing of names."""
    lines = []
    for at in range(shift, shift + n_sentences):
        person, place = PEOPLE[at % 3], PLACES[at // 3 % 3]
        verb = ("went", "to") if at % 2 else ("saw", "the")
        lines += [f"{person} B-person", *(f"{word} O" for word in verb), f"{place} B-location", ". O", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
