"""A language model on this machine, run by PyTorch: a checkpoint of transformers, or a GGUF file.

Prompts of like length run together, padded on the left, as many as a budget of tokens allows. What they begin with in
common is computed once (see `prefixes`), and the answer is held within its grammar where the prompt has one (see
`constraints`).
"""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from schemas.errors import CheckpointError, ConfigError, PipelineError, RecordError
from schemas.prompts import Answer, Message, Prompt
from schemas.slices import display_uri
from transforms.models.backends import BackendConfig, check_device, torch_errors_told, torch_type
from transforms.models.language.attention import share_beginnings
from transforms.models.language.chat_tokenizer import ChatTokenizer
from transforms.models.language.constraints import Constraint, ConstraintCompiler
from transforms.models.language.continuations import (
    CausalContinuation,
    Seq2SeqContinuation,
    extend_layers,
    has_plain_attention,
)
from transforms.models.language.decoding import Continuation, Decoding, decode_greedily
from transforms.models.language.language_checkpoint import LanguageCheckpoint, find_language_checkpoint
from transforms.models.language.language_model import OnAnswer, Outcome
from transforms.models.language.prefixes import NOTHING, Group, Ids, PrefixStore, Shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalModelConfig:
    """A language model on this machine.

    Attributes:
      model: reference of the checkpoint (see `find_language_checkpoint`).
      content: SHA-256 that its files must have, hex.
      max_tokens: most tokens of a prompt and its answer together.
      backend: device, precision and threads.
      batch_tokens: most tokens of a batch, with padding and answers.
    """

    model: str
    content: str
    max_tokens: int
    backend: BackendConfig
    batch_tokens: int

    def __post_init__(self) -> None:
        if self.backend.backend != "torch":
            raise ConfigError(f"expected backend torch for a language model, found {self.backend.backend!r}")
        if self.batch_tokens < 1:
            raise ConfigError(f"expected at least 1 token in a batch, found {self.batch_tokens}")

    @property
    def digest(self) -> str:
        """SHA-256 over the content and the precision, hex."""
        return hashlib.sha256(f"{self.content} {self.backend.resolved_precision}".encode()).hexdigest()

    @property
    def is_remote(self) -> bool:
        """Whether a server answers: no."""
        return False

    def describe(self) -> dict[str, Any]:
        """What changes its answers, by name."""
        return {
            "kind": "local",
            "model": self.content,
            "precision": self.backend.resolved_precision,
            "max_tokens": self.max_tokens,
        }

    def load(self) -> "LocalModel":
        """Loads the weights.

        Raises:
          CheckpointError: they are not those that the run was planned with, or cannot be loaded.
          ConfigError: the device is not there.
        """
        checkpoint = find_language_checkpoint(self.model)
        if checkpoint.digest != self.content:
            raise CheckpointError(
                f"expected model {display_uri(self.model)!r} with digest {self.content[:16]}, found "
                f"{checkpoint.digest[:16]}; it changed since the run was planned"
            )
        return LocalModel(checkpoint, self.backend, batch_tokens=self.batch_tokens)


def find_language_model(
    reference: str, *, backend: BackendConfig | None = None, batch_tokens: int = 8192
) -> LocalModelConfig:
    """A reference to the config of a language model that is safe and complete.

    Args:
      reference: see `find_language_checkpoint`.
      backend: device, precision and threads; the CPU unless told otherwise.
      batch_tokens: most tokens of a batch, with padding and answers.

    Raises:
      CheckpointError: there is none, or it is unsafe, incomplete or no language model.
    """
    checkpoint = find_language_checkpoint(reference)
    # A tokenizer that cannot be used is told now and not by every worker.
    ChatTokenizer(checkpoint.load_tokenizer())
    return LocalModelConfig(
        model=reference,
        content=checkpoint.digest,
        max_tokens=checkpoint.max_tokens,
        backend=backend or BackendConfig(),
        batch_tokens=batch_tokens,
    )


class Request(NamedTuple):
    """A prompt that is to be answered.

    Attributes:
      at: its index among the prompts.
      ids: its tokens.
      most_tokens: most tokens of the answer.
      constraint: what the answer has to look like.
    """

    at: int
    ids: Ids
    most_tokens: int
    constraint: Constraint | None


class LocalModel:
    """A language model that is loaded; see `LanguageModel`.

    Args:
      checkpoint: the model.
      backend: device, precision and threads.
      batch_tokens: most tokens of a batch, with padding and answers.
      shares_prefixes: compute what prompts begin with in common once. A seq2seq model never does, for what its encoder
        makes of a token depends on those after it too.

    Raises:
      CheckpointError: it cannot be loaded.
      ConfigError: the device is not there.
    """

    def __init__(
        self,
        checkpoint: LanguageCheckpoint,
        backend: BackendConfig,
        *,
        batch_tokens: int,
        shares_prefixes: bool = True,
    ) -> None:
        import torch

        check_device(backend)
        if backend.threads:
            torch.set_num_threads(backend.threads)
        self._torch = torch
        self._max_tokens = checkpoint.max_tokens
        self._batch_tokens = batch_tokens
        self._is_causal = checkpoint.kind == "causal"
        self._model = checkpoint.load_model(torch_type(backend)).to(backend.device)
        self._tokenizer = ChatTokenizer(
            checkpoint.load_tokenizer(), _read_stops(self._model), is_causal=self._is_causal
        )
        # Padding would shift the window of layers that look back only so far, and enter the state of recurrent ones.
        self._is_paddable = not self._is_causal or has_plain_attention(self._model)
        self._shares_prefixes = shares_prefixes and self._is_causal and self._is_paddable
        self._keeps_once = self._shares_prefixes and share_beginnings(self._model)
        self._prefixes = PrefixStore(self._extend, most_tokens=batch_tokens)
        self._compiler: ConstraintCompiler | None = None
        self._lock = threading.Lock()

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self._max_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt with these messages."""
        return len(self._tokenizer.encode(messages))

    def answer(self, prompts: Sequence[Prompt], *, on_answer: OnAnswer | None = None) -> list[Outcome]:
        """Answers each prompt, or says why it cannot be: `too_long`, `grammar`, `too_large`, `inference_failed`.

        The most probable token is taken each time. Log-probabilities are those among the tokens that the prompt's
        grammar allows (see `decode_greedily`); the token that ends an answer is no part of it.

        Args:
          prompts: what is asked.
          on_answer: is told each prompt's position and outcome once its batch is done.

        Raises:
          ModelError: the weights are damaged, or the device is broken.
          ConfigError: a prompt has a grammar, and what constrains decoding is not installed.
        """
        outcomes: dict[int, Outcome] = {}
        with self._lock:
            for at, outcome in self._answer(prompts):
                outcomes[at] = outcome
                if on_answer:
                    on_answer(at, outcome)
        return [outcomes[at] for at in range(len(prompts))]

    def _answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Outcome]]:
        """Positions and outcomes of prompts, in the order in which they are known."""
        requests = []
        for at, prompt in enumerate(prompts):
            try:
                requests.append(self._prepare(at, prompt))
            except RecordError as error:
                yield at, error
        for group in self._group(requests):
            yield from self._answer_group(group, requests)

    def _prepare(self, at: int, prompt: Prompt) -> Request:
        """The tokens of a prompt and what its answer has to look like.

        Raises:
          RecordError: it is too long, or its grammar cannot be read.
        """
        ids = tuple(self._tokenizer.encode(prompt.messages))
        most = self._max_tokens - prompt.max_answer_tokens
        if not 0 < len(ids) <= most:
            raise RecordError(
                "too_long",
                f"expected a prompt of 1 to {most} tokens before its answer, found {len(ids)}; take "
                "fewer shots or shorter passages",
            )
        constraint = None
        if prompt.grammar is not None:
            if self._compiler is None:
                self._compiler = ConstraintCompiler(self._tokenizer.to_json(), sorted(self._tokenizer.stops))
            constraint = self._compiler.compile(prompt.grammar)
        return Request(at, ids, prompt.max_answer_tokens, constraint)

    def _group(self, requests: Sequence[Request]) -> list[Group]:
        if self._shares_prefixes:
            return self._prefixes.group([request.ids for request in requests])
        return [Group((), list(range(len(requests))))]

    def _answer_group(self, group: Group, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """The same of prompts that begin alike."""
        shared = self._share(group.prefix)
        n_apart = shared.n_tokens if self._keeps_once else 0
        batches = self._pack([requests[at] for at in group.prompts], n_apart)
        # The one that comes first pays for the beginning; the others find it.
        n_known = shared.n_reused
        while batches:
            batch = batches.pop()
            try:
                decodings = self._decode(batch, shared)
            except PipelineError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a model raises, its neighbours go on
                if len(batch) == 1:
                    yield batch[0].at, _describe_failure(batch[0], error)
                    continue
                if isinstance(error, MemoryError):
                    self._batch_tokens = min(self._batch_tokens, max(1, _count_padded(batch, n_apart) // 2))
                half = len(batch) // 2
                batches += [batch[half:], batch[:half]]
                continue
            for request, decoding in zip(batch, decodings, strict=True):
                yield request.at, decoding.failure or self._tell(request, decoding, n_known)
                n_known = shared.n_tokens

    def _share(self, prefix: Ids) -> Shared:
        """What attention keeps of a beginning; nothing where the memory has no room for it."""
        try:
            with self._torch.inference_mode(), torch_errors_told():
                return self._prefixes.compute(prefix)
        except MemoryError:
            self._prefixes.clear()
            return NOTHING

    def _extend(self, known: Any, ids: Ids) -> Any:
        return extend_layers(self._model, known, ids)

    def _pack(self, requests: list[Request], n_apart: int) -> list[list[Request]]:
        """Prompts to batches of like length within the budget, the longest last, for they run from the end.

        Args:
          requests: the prompts.
          n_apart: tokens that all begin with and that are kept once for all.
        """
        batches: list[list[Request]] = []
        for request in sorted(requests, key=lambda request: (len(request.ids) + request.most_tokens, request.at)):
            last = batches[-1] if batches else []
            if not last or not self._is_paddable or _count_padded([*last, request], n_apart) > self._batch_tokens:
                batches.append([request])
            else:
                last.append(request)
        return batches

    def _decode(self, batch: Sequence[Request], shared: Shared) -> list[Decoding]:
        decodings = [
            Decoding(request.most_tokens, request.constraint and request.constraint.restart()) for request in batch
        ]
        with self._torch.inference_mode(), torch_errors_told():
            decode_greedily(self._open(batch, shared), decodings, self._tokenizer.stops)
        return decodings

    def _open(self, batch: Sequence[Request], shared: Shared) -> Continuation:
        if self._is_causal:
            rests = [request.ids[shared.n_tokens :] for request in batch]
            return CausalContinuation(self._model, shared, rests, is_kept_once=self._keeps_once)
        return Seq2SeqContinuation(self._model, [request.ids for request in batch])

    def _tell(self, request: Request, decoding: Decoding, n_known: int) -> Answer:
        pieces = self._tokenizer.split(decoding.ids)
        return Answer(
            text="".join(pieces),
            pieces=pieces,
            log_probs=tuple(decoding.log_probs),
            is_cut=decoding.is_cut,
            prompt_tokens=len(request.ids),
            cached_tokens=n_known,
            answer_tokens=len(decoding.ids),
        )


def _count_padded(batch: Sequence[Request], n_apart: int) -> int:
    """Tokens of a batch with its padding and answers: what its keys and values take, but for those kept once."""
    longest = max(len(request.ids) for request in batch) + max(request.most_tokens for request in batch)
    return (longest - n_apart) * len(batch)


def _describe_failure(request: Request, error: Exception) -> RecordError:
    code = "too_large" if isinstance(error, MemoryError) else "inference_failed"
    # The error's own words may quote the text, so only its type is told.
    return RecordError(code, f"the model failed on a prompt of {len(request.ids)} tokens: {type(error).__name__}")


def _read_stops(model: Any) -> list[int]:
    """Ids that end an answer, by the model's generation config."""
    stops = model.generation_config.eos_token_id
    return [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
