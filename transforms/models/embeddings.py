"""A text to one vector: the mean of what an encoder makes of its pieces (Reimers and Gurevych, 2019)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError
from transforms.models.checkpoint import fetch_model, read_limit, read_object, refuse_unsafe

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


def find_encoder(reference: str) -> Path:
    """The folder of an encoder that is safe to load.

    Args:
      reference: folder, URL or hub name.

    Raises:
      CheckpointError: there is none, or it is unsafe.
    """
    folder = fetch_model(reference)
    refuse_unsafe(folder, read_object(folder / "config.json"))
    return folder


class SentenceEncoder:
    """An encoder that is read from a checkpoint, for `embed_texts`.

    Args:
      reference: folder, URL or hub name of any encoder in safetensors; those of sentence-transformers do best. A layer
        that they have behind the mean is left out.
      max_tokens: most pieces of a text that it reads, within what it can; 0 for all it can.
      device: where it runs.

    Raises:
      CheckpointError: there is none, or it is unsafe or no encoder.
    """

    def __init__(self, reference: str, *, max_tokens: int = 0, device: str = "cpu") -> None:
        import transformers

        folder = find_encoder(reference)
        limit = read_limit(folder, read_object(folder / "config.json"), taken=0)
        self._max_tokens = min(max_tokens or limit, limit)
        transformers.logging.disable_progress_bar()
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"cannot load encoder {folder.name!r}: {' '.join(str(error).split())}") from error
        self._model = model.to(device)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Texts to unit vectors, (n_texts, width)."""
        return embed_texts(self._model, self._tokenizer, texts, max_tokens=self._max_tokens)
