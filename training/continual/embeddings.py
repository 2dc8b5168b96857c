"""A text to one vector: the mean of what an encoder makes of its pieces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 32


def embed_texts(
    model: Any, tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, max_tokens: int
) -> npt.NDArray[np.float32]:
    """Unit vectors (n_texts, width): means of the encoder's last layer over a text's first `max_tokens` pieces.

    What lies beyond these pieces has no part in the vector; it serves to tell texts apart, not to annotate them.
    """
    import torch

    body, device = model.base_model, next(model.parameters()).device
    by_length = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            places = by_length[start : start + _BATCH]
            batch = tokenizer(
                [texts[at] for at in places],
                truncation=True,
                max_length=max_tokens,
                padding=True,
                return_tensors="pt",
            ).to(device)
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            hidden, mask = body(**inputs).last_hidden_state.float(), inputs["attention_mask"][..., None]
            means = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            found[places] = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
    model.train(was_training)
    return found
