"""The ways of not forgetting, by name. A way is a file with a config and `build(config, past)`, and a row here.

    what a person has          the way
    old sentences              replay        trains on some of them again
    old weights                l2            pulls all of them back alike
    old weights and Fisher     ewc           pulls back what old answers hang on
    the old model              distillation  goes on saying what it says

They add up: each gives a term of the loss, sentences for every pass, or further entities in them. Growth is no row: an
adapter per domain on a base that stays as it is (`--method adapter`) forgets nothing, and has to be chosen for each
text (`--remember centroid`, see transforms.models.routing).

The epoch is chosen by the dev files, as ever: where these are of the new domain alone, what is new decides alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.errors import ConfigError
from schemas.specs import parse_specs
from training.continual import distillation, ewc, l2, replay
from training.continual.fisher import FISHER_NAME, check_fisher
from training.continual.past import Added, Past
from training.examples import LabelledSentence
from training.heads import is_tagger, list_tags
from training.objectives.steps import Term

if TYPE_CHECKING:
    from training.encoders import Encoder

_ANCHORED_METHODS = ("full", "frozen", "bitfit")


class Way(NamedTuple):
    """A way of not forgetting.

    Attributes:
      config: its options, a frozen dataclass.
      build: takes the options and a Past; returns what is added to a training.
      has_anchors: whether it pulls weights back to those of the base.
      has_teacher: whether it keeps to the answers of a tagger.
    """

    config: type[Any]
    build: Callable[[Any, Past], Added]
    has_anchors: bool = False
    has_teacher: bool = False


WAYS = {
    "replay": Way(replay.ReplayConfig, replay.build),
    "l2": Way(l2.L2Config, l2.build, has_anchors=True),
    "ewc": Way(ewc.EwcConfig, ewc.build, has_anchors=True),
    "distillation": Way(distillation.DistillationConfig, distillation.build, has_teacher=True),
}


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the past is found.

    Attributes:
      base: folder of the base.
      encoder: the base.
      teacher: the tagger to keep to.
      method: name of the training method.
      has_old: whether there are labelled sentences of earlier trainings.
    """

    base: Path
    encoder: "Encoder"
    teacher: "Encoder"
    method: str
    has_old: bool


class Continual:
    """The sum of what several ways add to a training.

    Args:
      configs: options by name of way.
      past: what they are built from.
    """

    def __init__(self, configs: Mapping[str, Any], past: Past) -> None:
        self._added = [WAYS[name].build(config, past) for name, config in configs.items()]

    @property
    def terms(self) -> list[Term]:
        """What is added to the loss."""
        return [added.term for added in self._added if added.term]

    def draw(self, epoch: int) -> list[LabelledSentence]:
        """Old sentences of a pass, counted from 0."""
        return [sentence for added in self._added for sentence in added.draw(epoch)]

    def relabel(self, sentences: Sequence[LabelledSentence]) -> list[LabelledSentence]:
        """Training sentences with what else stands in them."""
        found = list(sentences)
        for added in self._added:
            found = added.relabel(found)
        return found


def parse_continual(specs: Sequence[str]) -> dict[str, Any]:
    """Specs to configs by name.

    Raises:
      ConfigError: a spec is wrong.

    >>> parse_continual(["l2:strength=0.5"])
    {'l2': L2Config(strength=0.5)}
    """
    return parse_specs(specs, {name: way.config for name, way in WAYS.items()}, flag="--continual")


def check_continual(configs: Mapping[str, Any], sources: Sources) -> None:
    """Refuses ways that lack what they need, before any weights are loaded.

    Raises:
      ConfigError: there are no old sentences, no Fisher information, or no tagger that goes with the base.
      CheckpointError: the Fisher information is of other weights.
    """
    for name in configs:
        if WAYS[name].has_anchors and sources.method not in _ANCHORED_METHODS:
            raise ConfigError(
                f"expected --method {'|'.join(_ANCHORED_METHODS)} with --continual {name}, which pulls back weights of "
                f"the base, found {sources.method!r}, which trains others"
            )
        if WAYS[name].has_teacher:
            _check_teacher(sources)
    if "replay" in configs and not sources.has_old:
        raise ConfigError(
            "expected old sentences for --continual replay, found none; give --old files, or train the base with "
            "--remember buffer"
        )
    if "ewc" in configs:
        if (sources.base / FISHER_NAME).is_file():
            check_fisher(sources.base)
        elif not sources.has_old:
            raise ConfigError(
                "expected Fisher information for --continual ewc, found none; give --old files, or train the base with "
                "--remember fisher"
            )


def read_labels(encoder: "Encoder", *, flag: str) -> tuple[str, ...]:
    """Labels of a tagger.

    Raises:
      ConfigError: it is none, or its tags are not BIO.
    """
    tags = list_tags(encoder.config)
    if not is_tagger(encoder.config):
        raise ConfigError(f"expected a tagger as {flag}, found {encoder.name!r}, which has no labels yet")
    if strange := [tag for tag in tags if tag != "O" and tag[:2] not in ("B-", "I-")]:
        raise ConfigError(f"expected a tagger with BIO tags as {flag}, found {strange[:3]} in {encoder.name!r}")
    return tuple(sorted({tag[2:] for tag in tags if tag != "O"}))


def _check_teacher(sources: Sources) -> None:
    own, other = (one.tokenizer.backend_tokenizer.to_str() for one in (sources.encoder, sources.teacher))
    if own != other:
        raise ConfigError(
            f"expected a --teacher with the tokenizer of --base {sources.encoder.name!r}, found another in "
            f"{sources.teacher.name!r}"
        )
