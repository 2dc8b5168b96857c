"""The model that training begins from: a pretrained encoder, or a tagger to train further.

Weights are read from safetensors only, and no code of a model is run. A tagger keeps its head; for tags that it did not
have, rows are added to it. An encoder gets a new one.
"""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import CheckpointError, ConfigError
from schemas.labels import TagSet
from training.config import TrainConfig
from training.crf import add_crf, extend_crf
from training.heads import extend_head, is_tagger, list_tags, match_tags
from transforms.models import checkpoint
from transforms.models.adapters.stored import is_adapter
from transforms.models.checkpoint import CONTENT, CRF_NAME

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "hidden_dropout",
)

# What a tokenizer's config keeps of such presets, and of where it was loaded from.
_PRESETS = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "is_local", "local_files_only")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A model to train further, not yet loaded.

    Attributes:
      source: directory or hub name.
      name: what a card calls it: the hub name, or the last part of a directory.
      config: its transformers config.
      tokenizer: its tokenizer, without truncation or padding of its own.
    """

    source: str
    name: str
    config: Any
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def limit_tokens(self) -> int:
        """Most pieces that it reads at once."""
        return int(self.tokenizer.model_max_length)


def open_encoder(source: str) -> Encoder:
    """Reads config and tokenizer of a directory or hub name.

    Raises:
      CheckpointError: there is no such model, or its tokenizer cannot keep track of words.
    """
    from transformers import AutoConfig, AutoTokenizer

    if is_adapter(Path(source)):
        raise CheckpointError(
            f"expected a whole model as --base, found the adapter {Path(source).name!r}; train it again with --merge"
        )
    checkpoint.refuse_unfinished(Path(source))
    try:
        folder = _copy_settings(source)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if tokenizer.is_fast and "ByteLevel" in repr(tokenizer.backend_tokenizer.pre_tokenizer):
            # Only so do byte-level tokenizers read words that come one by one.
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, add_prefix_space=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"cannot open base model {source!r}: {' '.join(str(error).split())}") from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise CheckpointError(f"expected a base model with a fast tokenizer and a padding token, found {source!r}")
    # Presets of sentence encoders would cut every text at 128 pieces.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    for name in _PRESETS:
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.model_max_length = min(tokenizer.model_max_length, _count_positions(config))
    is_local = Path(source).is_dir()
    return Encoder(source, Path(source).absolute().name if is_local else source, config, tokenizer)


def _copy_settings(source: str) -> str:
    """A folder with config and tokenizer of a directory or hub name.

    The hub is asked once: what transformers does not reach there, it asks for again and again before it says so.
    """
    from huggingface_hub import snapshot_download

    if Path(source).is_dir():
        return source
    return snapshot_download(source, allow_patterns=[name for name in CONTENT if "safetensors" not in name])


def load_model(
    encoder: Encoder, tag_set: TagSet, *, dropout: float, seed: int, head: str = "linear"
) -> "PreTrainedModel":
    """An encoder with a head for the tags, in single precision.

    Args:
      encoder: the model.
      tag_set: the tags.
      dropout: dropout of encoder and head.
      seed: of the first weights of a new head.
      head: linear, or crf for scores of steps between tags too, those of the model where it has such a head.

    Raises:
      CheckpointError: the weights are not safetensors, or not of this kind of model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForTokenClassification, set_seed

    config, old_config = encoder.config, copy.deepcopy(encoder.config)
    old_tags = list_tags(config) if is_tagger(config) else ()
    config.id2label = dict(enumerate(tag_set.tags))
    config.label2id = {tag: at for at, tag in enumerate(tag_set.tags)}
    for name in _DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)
    options = {"config": config, "use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
    folder = find_folder(encoder.source)
    set_seed(seed)
    try:
        if old_tags == tag_set.tags:
            model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(folder, **options)
            return _add_head(model, encoder, old_tags, head)
        if old_tags:
            old = AutoModelForTokenClassification.from_pretrained(folder, **{**options, "config": old_config})
            set_seed(seed)
            model = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
            extend_head(old, model)
            return _add_head(model, encoder, old_tags, head)
        body = AutoModel.from_pretrained(folder, **options)
        set_seed(seed)
        model = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"cannot load base model {encoder.name!r}: {' '.join(str(error).split())}") from error
    if missing := model.base_model.load_state_dict(body.state_dict(), strict=False).missing_keys:
        raise CheckpointError(f"expected weights {missing[:3]} in base model {encoder.name!r}, found none")
    return _add_head(model, encoder, old_tags, head)


def load_tagger(encoder: Encoder) -> "PreTrainedModel":
    """A tagger as it is, with its own tags and what it has learned of their order.

    Raises:
      CheckpointError: the weights are not safetensors, or not of this kind of model.
    """
    tags = list_tags(encoder.config)
    has_crf = (find_folder(encoder.source) / CRF_NAME).exists()
    return load_model(encoder, TagSet(tags, "BIO"), dropout=0.0, seed=0, head="crf" if has_crf else "linear")


def build_skeleton(encoder: Encoder) -> "PreTrainedModel":
    """The model as it will be, but without weights: what a method does to it can be tried before any are loaded."""
    import torch
    from transformers import AutoModelForTokenClassification

    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForTokenClassification.from_config(copy.deepcopy(encoder.config))
    return model


def find_folder(source: str) -> Path:
    """The folder on this machine that a directory or hub name stands for, with its weights.

    Raises:
      CheckpointError: there is none.
    """
    return Path(source) if Path(source).is_dir() else checkpoint.fetch_model(source)


def digest_weights(source: str) -> str:
    """SHA-256 of a model's safetensors; of their digests where there are several.

    Raises:
      CheckpointError: it has none.
    """
    return checkpoint.digest_weights(find_folder(source))


def choose_max_tokens(encoder: Encoder, *, taken: int = 0) -> int:
    """Most pieces in a window where nobody asks for a number: the usual, or what the model can read.

    Args:
      encoder: the model.
      taken: how many places a method needs for itself.
    """
    return min(TrainConfig.max_tokens, encoder.limit_tokens - taken)


def check_max_tokens(encoder: Encoder, max_tokens: int, *, taken: int = 0) -> None:
    """Refuses windows that the model cannot read.

    Args:
      encoder: the model.
      max_tokens: most pieces in a window.
      taken: how many places a method needs for itself.

    Raises:
      ConfigError: naming the limit.
    """
    if max_tokens + taken > encoder.limit_tokens:
        beside = f" beside {taken} virtual tokens" if taken else ""
        raise ConfigError(
            f"expected --max-tokens of at most {encoder.limit_tokens - taken} for {encoder.name!r}{beside}, "
            f"found {max_tokens}"
        )


def _add_head(model: "PreTrainedModel", encoder: Encoder, old_tags: Sequence[str], head: str) -> "PreTrainedModel":
    """Gives a model the scores of steps between its tags where they are asked for, those that the base has in place."""
    if head != "crf":
        return model
    tags = list_tags(model.config)
    crf = add_crf(model, len(tags))
    folder = find_folder(encoder.source)
    if (folder / CRF_NAME).exists():
        extend_crf(crf, folder, match_tags(old_tags, tags))
    return model


def _count_positions(config: Any) -> int:
    """Pieces with a position of their own; relative positions have no limit."""
    n_positions = getattr(config, "max_position_embeddings", None) or 1 << 20
    # RoBERTa and its kin start to count behind the padding index.
    is_shifted = config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
    return int(n_positions) - (config.pad_token_id + 1 if is_shifted else 0)
