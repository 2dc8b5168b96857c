"""What a checkpoint keeps for the next training, in a folder of its own beside the weights.

    checkpoint/memory/fisher.safetensors     which weights matter, of all trainings so far (`--remember fisher`)
    checkpoint/memory/replay.conll           labelled sentences of all trainings so far (`--remember buffer`)
    checkpoint/memory/centroid.safetensors   what the training texts are like (`--remember centroid`)

A thing to keep is a config and a function here. A buffer is text: whoever gets the checkpoint gets the sentences.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.checkpoints import MEMORY_FOLDER
from schemas.errors import ConfigError
from schemas.specs import parse_specs, render_spec
from training.continual.exemplars import check_choice, choose_exemplars
from training.continual.fisher import (
    add_fisher,
    draw_windows,
    find_fisher,
    measure_fisher,
    save_fisher,
    spread_fisher,
)
from training.continual.past import Past
from training.examples import LabelledSentence, cut_windows, shorten_path
from transforms.models.checkpoint import digest_weights
from transforms.models.embeddings import SentenceEncoder, find_encoder
from transforms.models.routing.centroids import READ_TOKENS, Centroid, mean_direction, save_centroid

BUFFER_NAME = f"{MEMORY_FOLDER}/replay.conll"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FisherConfig:
    """How Fisher information is measured and added to that of the base.

    Attributes:
      samples: most windows of the training files that it is measured on.
      decay: how much of what the base knew is kept; 1 adds up.
    """

    samples: int = 500
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"expected samples of --remember fisher above 0, found {self.samples}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"expected decay of --remember fisher between 0 and 1, found {self.decay}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BufferConfig:
    """Which sentences are kept, of the training files and of the old ones.

    Attributes:
      size: most of them.
      choice: how they are chosen: random, balanced over labels, or herding.
    """

    size: int = 500
    choice: str = "random"

    def __post_init__(self) -> None:
        check_choice(self.choice, self.size, flag="--remember buffer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentroidConfig:
    """What makes the vectors of training texts.

    Attributes:
      encoder: folder, URL or hub name of an encoder; the base as it was before training where empty. Where that is a
        tagger, the encoder that it once was tells domains apart better.
    """

    encoder: str = ""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A training that is over.

    Attributes:
      past: what it began with; its model is the one that was trained, its sentences are in the tokenizer's own words.
      sentences: the sentences of training files and old files, as these have them.
      folder: where the checkpoint is written.
    """

    past: Past
    sentences: Sequence[LabelledSentence]
    folder: Path


def write_fisher(config: FisherConfig, trained: Trained) -> None:
    """Measures Fisher information of a checkpoint, adds that of its base, and writes it beside the weights."""
    past = trained.past
    windows = cut_windows(past.sentences, past.tag_set, past.tokenizer, max_tokens=past.max_tokens)
    drawn = draw_windows(windows, config.samples, past.seed)
    fisher = measure_fisher(past.model, drawn, past.tag_set, past.tokenizer)
    if before := find_fisher(past.base):
        known, old = before
        fisher = add_fisher(spread_fisher(old, known, past), fisher, config.decay)
    save_fisher(fisher, past.tag_set.tags, trained.folder)


def write_buffer(config: BufferConfig, trained: Trained) -> None:
    """Chooses sentences and writes them as CoNLL columns beside the weights."""
    sentences, past = trained.sentences, trained.past
    places = choose_exemplars(sentences, config.size, config.choice, seed=past.seed, embed=past.embed)
    blocks = ["".join(f"{word}\t{tag}\n" for word, tag in _pair(sentences[at])) for at in places]
    path = trained.folder / BUFFER_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(blocks), encoding="utf-8")


def write_centroid(config: CentroidConfig, trained: Trained) -> None:
    """Embeds the training sentences, not the old ones, and writes their mean direction beside the weights."""
    reference = config.encoder or str(trained.past.base)
    texts = [" ".join(sentence.words) for sentence in trained.past.sentences]
    vectors = SentenceEncoder(reference, max_tokens=READ_TOKENS).encode(texts)
    digest = digest_encoder(config, trained.past.base)
    save_centroid(Centroid(mean_direction(vectors), digest, config.encoder), trained.folder)


def digest_encoder(config: CentroidConfig, base: Path) -> str:
    """SHA-256 of the weights that make a centroid, hex.

    Args:
      config: names the encoder.
      base: folder of the base, which stands for it where it is not named.

    Raises:
      CheckpointError: there is no such encoder, or it is unsafe.
    """
    return digest_weights(find_encoder(config.encoder or str(base)))


def render_remember(configs: Mapping[str, Any]) -> list[str]:
    """The specs of what is kept, without what only this machine knows."""
    shown = dict(configs)
    if centroid := shown.get("centroid"):
        shown["centroid"] = dataclasses.replace(centroid, encoder=shorten_path(centroid.encoder))
    return [render_spec(name, config) for name, config in shown.items()]


class Kept(NamedTuple):
    """A thing to keep.

    Attributes:
      config: its options, a frozen dataclass.
      write: takes the options and a training that is over.
      needs_whole: whether it is of no use beside an adapter.
    """

    config: type[Any]
    write: Callable[[Any, Trained], None]
    needs_whole: bool = False


KEPT = {
    "fisher": Kept(FisherConfig, write_fisher, needs_whole=True),
    "buffer": Kept(BufferConfig, write_buffer),
    "centroid": Kept(CentroidConfig, write_centroid),
}


def parse_remember(specs: Sequence[str], *, is_whole: bool) -> dict[str, Any]:
    """Specs to configs by name.

    Args:
      specs: as in `fisher:decay=0.9`.
      is_whole: whether the checkpoint will be a whole model.

    Raises:
      ConfigError: a spec is wrong, or does not go with the checkpoint.
    """
    configs = parse_specs(specs, {name: kept.config for name, kept in KEPT.items()}, flag="--remember")
    if not is_whole and (strange := [name for name in configs if KEPT[name].needs_whole]):
        raise ConfigError(f"expected --method full or --merge with --remember {strange[0]}, found an adapter")
    return configs


def write_memory(configs: Mapping[str, Any], trained: Trained) -> None:
    """Writes all that is to be kept beside the weights of a checkpoint."""
    for name, config in configs.items():
        KEPT[name].write(config, trained)


def _pair(sentence: LabelledSentence) -> list[tuple[str, str]]:
    return list(zip(sentence.words, sentence.tags, strict=True))
