"""What is known of earlier trainings, and what a way of not forgetting adds to this one."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.labels import TagSet
from training.examples import LabelledSentence
from training.objectives.steps import Term
from transforms.models.embeddings import embed_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Past:
    """What ways are built from.

    Attributes:
      model: the model as training begins, with the weights of the base in it.
      known: tags of the base.
      tag_set: tags of the model.
      tokenizer: its tokenizer.
      max_tokens: most pieces in a window.
      sentences: what is trained on, in the tokenizer's own words.
      old: labelled sentences of earlier trainings, in the tokenizer's own words.
      base: folder of the base.
      teacher: directory or hub name of the tagger to keep to.
      seed: of all that is drawn.
    """

    model: Any
    known: tuple[str, ...]
    tag_set: TagSet
    tokenizer: "PreTrainedTokenizerBase"
    max_tokens: int
    sentences: Sequence[LabelledSentence]
    old: Sequence[LabelledSentence]
    base: Path
    teacher: str
    seed: int

    def embed(self, sentences: Sequence[LabelledSentence]) -> npt.NDArray[np.float32]:
        """Unit vectors (n_sentences, width) by the model as training begins."""
        texts = [" ".join(sentence.words) for sentence in sentences]
        return embed_texts(self.model, self.tokenizer, texts, max_tokens=self.max_tokens)


def draw_nothing(epoch: int) -> list[LabelledSentence]:  # noqa: ARG001
    """No old sentences for any pass."""
    return []


def keep_labels(sentences: Sequence[LabelledSentence]) -> list[LabelledSentence]:
    """Sentences as they are."""
    return list(sentences)


class Added(NamedTuple):
    """What a way adds to a training.

    Attributes:
      term: what is added to the loss of a batch, or None.
      draw: the number of a pass, from 0, to its old sentences.
      relabel: the training sentences to the same with further entities.
    """

    term: Term | None = None
    draw: Callable[[int], list[LabelledSentence]] = draw_nothing
    relabel: Callable[[Sequence[LabelledSentence]], list[LabelledSentence]] = keep_labels
