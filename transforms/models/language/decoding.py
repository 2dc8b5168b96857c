"""Greedy decoding of a batch of prompts, token by token.

transformers' `generate` is not used: it knows no beginning that rows share, keeps a row until the last one has ended,
and tells the probabilities of tokens only by keeping every score. The loop here is the plain one: the most probable
token that a row's constraint allows is taken, and a row that has ended leaves the batch with its keys and values.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from schemas.errors import ModelError, RecordError
from transforms.models.language.constraints import Constraint
from transforms.workers.heartbeats import beat

if TYPE_CHECKING:
    import torch


class Continuation(Protocol):
    """The forward passes of a batch, whose keys and values it keeps."""

    def start(self) -> "torch.Tensor":
        """Logits (n_rows, n_vocabulary) of the first token of each answer."""

    def step(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """Logits (n_rows, n_vocabulary) of the next token, after the last ones (n_rows,)."""

    def keep(self, rows: "torch.Tensor") -> None:
        """Drops all rows but those with these indices, (n_kept,)."""


@dataclasses.dataclass(eq=False)
class Decoding:
    """An answer that is under way.

    Attributes:
      most_tokens: most tokens that it may have.
      constraint: what it has to look like, None where anything may be said.
      ids: its tokens, without the one that ends it.
      log_probs: natural logarithm of each one's probability among those that were allowed.
      is_ended: it came to an end of its own.
      failure: why it cannot go on.
    """

    most_tokens: int
    constraint: Constraint | None = None
    ids: list[int] = dataclasses.field(default_factory=list)
    log_probs: list[float] = dataclasses.field(default_factory=list)
    is_ended: bool = False
    failure: RecordError | None = None

    @property
    def is_cut(self) -> bool:
        """It had no end of its own within its tokens."""
        return not self.is_ended or (self.constraint is not None and self.constraint.is_ended_early)

    @property
    def goes_on(self) -> bool:
        """Another token is to come."""
        return not self.is_ended and self.failure is None and len(self.ids) < self.most_tokens

    def restrict(self, logits: "torch.Tensor") -> None:
        """Rules out, in the logits (n_vocabulary,) of the next token, those that the constraint does not allow."""
        import torch

        if self.constraint is None:
            return
        try:
            allowed = self.constraint.allow(self.most_tokens - len(self.ids))
        except RecordError as error:
            self.failure = error
            return
        width = min(len(allowed), len(logits))
        logits[width:] = -torch.inf
        logits[:width].masked_fill_(torch.from_numpy(~allowed[:width]).to(logits.device), -torch.inf)

    def take(self, token: int, log_prob: float, stops: frozenset[int]) -> None:
        """Takes the next token.

        Raises:
          ModelError: its probability is no number.
        """
        if self.failure:
            return
        if not math.isfinite(log_prob):
            raise ModelError(
                "expected probabilities that are numbers, found NaN or infinity: the weights are damaged, or the "
                "--precision is too coarse for them"
            )
        if token in stops:
            self.is_ended = True
            return
        self.ids.append(token)
        self.log_probs.append(log_prob)
        if self.constraint is not None:
            try:
                self.constraint.accept(token)
                self.is_ended = self.constraint.is_finished
            except RecordError as error:
                self.failure = error


def decode_greedily(continuation: Continuation, answers: Sequence[Decoding], stops: frozenset[int]) -> None:
    """Goes on with the answers, a row each, until all have ended: the most probable token each time.

    Under a constraint, a probability is the token's share among those that are allowed. Where the grammar leaves no
    choice it is one, so that confidence comes from what the model chose and not from how it would have put it.

    Args:
      continuation: the forward passes of the batch.
      answers: the answers, none of them begun.
      stops: ids that end an answer.

    Raises:
      ModelError: probabilities are no numbers.
    """
    import torch

    logits = continuation.start().float()
    alive = list(answers)
    while True:
        for answer, scores in zip(alive, logits, strict=True):
            answer.restrict(scores)
        log_probs, tokens = logits.log_softmax(-1).max(-1)
        for answer, token, log_prob in zip(alive, tokens.tolist(), log_probs.tolist(), strict=True):
            answer.take(token, log_prob, stops)
        beat()
        rows = torch.tensor([at for at, answer in enumerate(alive) if answer.goes_on], device=tokens.device)
        alive = [answer for answer in alive if answer.goes_on]
        if not alive:
            return
        if len(alive) < len(tokens):
            continuation.keep(rows)
        logits = continuation.step(tokens[rows]).float()
