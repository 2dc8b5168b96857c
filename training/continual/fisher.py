"""Fisher information: how much what a model says hangs on each of its weights.

The diagonal, and the empirical kind: the mean over windows of the squared gradient of the logarithm of the probability
of the window's gold tags. The true kind takes tags drawn from the model in place of gold ones; near its own training
data, where a model is mostly right, the two are alike (Kunstner et al., 2019, on where they are not). Each window has
a gradient of its own: the square of a batch's mean gradient is something else. No dropout.

Several trainings are summed online (Schwarz et al., 2018): decay * what was known + what is new.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.checkpoints import MEMORY_FOLDER
from schemas.errors import CheckpointError
from schemas.labels import TagSet
from training.continual.past import Past
from training.crf import build_task, find_crf, is_crf
from training.encoders import digest_weights, load_tagger, open_encoder
from training.examples import Window, cut_windows
from training.heads import copy_rows, find_output, match_tags
from training.objectives.cross_entropy import CrossEntropyConfig
from training.objectives.cross_entropy import build as build_cross_entropy
from training.objectives.steps import Setting
from training.scorer import build_collator, build_features

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

FISHER_NAME = f"{MEMORY_FOLDER}/fisher.safetensors"

Fisher = dict[str, "Tensor"]
"""Information by name of a weight, in its shape."""


def measure_fisher(
    model: Any, windows: Sequence[Window], tag_set: TagSet, tokenizer: "PreTrainedTokenizerBase"
) -> Fisher:
    """The information of every weight but those of a conditional random field.

    Args:
      model: a tagger.
      windows: what to measure on, with gold tags.
      tag_set: its tags.
      tokenizer: its tokenizer.
    """
    import torch

    crf = find_crf(model)
    task = build_task(crf, tag_set) if crf else build_cross_entropy(CrossEntropyConfig(), Setting(()))
    names, weights = zip(*((name, one) for name, one in model.named_parameters() if not is_crf(name)), strict=True)
    was_trained = [one.requires_grad for one in weights]
    totals = [torch.zeros_like(one) for one in weights]
    collate, was_training = build_collator(tokenizer), model.training
    model.eval()
    # A window has few words: the gradient of the others is nothing to go through.
    embeddings = model.get_input_embeddings()
    was_sparse, embeddings.sparse = embeddings.sparse, True
    for one in weights:
        one.requires_grad_(True)  # noqa: FBT003
    for feature in build_features(windows):
        batch = {name: tensor.to(model.device) for name, tensor in collate([feature]).items()}
        targets = batch.pop("labels")
        loss = task(model(**batch).logits, targets)
        for total, gradient in zip(totals, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
            if gradient is not None:
                _add_square(total, gradient, 1 / len(windows))
    embeddings.sparse = was_sparse
    for one, before in zip(weights, was_trained, strict=True):
        one.requires_grad_(before)
    model.train(was_training)
    return dict(zip(names, totals, strict=True))


def _add_square(total: "Tensor", gradient: "Tensor", share: float) -> None:
    if not gradient.is_sparse:
        total.addcmul_(gradient, gradient, value=share)
        return
    whole = gradient.coalesce()
    total.index_add_(0, whole.indices()[0], whole.values() ** 2, alpha=share)


def draw_windows(windows: Sequence[Window], samples: int, seed: int) -> list[Window]:
    """At most so many windows."""
    return random.Random(f"{seed} fisher").sample(list(windows), min(samples, len(windows)))


def measure_base(past: Past, samples: int) -> Fisher:
    """The information of the base, as it was with its own tags, on old sentences."""
    model = load_tagger(open_encoder(str(past.base))).to(past.model.device)
    tag_set = TagSet(past.known, past.tag_set.scheme)
    known = [sentence for sentence in past.old if {label for *_, label in sentence.spans} <= set(tag_set.labels)]
    windows = cut_windows(known, tag_set, past.tokenizer, max_tokens=past.max_tokens)
    return measure_fisher(model, draw_windows(windows, samples, past.seed), tag_set, past.tokenizer)


def spread_fisher(fisher: Mapping[str, "Tensor"], known: Sequence[str], past: Past) -> Fisher:
    """Information of the base to that of the model with further tags, of which nothing is known: 0."""
    rows = match_tags(known, past.tag_set.tags)
    name, output = find_output(past.model)
    spread = dict(fisher)
    for part, weights in output.named_parameters():
        spread[f"{name}.{part}"] = weights.new_zeros(weights.shape).detach()
        copy_rows(fisher[f"{name}.{part}"], spread[f"{name}.{part}"], rows)
    return spread


def add_fisher(before: Mapping[str, "Tensor"], now: Mapping[str, "Tensor"], decay: float) -> Fisher:
    """Online sum: what was known, decayed, and what is new."""
    return {name: decay * before[name].to(one.device) + one for name, one in now.items()}


def save_fisher(fisher: Mapping[str, "Tensor"], tags: Sequence[str], folder: Path) -> None:
    """Writes information into the folder of a checkpoint, with the digest of the weights that it is of."""
    from safetensors.torch import save_file

    path = folder / FISHER_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format": "pt", "weights": digest_weights(str(folder)), "tags": json.dumps(list(tags))}
    save_file({name: one.cpu().contiguous() for name, one in fisher.items()}, path, metadata=about)


def check_fisher(folder: Path) -> None:
    """Refuses information of other weights than those beside it.

    Raises:
      CheckpointError: it is of others, or no such file.
    """
    _read_tags(folder)


def find_fisher(folder: Path) -> tuple[tuple[str, ...], Fisher] | None:
    """Tags and information in the folder of a checkpoint, or None where it has none.

    Raises:
      CheckpointError: it is of other weights.
    """
    from safetensors.torch import load_file

    if not (folder / FISHER_NAME).is_file():
        return None
    return _read_tags(folder), load_file(folder / FISHER_NAME)


def _read_tags(folder: Path) -> tuple[str, ...]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FISHER_NAME, framework="numpy") as file:
            about = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {FISHER_NAME} of model {folder.name!r}: {error}") from error
    if (found := about.get("weights", "")) != (expected := digest_weights(str(folder))):
        raise CheckpointError(
            f"expected {FISHER_NAME} of weights {expected[:16]} in model {folder.name!r}, found that of "
            f"{found[:16] or 'no weights'}; remove it and give --old files"
        )
    return tuple(json.loads(about["tags"]))
