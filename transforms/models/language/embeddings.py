"""Texts to sentence embeddings: the mean of an encoder's last hidden states (Reimers and Gurevych, 2019)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError
from transforms.models.checkpoint import fetch_model, read_object, refuse_unsafe

_BATCH = 32


class SentenceEncoder:
    """An encoder with the mean of its hidden states as the embedding.

    Args:
      reference: folder, URL or hub name of any encoder in safetensors; those of sentence-transformers do best. A layer
        that they have behind the mean is left out.

    Raises:
      CheckpointError: there is none, or it is unsafe or no encoder.
    """

    def __init__(self, reference: str) -> None:
        import transformers

        folder = fetch_model(reference)
        refuse_unsafe(folder, read_object(folder / "config.json"))
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            self._model = transformers.AutoModel.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"cannot load encoder {folder.name!r}: {' '.join(str(error).split())}") from error

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Texts to embeddings, (n_texts, size); what of a text is longer than the encoder reads counts no more."""
        import torch

        rows = []
        for start in range(0, len(texts), _BATCH):
            batch = self._tokenizer(
                list(texts[start : start + _BATCH]), padding=True, truncation=True, return_tensors="pt"
            )
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1)
            rows.append(((states * mask).sum(1) / mask.sum(1)).numpy())
        found: npt.NDArray[np.float32] = np.concatenate(rows)
        return found
