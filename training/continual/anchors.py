"""The pull back to the weights that training began from, which l2 and ewc differ in the weighing of.

    penalty = strength / 2 * sum over weights of  weight * (now - then)^2

It is part of a batch's loss by the batch's share of the words of a step, as all losses are, so that it counts once per
step however many batches that has. Rows of new tags are free, for there is no then for them, and so is what a
conditional random field has learned of steps.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from training.continual.past import Past
from training.crf import is_crf
from training.examples import IGNORED
from training.heads import find_output, match_tags
from training.objectives.steps import Step, Term

if TYPE_CHECKING:
    from torch import Tensor


def find_anchored(past: Past) -> dict[str, Any]:
    """The trained weights that are pulled back, by name."""
    return {
        name: weights for name, weights in past.model.named_parameters() if weights.requires_grad and not is_crf(name)
    }


def weigh_alike(past: Past) -> "dict[str, Tensor]":
    """1 for every weight that the base had, 0 for the rows of new tags."""
    import torch

    weights = {name: torch.ones((), device=tensor.device) for name, tensor in find_anchored(past).items()}
    name, output = find_output(past.model)
    known = torch.zeros(output.out_features, device=output.weight.device)
    known[[at for at, _ in match_tags(past.known, past.tag_set.tags)]] = 1
    if f"{name}.weight" in weights:
        weights[f"{name}.weight"] = known[:, None]
    if f"{name}.bias" in weights:
        weights[f"{name}.bias"] = known
    return weights


def build_penalty(past: Past, weights: "Mapping[str, Tensor]", strength: float) -> Term:
    """What is added to the loss of a batch.

    Args:
      past: the model as training begins; that is where it is pulled back to.
      weights: how much each weight counts, by name; in a shape that goes with the weight's.
      strength: by how much all of them count.
    """
    anchored = find_anchored(past)
    pulls = [(anchored[name], anchored[name].detach().clone(), weight) for name, weight in weights.items()]

    def score(step: Step) -> "Tensor":
        n_words = (step.targets != IGNORED).sum()
        total = step.targets.new_zeros((), dtype=step.logits.dtype)
        for at, (now, then, weight) in enumerate(pulls):
            if then.device != now.device:
                # The model went to its device after this was built.
                pulls[at] = now, then, weight = now, then.to(now.device), weight.to(now.device)
            moved = now - then
            total = total + (weight * moved * moved).sum()
        return strength / 2 * total * n_words / step.n_targets

    return score
