"""Distillation: on every text that is trained on, the model goes on saying what its teacher says of the old tags.

    word      Anna      uses        Torch       in     Rome        new label: software; old: person, place
    gold      O         O           software    O      O
    filled    person    O           software    O      place       what the teacher finds and nobody was asked to label
    teacher   held to   held to     free        held to            divergence over the old tags

The old answers on new texts stand for the old texts (learning without forgetting, Li and Hoiem, 2016). Files that only
label what is new say O of everything else, and would teach that there is nothing else; there the teacher's entities are
kept in their place (for entities: Monaikul et al., 2021). Labels that the training files have are theirs to judge.
A temperature above 1 lets the teacher's second thoughts count more (Hinton et al., 2015).
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from schemas.labels import TagSet
from training.continual.past import Added, Past, keep_labels
from training.encoders import load_tagger, open_encoder
from training.examples import LabelledFile, LabelledSentence
from training.heads import list_tags
from training.objectives.steps import Step
from training.scorer import Scorer
from transforms.tags.decode import decode_tags

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How close to keep to the teacher.

    Attributes:
      weight: weight of the divergence beside the loss.
      temperature: logits of both are divided by it.
      fill: keep the teacher's entities of labels that the training files lack.
    """

    weight: float = 1.0
    temperature: float = 2.0
    fill: bool = True

    def __post_init__(self) -> None:
        for name in ("weight", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} of --continual distillation above 0, found {getattr(self, name)}")


def build(config: DistillationConfig, past: Past) -> Added:
    """The options to a term of the loss and to what fills in the teacher's entities."""
    import torch

    teacher = load_tagger(open_encoder(past.teacher)).to(past.model.device).eval().requires_grad_(requires_grad=False)
    tags = list_tags(teacher.config)
    columns = torch.tensor([past.tag_set.tags.index(tag) for tag in tags])

    def score(step: Step) -> "Tensor":
        places = columns.to(step.targets.device)
        is_old = torch.isin(step.targets, places)
        with torch.no_grad():
            expected = teacher.to(step.targets.device)(**step.inputs).logits[is_old]
        divergence = sum_divergence(expected, step.logits[is_old][:, places], config.temperature)
        return config.weight * divergence / step.n_targets

    def relabel(sentences: Sequence[LabelledSentence]) -> list[LabelledSentence]:
        lacking = set(TagSet(tags, "BIO").labels) - {label for one in sentences for *_, label in one.spans}
        if not lacking:
            return list(sentences)
        bare = tuple(dataclasses.replace(sentence, spans=()) for sentence in sentences)
        scorer = Scorer([LabelledFile("", "", bare)], TagSet(tags, "BIO"), past.tokenizer, max_tokens=past.max_tokens)
        found = scorer.tag_files(teacher)[0]
        return [
            add_spans(sentence, [span for span in decode_tags(own) if span[2] in lacking])
            for sentence, own in zip(sentences, found, strict=True)
        ]

    return Added(term=score, relabel=relabel if config.fill else keep_labels)


def sum_divergence(teacher: "Tensor", student: "Tensor", temperature: float) -> "Tensor":
    """Kullback-Leibler divergence of the student from the teacher, summed over words.

    It is multiplied by the squared temperature, so that its gradients keep their size (Hinton et al., 2015).

    Args:
      teacher: logits (n, n_old_tags).
      student: logits (n, n_old_tags) of the same tags.
      temperature: what both are divided by.
    """
    from torch.nn.functional import kl_div

    expected, found = ((logits.float() / temperature).log_softmax(-1) for logits in (teacher, student))
    return kl_div(found, expected, reduction="sum", log_target=True) * temperature**2


def add_spans(sentence: LabelledSentence, spans: Sequence[tuple[int, int, str]]) -> LabelledSentence:
    """A sentence with further entities, but for those that meet one that it has.

    >>> sentence = LabelledSentence(("Anna", "met", "Otto"), ((0, 1, "PER"),))
    >>> add_spans(sentence, [(0, 2, "ORG"), (2, 3, "PER")]).spans
    ((0, 1, 'PER'), (2, 3, 'PER'))
    """
    free = [
        (first, last, label)
        for first, last, label in spans
        if all(last <= begin or end <= first for begin, end, _ in sentence.spans)
    ]
    return dataclasses.replace(sentence, spans=tuple(sorted([*sentence.spans, *free])))
