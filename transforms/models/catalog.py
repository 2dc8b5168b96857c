"""The kinds of tagger, each a config that loads its model once per process and builds a tagger per thread."""

import dataclasses
from typing import Any, Protocol

from schemas.errors import CheckpointError
from transforms.models.checkpoint import Checkpoint, find_checkpoint, read_tokenizer
from transforms.models.tagger import Tagger
from transforms.models.torch_classifier import TorchClassifier, TorchConfig
from transforms.models.window_tagger import DecodingConfig, WindowTagger
from transforms.text.tokens import ColumnTokenizer
from transforms.text.windows import WindowConfig


class TaggerConfig(Protocol):
    """What travels to the workers in place of a model."""

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""

    def load(self) -> Any:
        """Loads what threads share; called once per process."""

    def build(self, shared: Any) -> Tagger:
        """A tagger for one thread, around what `load` gave."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchTaggerConfig:
    """A token-classification checkpoint run by PyTorch.

    Attributes:
      model: reference of the checkpoint (see transforms.models.checkpoint).
      digest: what its content must be.
      tags: its tags.
      scheme: the tag scheme, resolved.
      torch: device, precision and threads.
      windows: how documents are cut, within the model's limit.
      decoding: how probabilities become entities.
      batch_tokens: most padded tokens in a batch.
    """

    model: str
    digest: str
    tags: tuple[str, ...]
    scheme: str
    torch: TorchConfig
    windows: WindowConfig
    decoding: DecodingConfig
    batch_tokens: int

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": "torch",
            "model": self.digest,
            "tags": list(self.tags),
            "scheme": self.scheme,
            "precision": self.torch.resolved_precision,
            "windows": dataclasses.asdict(self.windows),
            "decoding": dataclasses.asdict(self.decoding),
        }

    def load(self) -> "LoadedModel":
        """Loads the weights, and the tokenizer as JSON.

        Raises:
          CheckpointError: the checkpoint is not the one that the run was planned with.
        """
        checkpoint = find_checkpoint(self.model, scheme=self.scheme)
        if checkpoint.digest != self.digest:
            raise CheckpointError(
                f"expected model {self.model!r} with digest {self.digest[:16]}, found {checkpoint.digest[:16]}; "
                "it changed since the run was planned"
            )
        classifier = TorchClassifier(checkpoint.folder, checkpoint.tag_set, self.torch)
        return LoadedModel(classifier, read_tokenizer(checkpoint.folder))

    def build(self, shared: "LoadedModel") -> Tagger:
        """A tagger for one thread: its own tokenizer around the shared weights."""
        return WindowTagger(
            ColumnTokenizer(shared.tokenizer),
            shared.classifier,
            windows=self.windows,
            decoding=self.decoding,
            batch_tokens=self.batch_tokens,
        )


@dataclasses.dataclass(eq=False)
class LoadedModel:
    """What the threads of a process share.

    Attributes:
      classifier: the weights.
      tokenizer: the tokenizer as JSON, from which each thread builds its own.
    """

    classifier: TorchClassifier
    tokenizer: str


def configure_torch(
    checkpoint: Checkpoint, *, torch: TorchConfig, windows: WindowConfig, decoding: DecodingConfig, batch_tokens: int
) -> TorchTaggerConfig:
    """A checkpoint and options to a config, with the window held within what the model reads."""
    if windows.max_tokens > checkpoint.max_tokens:
        windows = WindowConfig(
            max_tokens=checkpoint.max_tokens, overlap_tokens=min(windows.overlap_tokens, checkpoint.max_tokens // 3)
        )
    return TorchTaggerConfig(
        model=checkpoint.reference,
        digest=checkpoint.digest,
        tags=checkpoint.tag_set.tags,
        scheme=checkpoint.tag_set.scheme,
        torch=torch,
        windows=windows,
        decoding=decoding,
        batch_tokens=batch_tokens,
    )
