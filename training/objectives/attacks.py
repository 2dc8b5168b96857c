"""What adversaries share: a perturbation of each window's word embeddings, and the loss under it.

The perturbation is added to what the embedding module gives out, by a hook, so it has a value for each token of each
window, which is the form of the papers (Miyato et al., 2017). A popular shortcut perturbs the table of embeddings in
its place: then equal words are moved alike, a window is moved by the words of others, and a frozen table has no
gradient at all. Here frozen embeddings and models whose inputs are longer than their texts do as well.

Norms are taken over a window, all its tokens together. Padding is never perturbed. All losses of a step are computed
with the same dropout, as Zhu et al. (2020) advise, so that a perturbation is judged by the network that it was made
for. Losses are averaged, not added, so the scale of the gradient is what it is without an adversary.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from schemas.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Adversary = Callable[["Attack"], "Tensor"]
"""Adds the gradient of a step to the model's weights and returns the loss, without its graph."""


class Attack:
    """The loss of a batch as a function of a perturbation.

    Args:
      model: the model; its word embeddings are perturbed.
      mask: (n_windows, longest) 1 where there is a token, 0 in padding.
      loss: computes the loss of the batch by passes of the model.
      backward: adds the gradient of a loss to weights and perturbation.

    Attributes:
      mask: (n_windows, longest, 1) as given.
    """

    def __init__(
        self, model: Any, mask: "Tensor", loss: Callable[[], "Tensor"], backward: Callable[["Tensor"], None]
    ) -> None:
        self._embeddings = model.get_input_embeddings()
        weight = self._embeddings.weight
        self.mask = mask[..., None].to(weight.dtype)
        self._size = (*mask.shape, weight.shape[-1])
        self._loss = loss
        self.backward = backward
        self._dropout: list[Tensor] | None = None

    def start(self) -> "Tensor":
        """A perturbation (n_windows, longest, width) of zeros, which takes gradients."""
        return self.mask.new_zeros(self._size).requires_grad_()

    def loss(self, perturbation: "Tensor") -> "Tensor":
        """The loss under a perturbation.

        Raises:
          ModelError: the model has not read the embeddings of these tokens.
        """
        seen = 0

        def perturb(module: Any, inputs: Any, output: "Tensor") -> "Tensor":  # noqa: ARG001
            nonlocal seen
            if output.shape != self._size:
                raise ModelError(
                    f"expected word embeddings of shape {self._size} to perturb, found {tuple(output.shape)}; "
                    "train without an adversarial --objective"
                )
            seen += 1
            return output + perturbation * self.mask

        self._repeat_dropout()
        handle = self._embeddings.register_forward_hook(perturb)
        try:
            loss = self._loss()
        finally:
            handle.remove()
        if not seen:
            raise ModelError(
                "expected the model to read word embeddings, found that it did not; "
                "train without an adversarial --objective"
            )
        return loss

    def _repeat_dropout(self) -> None:
        """Puts the random state back to what it was before the first loss."""
        import torch

        device = self.mask.device
        if self._dropout is None:
            self._dropout = [torch.get_rng_state()]
            if device.type == "cuda":
                self._dropout.append(torch.cuda.get_rng_state(device))
            return
        torch.set_rng_state(self._dropout[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(self._dropout[1], device)


def take_gradient(perturbation: "Tensor") -> "Tensor":
    """The gradient that a backward pass has left in a perturbation.

    Raises:
      ModelError: there is none.
    """
    if perturbation.grad is None:
        raise ModelError(
            "expected a gradient of the word embeddings, found none; train without an adversarial --objective"
        )
    return perturbation.grad


def normalize(gradient: "Tensor") -> "Tensor":
    """Gradients (n_windows, longest, width) scaled so that each window's norm is 1; zeros stay zeros."""
    norms = measure(gradient)
    scaled: Tensor = gradient / norms.masked_fill(norms == 0, 1)
    return scaled


def project(perturbation: "Tensor", radius: float) -> "Tensor":
    """Perturbations moved into the L2 ball around zero where a window's is outside."""
    norms = measure(perturbation)
    return perturbation * (radius / norms.clamp(min=radius))


def measure(values: "Tensor") -> "Tensor":
    """L2 norms (n_windows, 1, 1) over all tokens of a window."""
    norms: Tensor = values.flatten(1).norm(dim=1)
    return norms[:, None, None]
