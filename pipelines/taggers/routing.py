"""From `--route` to who chooses an adapter for each document, before any weights are loaded."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.errors import ConfigError
from schemas.specs import parse_spec
from transforms.models.routing.rules import Rules, parse_rules

if TYPE_CHECKING:
    from transforms.models.checkpoint import Checkpoint
    from transforms.models.routing.centroids import Centroid, NearestConfig
    from transforms.models.routing.routed_tagger import RouterConfig

BASE = "base"
"""What the base is called where it takes documents itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleOptions:
    """Patterns that are looked for in the text.

    Attributes:
      file: TOML file with `default = "NAME"` and a table [rules] of regular expressions by name, tried in their order.
    """

    file: str = ""

    def __post_init__(self) -> None:
        if not self.file:
            raise ConfigError("expected file=FILE.toml in --route rule, found none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearestOptions:
    """The centroid of training texts that is nearest; each checkpoint was trained with --remember centroid.

    Attributes:
      encoder: what made the centroids, where it is not where it was at training.
      tokens: most pieces of a text that are looked at.
    """

    encoder: str = ""
    tokens: int = 128

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ConfigError(f"expected tokens of --route nearest above 0, found {self.tokens}")


class _Way(NamedTuple):
    """A way to choose: its options, and how the config of a router is made from them, checkpoints and a device."""

    options: type[Any]
    configure: Callable[[Any, Mapping[str, "Checkpoint"], str], "RouterConfig"]


def configure_router(spec: str, checkpoints: Mapping[str, "Checkpoint"], *, device: str) -> "RouterConfig":
    """Who chooses among checkpoints.

    Args:
      spec: the way, as in `rule:file=routes.toml`.
      checkpoints: those to choose among, by name.
      device: where a router with an encoder runs it.

    Raises:
      ConfigError: the spec is wrong, names no such checkpoint, or never chooses one of them.
      CheckpointError: a checkpoint lacks its centroid, or the encoder is another.
    """
    if len(checkpoints) < 2:
        raise ConfigError(f"expected two or more to choose from with --route, found {list(checkpoints)}; add --adapter")
    way, options = parse_spec(spec, {name: one.options for name, one in WAYS.items()}, flag="--route")
    return WAYS[way].configure(options, checkpoints, device)


def _configure_rules(options: RuleOptions, checkpoints: Mapping[str, "Checkpoint"], _device: str) -> Rules:
    try:
        text = Path(options.file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read file {options.file!r} of --route rule: {error}") from error
    rules = parse_rules(text, where=options.file)
    if strange := [name for name in rules.names if name not in checkpoints]:
        hint = "; give it as --model" if BASE in strange else ""
        raise ConfigError(f"expected only names of {list(checkpoints)} in {options.file!r}, found {strange}{hint}")
    if idle := [name for name in checkpoints if name not in rules.names]:
        raise ConfigError(f"expected a rule or the default for each of {list(checkpoints)}, found none for {idle}")
    return rules


def _configure_nearest(
    options: NearestOptions, checkpoints: Mapping[str, "Checkpoint"], device: str
) -> "NearestConfig":
    from transforms.models.checkpoint import digest_weights, fetch_memory
    from transforms.models.embeddings import find_encoder
    from transforms.models.routing.centroids import NearestConfig, gather_centroids, load_centroid

    centroids = {name: load_centroid(fetch_memory(checkpoint.reference)) for name, checkpoint in checkpoints.items()}
    vectors, digest = gather_centroids(centroids)
    encoder = options.encoder or _name_encoder(checkpoints, centroids)
    if (found := digest_weights(find_encoder(encoder))) != digest:
        raise ConfigError(
            f"expected the encoder with weights {digest[:16]} that made the centroids, found {found[:16]} at "
            f"{encoder!r}; give it as --route nearest:encoder=MODEL"
        )
    return NearestConfig(
        names=tuple(centroids),
        centroids=vectors,
        encoder=encoder,
        encoder_digest=digest,
        max_tokens=options.tokens,
        device=device,
    )


def _name_encoder(checkpoints: Mapping[str, "Checkpoint"], centroids: Mapping[str, "Centroid"]) -> str:
    """Where the encoder of centroids should be: where one of them names it, or else at the base of an adapter."""
    named = [centroid.encoder for centroid in centroids.values() if centroid.encoder]
    bases = [str(one.base) for name, one in checkpoints.items() if one.base and not centroids[name].encoder]
    if not named + bases:
        raise ConfigError("expected the encoder of the centroids as --route nearest:encoder=MODEL, found none")
    return (named + bases)[0]


WAYS = {
    "rule": _Way(RuleOptions, _configure_rules),
    "nearest": _Way(NearestOptions, _configure_nearest),
}
