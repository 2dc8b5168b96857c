"""What a model makes of labelled files, and how well."""

import dataclasses
import itertools
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas.labels import OUTSIDE, TagSet, split_tag
from schemas.scores import LabelScore
from training.crf import find_crf, read_crf
from training.examples import IGNORED, LabelledFile, Window, cut_windows, join_windows
from training.scores import micro_f1, score_tags
from transforms.text.packing import pack_windows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)
_MAX_PIECES = 4096
"""Most pieces in a batch, padding too: a score takes no gradients, so that batches may be larger than in training."""


class Scorer:
    """Scores a model on labelled files.

    Args:
      files: what to score on.
      tag_set: the model's tags.
      tokenizer: the model's tokenizer.
      max_tokens: most pieces in a window.
      counted: labels that the files were labelled with, beside those that a file has; entities of other labels count
        neither as right nor as wrong. Empty where they were labelled with all.
      precision: of the model's products, as in `TrainConfig`.
    """

    def __init__(
        self,
        files: Sequence[LabelledFile],
        tag_set: TagSet,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_tokens: int,
        counted: Sequence[str] = (),
        precision: str = "fp32",
    ) -> None:
        self._files = files
        self._counted = counted
        self._precision = precision
        self.tag_set = tag_set
        self.tokenizer = tokenizer
        self._sentences = [sentence for file in files for sentence in file.sentences]
        self._windows = cut_windows(self._sentences, tag_set, tokenizer, max_tokens=max_tokens)

    def tag_files(self, model: "PreTrainedModel") -> list[list[list[str]]]:
        """Tags that a model gives the sentences of each file."""
        probabilities = predict(model, self._windows, self.tokenizer, self._precision)
        crf = find_crf(model)
        tag_set = dataclasses.replace(self.tag_set, transitions=read_crf(crf)) if crf else self.tag_set
        tags = iter(join_windows(probabilities, self._windows, self._sentences, tag_set))
        tagged = [list(itertools.islice(tags, len(file.sentences))) for file in self._files]
        if not self._counted:
            return tagged
        return [
            keep_labels(own, {*self._counted, *file.entities}) for file, own in zip(self._files, tagged, strict=True)
        ]

    def score_model(self, model: "PreTrainedModel") -> list[tuple[LabelScore, ...]]:
        """Scores of a model by file."""
        tagged = self.tag_files(model)
        return [
            score_tags([sentence.tags for sentence in file.sentences], tags)
            for file, tags in zip(self._files, tagged, strict=True)
        ]

    def measure_f1(self, model: "PreTrainedModel") -> list[float]:
        """A model's entity F1 by file."""
        found = [micro_f1(score) for score in self.score_model(model)]
        parts = (f"{file.name} {100 * score:.2f}" for file, score in zip(self._files, found, strict=True))
        _LOG.info("entity F1: %s", ", ".join(parts))
        return found


def keep_labels(tagged: Sequence[list[str]], labels: Collection[str]) -> list[list[str]]:
    """BIO tags of sentences without the entities of other labels.

    >>> keep_labels([["B-PER", "O", "B-LOC"]], {"LOC"})
    [['O', 'O', 'B-LOC']]
    """
    return [[tag if split_tag(tag)[1] in labels else OUTSIDE for tag in tags] for tags in tagged]


def predict(
    model: "PreTrainedModel",
    windows: Sequence[Window],
    tokenizer: "PreTrainedTokenizerBase",
    precision: str = "fp32",
) -> npt.NDArray[np.float32]:
    """Tag probabilities of the windows' words laid end to end, (n_words, n_tags)."""
    return _softmax(predict_logits(model, windows, tokenizer, precision))


def predict_logits(
    model: "PreTrainedModel",
    windows: Sequence[Window],
    tokenizer: "PreTrainedTokenizerBase",
    precision: str = "fp32",
) -> npt.NDArray[np.float32]:
    """Logits of the windows' words laid end to end, (n_words, n_tags)."""
    import torch

    collate = build_collator(tokenizer)
    features = build_features(windows)
    lengths = np.array([len(window.input_ids) for window in windows], dtype=np.int64)
    nothing = np.empty((0, len(model.config.id2label or {})), dtype=np.float32)
    found = [nothing] * max(1, len(windows))
    model.eval()
    is_half = precision == "bf16"
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=is_half):
        for packed in pack_windows(lengths, _MAX_PIECES, most_tokens=_MAX_PIECES):
            batch = collate([features[at] for at in packed.windows])
            targets = batch.pop("labels").numpy()
            inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
            logits = model(**inputs).logits.float().cpu().numpy()
            for at, own, target in zip(packed.windows, logits, targets, strict=True):
                found[at] = own[target != IGNORED]
    return np.concatenate(found)


def build_features(windows: Sequence[Window]) -> list[dict[str, list[int]]]:
    """Windows to what a model reads."""
    return [
        {
            "input_ids": list(window.input_ids),
            "attention_mask": [1] * len(window.input_ids),
            "labels": list(window.targets),
        }
        for window in windows
    ]


def build_collator(tokenizer: "PreTrainedTokenizerBase") -> Any:
    """What pads features to a batch of tensors."""
    from transformers import DataCollatorForTokenClassification

    return DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares
