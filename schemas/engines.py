"""Engine cards: what an engine was exported from, and how far it strays from its checkpoint."""

import dataclasses
import hashlib
import json
from typing import Any

from schemas.errors import CheckpointError
from schemas.manifest import explain_json

ENGINE_VERSION = 1
ENGINE_CARD = "engine.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
    """How an engine's answers compare with those of its checkpoint in fp32, on the same texts.

    Attributes:
      source: name of the texts' files.
      documents: how many texts.
      tokens: how many tokens were compared; those of identical windows count once.
      equal_tags: share of tokens whose most probable tag is the same.
      equal_entities: share of documents with exactly the same entities.
      largest_difference: of a probability.
      agreement_f1: entity F1 of the engine with the checkpoint's entities as gold, in points from 0 to 100.
      checkpoint_f1: entity F1 of the checkpoint against gold, in points; None without gold.
      engine_f1: the same for the engine.
    """

    source: str
    documents: int
    tokens: int
    equal_tags: float
    equal_entities: float
    largest_difference: float
    agreement_f1: float
    checkpoint_f1: float | None = None
    engine_f1: float | None = None

    @property
    def lost_f1(self) -> float:
        """Points of F1 that the engine has less than its checkpoint; without gold, what it lacks of agreement."""
        if self.checkpoint_f1 is None or self.engine_f1 is None:
            return 100 - self.agreement_f1
        return self.checkpoint_f1 - self.engine_f1


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineCard:
    """What an engine is.

    Attributes:
      backend: onnx or openvino.
      precision: fp32, bf16 or int8.
      checkpoint: digest of the checkpoint that it was exported from.
      files: name and SHA-256, hex, of each of its files.
      options: options of the export that shaped it.
      calibration: what int8 was calibrated on; empty where nothing was.
      parity: how it compares with the checkpoint; None where it was not compared.
      versions: versions of the libraries that made it.
    """

    backend: str
    precision: str
    checkpoint: str
    files: dict[str, str]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    calibration: dict[str, Any] = dataclasses.field(default_factory=dict)
    parity: Parity | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.backend}-{self.precision}"

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that shapes its answers: the checkpoint, the kind of engine and its files."""
        content = [self.backend, self.precision, self.checkpoint, sorted(self.files.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps({"engine_version": ENGINE_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EngineCard":
        """The inverse of `to_json`.

        Raises:
          CheckpointError: the text is no card of this version.
        """
        try:
            value = json.loads(text)
            version = value.pop("engine_version")
            if version != ENGINE_VERSION:
                raise CheckpointError(
                    f"expected an engine of version {ENGINE_VERSION}, found {version!r}; export it anew"
                )
            parity = value.pop("parity", None)
            card = cls(**value, parity=Parity(**parity) if parity else None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"expected an engine card, found {explain_json(error)}; export it anew") from error
        words = (card.backend, card.precision, card.checkpoint)
        if not all(isinstance(word, str) for word in words) or not isinstance(card.files, dict) or not card.files:
            raise CheckpointError("expected an engine card that names its files, found another; export it anew")
        return card
