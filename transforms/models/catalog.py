"""Token-classification checkpoints as taggers: loaded once per process, with a tokenizer for each thread."""

import dataclasses
from typing import Any

from schemas.errors import CheckpointError
from schemas.labels import TagSet
from schemas.settings import check_type
from schemas.slices import display_uri
from transforms.models.backends import BackendConfig, check_batch_tokens, default_batch_tokens
from transforms.models.checkpoint import Checkpoint, find_checkpoint, read_tokenizer
from transforms.models.engines import Engine, choose_backend, open_engine
from transforms.models.onnx_classifier import OnnxClassifier
from transforms.models.openvino_classifier import OpenvinoClassifier
from transforms.models.tagger import Tagger, TokenClassifier
from transforms.models.torch_classifier import TorchClassifier
from transforms.models.window_tagger import WindowTagger
from transforms.tags.entities import DecodingConfig, EntityDecoder
from transforms.text.tokens import ColumnTokenizer
from transforms.text.windows import WindowConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointTaggerConfig:
    """A token-classification checkpoint, run by PyTorch or, as an engine exported from it, by another backend.

    Attributes:
      model: reference of the checkpoint (see transforms.models.checkpoint).
      digest: what the content of the checkpoint, or of the engine, must be.
      tags: its tags.
      scheme: the tag scheme, resolved.
      backend: what runs it, device, precision and threads.
      windows: how documents are cut, within the model's limit.
      decoding: how probabilities become entities.
      batch_tokens: most padded tokens in a batch.
      dedupe: compute windows with the same tokens once.
      base: reference of the base, where the checkpoint is an adapter and the base not where the adapter says.
      keep_probabilities: give probabilities of tokens along; what is found is the same.
    """

    model: str
    digest: str
    tags: tuple[str, ...]
    scheme: str
    backend: BackendConfig
    windows: WindowConfig
    decoding: DecodingConfig
    batch_tokens: int
    dedupe: bool = True
    base: str = ""
    keep_probabilities: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its tags."""
        return TagSet(self.tags, self.scheme).labels

    @property
    def is_remote(self) -> bool:
        """Whether a server does the work: no."""
        return False

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": self.backend.backend,
            "model": self.digest,
            "tags": list(self.tags),
            "scheme": self.scheme,
            "precision": self.backend.resolved_precision,
            "windows": dataclasses.asdict(self.windows),
            "decoding": dataclasses.asdict(self.decoding),
        }

    def load(self) -> "LoadedModel":
        """Loads the weights, and the tokenizer as JSON.

        Raises:
          CheckpointError: the checkpoint or engine is not the one that the run was planned with.
        """
        checkpoint, engine = self._find()
        return LoadedModel(_load(checkpoint, engine, self.backend), read_tokenizer(checkpoint.folder))

    def load_decoder(self) -> tuple[ColumnTokenizer, EntityDecoder]:
        """What texts and probabilities of their tokens become entities by, without the weights.

        Raises:
          CheckpointError: as in `load`.
        """
        checkpoint, _ = self._find()
        return ColumnTokenizer(read_tokenizer(checkpoint.folder)), EntityDecoder(checkpoint.tag_set, self.decoding)

    def build(self, shared: "LoadedModel") -> Tagger:
        """A tagger for one thread: its own tokenizer around the shared weights."""
        tagger = WindowTagger(
            ColumnTokenizer(shared.tokenizer),
            shared.classifier,
            windows=self.windows,
            decoding=self.decoding,
            batch_tokens=self.batch_tokens,
            dedupe=self.dedupe,
        )
        tagger.keeps_probabilities = self.keep_probabilities
        return tagger

    def _find(self) -> tuple[Checkpoint, Engine | None]:
        """The checkpoint, and the engine where one answers, as the run was planned with them."""
        checkpoint = find_checkpoint(self.model, scheme=self.scheme, base=self.base)
        engine = _open(checkpoint, self.backend)
        digest = _digest(checkpoint, engine)
        if digest != self.digest:
            raise CheckpointError(
                f"expected model {display_uri(self.model)!r} with digest {self.digest[:16]}, found {digest[:16]}; "
                "it changed since the run was planned"
            )
        return checkpoint, engine


@dataclasses.dataclass(eq=False)
class LoadedModel:
    """What the threads of a process share.

    Attributes:
      classifier: the weights.
      tokenizer: the tokenizer as JSON, from which each thread builds its own.
    """

    classifier: TokenClassifier
    tokenizer: str


def configure_tagger(
    checkpoint: Checkpoint,
    *,
    backend: BackendConfig,
    windows: WindowConfig,
    decoding: DecodingConfig,
    batch_tokens: int,
    dedupe: bool = True,
) -> CheckpointTaggerConfig:
    """A checkpoint and options to a config, with the window held within what the model reads.

    Raises:
      CheckpointError: the checkpoint has no engine for the backend and precision.
    """
    return CheckpointTaggerConfig(
        model=checkpoint.reference,
        digest=_digest(checkpoint, _open(checkpoint, backend)),
        tags=checkpoint.tag_set.tags,
        scheme=checkpoint.tag_set.scheme,
        backend=backend,
        windows=windows.within(checkpoint.max_tokens),
        decoding=decoding,
        batch_tokens=batch_tokens,
        dedupe=dedupe,
        base=checkpoint.base_reference,
    )


def find_tagger(
    model: str = "default",
    *,
    base: str = "",
    device: str = "cpu",
    precision: str = "auto",
    threads: int = 0,
    batch_tokens: int = 0,
) -> CheckpointTaggerConfig:
    """A reference to a model to a config with the usual windows and decoding, as `spanmill annotate` has them.

    Args:
      model: folder, URL, hub name or `default`; workers must reach it too.
      base: the same of the base of an adapter, where it is not where it was at training.
      device: cpu or cuda, which is looked for where the model is loaded.
      precision: auto, fp32, bf16, fp16 or int8; the fastest engine in the folder that has it answers.
      threads: threads of the model per process; 0 for one per core.
      batch_tokens: most padded tokens in a batch; 0 for 1,024, or 65,536 on CUDA.

    Raises:
      CheckpointError: there is no such model, or it is unsafe or incomplete.
      ConfigError: nothing has that precision on that device, or a value is out of bounds or none of its type.
    """
    for name, reference in (("model", model), ("base", base)):
        check_type(reference, str, name)
    check_batch_tokens(batch_tokens)
    checkpoint = find_checkpoint(model, base=base)
    backend = choose_backend(checkpoint, device=device, precision=precision)
    return configure_tagger(
        checkpoint,
        backend=BackendConfig(backend=backend, device=device, precision=precision, threads=threads),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=batch_tokens or default_batch_tokens(device),
    )


def load_classifier(checkpoint: Checkpoint, backend: BackendConfig) -> TokenClassifier:
    """The checkpoint, or the engine exported from it, in the backend that runs it.

    Raises:
      CheckpointError: it cannot be loaded, or there is no such engine.
      ConfigError: the device is not there.
    """
    return _load(checkpoint, _open(checkpoint, backend), backend)


def load_engine(engine: Engine, checkpoint: Checkpoint, backend: BackendConfig | None = None) -> TokenClassifier:
    """An engine, wherever it lies, in the backend that runs it, on the CPU unless told otherwise.

    Raises:
      CheckpointError: it cannot be loaded.
      ConfigError: the device is not there.
    """
    backend = backend or BackendConfig(backend=engine.card.backend, precision=engine.card.precision)
    return _ENGINES[backend.backend](engine, checkpoint.tag_set, backend)


def _open(checkpoint: Checkpoint, backend: BackendConfig) -> Engine | None:
    """The engine that answers, or None where the checkpoint itself does."""
    if backend.backend == "torch":
        return None
    return open_engine(checkpoint, backend.backend, backend.resolved_precision)


def _load(checkpoint: Checkpoint, engine: Engine | None, backend: BackendConfig) -> TokenClassifier:
    if engine is None:
        return TorchClassifier(checkpoint.folder, checkpoint.tag_set, backend, base=checkpoint.base)
    return load_engine(engine, checkpoint, backend)


def _digest(checkpoint: Checkpoint, engine: Engine | None) -> str:
    """The digest of what answers."""
    return engine.card.digest if engine else checkpoint.digest


_ENGINES: dict[str, type[OnnxClassifier] | type[OpenvinoClassifier]] = {
    "onnx": OnnxClassifier,
    "openvino": OpenvinoClassifier,
}
