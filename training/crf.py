"""A conditional random field over the words of a sentence, on top of the token classifier.

    word      Anna        Maria       slept
    emission  logits      logits      logits      of each word's first piece, from the classifier
    score   first[B] + e + step[B,I] + e + step[I,O] + e + last[O]

The probability of a tag sequence is its score's exponential by that of all sequences that the scheme allows (Lafferty
et al., 2001; for named entities, Lample et al., 2016). The sum over all of them is computed by the forward algorithm,
one word after the other. Only first pieces take part; the others have no tag.

Adding a number to all logits of a word changes no probability of a sequence, so the softmax of the logits serves as the
emissions, and only decoding needs the scores of steps (see transforms.tags.decode). That softmax is also what the score
of an entity is made of. It knows nothing of the neighbours, so calibrate it before it is taken for a probability.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.labels import TagSet, Transitions
from training.examples import IGNORED
from training.objectives.steps import Task
from transforms.models.checkpoint import CRF_NAME
from transforms.tags.schemes import allowed_steps

if TYPE_CHECKING:
    from torch import Tensor, nn

# Its exponential is 0 in single precision, and unlike that of an infinity its gradient is a number everywhere.
_FORBIDDEN = -1e4


def add_crf(model: "nn.Module", n_tags: int) -> "nn.ParameterDict":
    """Gives a model the scores of steps between its tags to learn, all 0 at first, and returns them."""
    import torch

    shapes = {"steps": (n_tags, n_tags), "first": (n_tags,), "last": (n_tags,)}
    scores = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    crf = torch.nn.ParameterDict(scores).to(next(model.parameters()).device)
    model.crf = crf
    return crf


def find_crf(model: "nn.Module") -> "nn.ParameterDict | None":
    """The scores that a model was given by `add_crf`, or None."""
    return getattr(model, "crf", None)


def build_task(crf: "nn.ParameterDict", tag_set: TagSet) -> Task:
    """The loss of a model with these scores: minus the logarithm of the gold sequences' probabilities."""
    import torch

    legal = [torch.from_numpy(table) for table in allowed_steps(tag_set)]

    def score(logits: "Tensor", targets: "Tensor") -> "Tensor":
        steps, first, last = (
            crf[name].masked_fill(~table.to(logits.device), _FORBIDDEN)
            for name, table in zip(("steps", "first", "last"), legal, strict=True)
        )
        emissions, tags, is_word = gather_words(logits.float(), targets)
        # A window that was cut within an entity does not begin where its sentence does.
        is_start = legal[1].to(logits.device)[tags[:, :1]]
        firsts = torch.where(is_start, first, 0.0)
        paths = score_paths(emissions, tags, is_word, (steps, firsts, last))
        return (sum_paths(emissions, is_word, (steps, firsts, last)) - paths).sum()

    return score


def gather_words(logits: "Tensor", targets: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """Pieces to words.

    Args:
      logits: (n_windows, longest, n_tags).
      targets: (n_windows, longest), IGNORED where there is no word's first piece.

    Returns:
      Emissions (n_windows, most_words, n_tags), tags (n_windows, most_words), and which of them are words, which in
      each window come first.
    """
    is_first = targets != IGNORED
    most = int(is_first.sum(dim=1).max())
    places = (~is_first).to(targets.dtype).argsort(dim=1, stable=True)[:, :most]
    is_word = is_first.gather(1, places)
    emissions = logits.gather(1, places[..., None].expand(-1, -1, logits.shape[-1]))
    return emissions, targets.gather(1, places).masked_fill(~is_word, 0), is_word


def score_paths(
    emissions: "Tensor", tags: "Tensor", is_word: "Tensor", scores: tuple["Tensor", "Tensor", "Tensor"]
) -> "Tensor":
    """Scores (n_windows,) of given tag sequences.

    Args:
      emissions: (n_windows, most_words, n_tags).
      tags: (n_windows, most_words).
      is_word: (n_windows, most_words), words before padding.
      scores: of steps (n_tags, n_tags), of first tags (n_windows, n_tags), of last ones (n_tags,).
    """
    steps, first, last = scores
    own = emissions.gather(2, tags[..., None])[..., 0]
    between = steps[tags[:, :-1], tags[:, 1:]]
    total = (own * is_word).sum(dim=1) + (between * is_word[:, 1:]).sum(dim=1)
    ends = tags.gather(1, (is_word.sum(dim=1, keepdim=True) - 1).clamp(min=0))[:, 0]
    edges = first.gather(1, tags[:, :1])[:, 0] + last[ends]
    return total + edges * is_word[:, 0]


def sum_paths(emissions: "Tensor", is_word: "Tensor", scores: tuple["Tensor", "Tensor", "Tensor"]) -> "Tensor":
    """Logarithms (n_windows,) of the sums of all sequences' exponentials; arguments as in `score_paths`."""
    import torch

    steps, first, last = scores
    reached = first + emissions[:, 0]
    for word in range(1, emissions.shape[1]):
        going = torch.logsumexp(reached[:, :, None] + steps, dim=1) + emissions[:, word]
        reached = torch.where(is_word[:, word, None], going, reached)
    return torch.logsumexp(reached + last, dim=1) * is_word[:, 0]


def read_crf(crf: "nn.ParameterDict") -> Transitions:
    """Learned scores as decoders take them."""
    steps, first, last = (crf[name].detach().double().cpu().tolist() for name in ("steps", "first", "last"))
    return Transitions(tuple(map(tuple, steps)), tuple(first), tuple(last))


def save_crf(crf: "nn.ParameterDict", directory: Path) -> None:
    """Writes learned scores beside the weights of a model, in single precision."""
    from safetensors.torch import save_file

    save_file({name: scores.detach().float().cpu().contiguous() for name, scores in crf.items()}, directory / CRF_NAME)


def load_crf(crf: "nn.ParameterDict", directory: Path) -> None:
    """The inverse of `save_crf`, in place."""
    from safetensors.torch import load_file

    crf.load_state_dict(load_file(directory / CRF_NAME))


def extend_crf(crf: "nn.ParameterDict", directory: Path, rows: Sequence[tuple[int, int]]) -> None:
    """Puts written scores of some tags to their places among those of others, in place; the rest stays as it is.

    Args:
      crf: scores of a model.
      directory: where others were written.
      rows: places of a tag in the model and in what was written.
    """
    import torch
    from safetensors.torch import load_file

    old = load_file(directory / CRF_NAME)
    with torch.no_grad():
        for at, place in rows:
            for name in ("first", "last"):
                crf[name][at] = old[name][place]
            for other, other_place in rows:
                crf["steps"][at, other] = old["steps"][place, other_place]


def without_crf(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights by name, without learned scores of steps."""
    return {name: tensor for name, tensor in weights.items() if not is_crf(name)}


def is_crf(name: str) -> bool:
    """Whether a weight of this name is a learned score of steps, in a model or in one that wraps it."""
    return "crf" in name.split(".")[:-1]
