"""Which tagger a text is for, by what the text is like: the one whose training texts were nearest in the mean.

    training texts ──> encoder ──> unit vectors ──> their mean direction, kept with the checkpoint
    a text         ──> encoder ──> unit vector  ──> nearest of these

Domains are added one by one, and none changes another's centroid. The encoder should be one that no training of labels
has touched: what a tagger has learned to see tells kinds of names apart, and no longer kinds of text.
"""

import dataclasses
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.checkpoints import MEMORY_FOLDER
from schemas.errors import CheckpointError, ConfigError
from transforms.models.checkpoint import digest_weights
from transforms.models.embeddings import SentenceEncoder, find_encoder

CENTROID_NAME = f"{MEMORY_FOLDER}/centroid.safetensors"
READ_TOKENS = 128
"""Most pieces of a text that its vector is made of."""
_CHARACTERS_PER_TOKEN = 32

Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Centroid:
    """What the training texts of a checkpoint are like.

    Attributes:
      vector: (width,) a unit vector.
      encoder_digest: SHA-256 of the weights that made it, hex.
      encoder: what the encoder was asked for by; empty for the base of the checkpoint.
    """

    vector: Vectors
    encoder_digest: str
    encoder: str = ""


def mean_direction(vectors: Vectors) -> Vectors:
    """Unit vectors (n, width), one at least, to the unit vector (width,) of their mean; zeros where that is none."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    direction: Vectors = (mean / (np.linalg.norm(mean) or 1.0)).astype(np.float32)
    return direction


def choose_nearest(vectors: Vectors, centroids: Vectors) -> list[int]:
    """Unit vectors (n, width) to the places of the nearest of (n_centroids, width); of equally near ones the first.

    >>> choose_nearest(np.eye(2, dtype=np.float32)[::-1], np.eye(2, dtype=np.float32))
    [1, 0]
    """
    nearest: list[int] = np.argmax(vectors @ centroids.T, axis=1).tolist()
    return nearest


def save_centroid(centroid: Centroid, folder: Path) -> None:
    """Writes a centroid into the folder of a checkpoint."""
    from safetensors.numpy import save_file

    path = folder / CENTROID_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"encoder": centroid.encoder, "encoder_digest": centroid.encoder_digest}
    save_file({"centroid": np.ascontiguousarray(centroid.vector)}, path, metadata=about)


def load_centroid(folder: Path) -> Centroid:
    """The inverse of `save_centroid`.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / CENTROID_NAME
    if not path.is_file():
        raise CheckpointError(
            f"expected {CENTROID_NAME} in model {folder.name!r}, found none; train it with --remember centroid"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about, vector = file.metadata() or {}, file.get_tensor("centroid")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {CENTROID_NAME} of model {folder.name!r}: {error}") from error
    if "encoder_digest" not in about or vector.ndim != 1 or not np.isfinite(vector).all():
        raise CheckpointError(f"expected a centroid in {CENTROID_NAME} of model {folder.name!r}, found something else")
    return Centroid(vector.astype(np.float32), about["encoder_digest"], about.get("encoder", ""))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class NearestConfig:
    """The nearest centroid; see `RouterConfig`.

    Attributes:
      names: taggers.
      centroids: (n_taggers, width) unit vectors.
      encoder: reference of the encoder.
      encoder_digest: SHA-256 of its weights, hex.
      max_tokens: most pieces of a text that are looked at.
      device: where the encoder runs.
    """

    names: tuple[str, ...]
    centroids: Vectors
    encoder: str
    encoder_digest: str
    max_tokens: int = READ_TOKENS
    device: str = "cpu"

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes a choice, by name."""
        return {
            "router": "nearest",
            "encoder": self.encoder_digest,
            "max_tokens": self.max_tokens,
            "centroids": {
                name: hashlib.sha256(vector.tobytes()).hexdigest()
                for name, vector in zip(self.names, self.centroids, strict=True)
            },
        }

    def load(self) -> "NearestRouter":
        """Loads the encoder.

        Raises:
          CheckpointError: it is not the one that the run was planned with.
        """
        if (found := digest_weights(find_encoder(self.encoder))) != self.encoder_digest:
            raise CheckpointError(
                f"expected the encoder of the centroids with weights {self.encoder_digest[:16]}, found {found[:16]}; "
                "it changed since the run was planned"
            )
        return NearestRouter(self, SentenceEncoder(self.encoder, max_tokens=self.max_tokens, device=self.device))


class NearestRouter:
    """Chooses for texts by their vectors; threads share it.

    Args:
      config: the centroids.
      encoder: makes the vectors.
    """

    def __init__(self, config: NearestConfig, encoder: SentenceEncoder) -> None:
        self._config, self._encoder = config, encoder
        # The tokenizer is told anew for every call how to cut and pad.
        self._lock = threading.Lock()

    def route(self, texts: Sequence[str]) -> list[str]:
        """Texts to names of taggers."""
        if not texts:
            return []
        # Not all of a book has to become pieces for the first of them.
        heads = [text[: self._config.max_tokens * _CHARACTERS_PER_TOKEN] for text in texts]
        with self._lock:
            vectors = self._encoder.encode(heads)
        return [self._config.names[at] for at in choose_nearest(vectors, self._config.centroids)]


def gather_centroids(centroids: dict[str, Centroid]) -> tuple[Vectors, str]:
    """Centroids by name to (n, width) and the digest of the encoder that made all of them.

    Raises:
      ConfigError: several encoders did.
    """
    digests = {name: centroid.encoder_digest for name, centroid in centroids.items()}
    if len(set(digests.values())) > 1:
        found = ", ".join(f"{name} {digest[:16]}" for name, digest in digests.items())
        raise ConfigError(
            f"expected centroids by one encoder, found those of {found}; train with --remember centroid:encoder=MODEL "
            "and the same encoder for all"
        )
    return np.stack([centroid.vector for centroid in centroids.values()]), next(iter(digests.values()))
