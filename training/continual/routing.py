"""Growth: a new adapter per domain on a base that stays as it is, and who says which one a text is for.

    text ──> rule: the first pattern that is found in it ────────> name of an adapter
    text ──> base encoder ──> unit vector ──> nearest centroid ──> name of an adapter

Nothing that was learned changes, so nothing is forgotten (Rusu et al., 2016; for adapters, Pfeiffer et al., 2021); what
can go wrong is the choice. A rule looks at the text or at a column beside it. The router keeps the mean vector of each
domain's training texts, by the base as it is, so that domains can be added one by one and none changes another's.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError, ConfigError

ROUTER_NAME = "router.safetensors"

EmbedTexts = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts to unit vectors (n_texts, width)."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """Patterns in the order they are tried.

    Attributes:
      patterns: adapter and regular expression.
      default: the adapter of what no pattern is found in.
    """

    patterns: tuple[tuple[str, str], ...]
    default: str

    def __post_init__(self) -> None:
        for name, pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"expected a regular expression for {name!r}, found {pattern!r}: {error}") from error

    def route(self, values: Sequence[str]) -> list[str]:
        """Texts, or what a column says of them, to names of adapters.

        >>> Rules((("tweets", "@[a-z]+"),), "news").route(["hi @anna", "Rome, Monday"])
        ['tweets', 'news']
        """
        compiled = [(name, re.compile(pattern)) for name, pattern in self.patterns]
        return [next((name for name, one in compiled if one.search(value)), self.default) for value in values]


@dataclasses.dataclass(frozen=True)
class Router:
    """The nearest centroid.

    Attributes:
      names: adapters.
      centroids: (n_adapters, width) unit vectors.
      base_digest: SHA-256 of the weights that make the vectors, hex.
    """

    names: tuple[str, ...]
    centroids: npt.NDArray[np.float32]
    base_digest: str

    def route(self, vectors: npt.NDArray[np.float32]) -> list[str]:
        """Unit vectors (n_texts, width) of texts to names of adapters; of equally near ones the first."""
        return [self.names[at] for at in np.argmax(vectors @ self.centroids.T, axis=1)]

    def save(self, folder: Path) -> None:
        """Writes centroids into the folder of the adapters."""
        from safetensors.numpy import save_file

        about = {"names": json.dumps(self.names), "base": self.base_digest}
        save_file({"centroids": np.ascontiguousarray(self.centroids)}, folder / ROUTER_NAME, metadata=about)


def fit_router(texts: Mapping[str, Sequence[str]], embed: EmbedTexts, *, base_digest: str) -> Router:
    """Training texts by adapter to a router.

    Raises:
      ConfigError: an adapter has no texts.
    """
    if empty := [name for name, own in texts.items() if not own]:
        raise ConfigError(f"expected texts for each adapter, found none for {empty}")
    means = np.stack([embed(own).mean(axis=0) for own in texts.values()])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    centroids = (means / np.where(norms > 0, norms, 1)).astype(np.float32)
    return Router(tuple(texts), centroids, base_digest)


def load_router(folder: Path, *, base_digest: str) -> Router:
    """The inverse of `Router.save`.

    Args:
      folder: the folder of the adapters.
      base_digest: SHA-256 of the weights that will make the vectors.

    Raises:
      CheckpointError: there is no router, or it was made with other weights.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / ROUTER_NAME
    try:
        with safe_open(path, framework="numpy") as file:
            about, centroids = file.metadata() or {}, file.get_tensor("centroids")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path.name} in {folder.name!r}: {error}") from error
    if about.get("base") != base_digest:
        raise CheckpointError(
            f"expected {path.name} in {folder.name!r} made with base weights {base_digest[:16]}, found "
            f"{about.get('base', '')[:16] or 'none'}; fit it again"
        )
    return Router(tuple(json.loads(about["names"])), centroids, base_digest)
