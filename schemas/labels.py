"""Tags and labels: `B-PER` is a tag, `PER` is its label."""

import dataclasses

from schemas.errors import ConfigError

OUTSIDE = "O"
PREFIXES = "BIESLUM"


def split_tag(tag: str) -> tuple[str, str]:
    """Splits a tag into prefix and label.

    >>> split_tag("B-PER"), split_tag("O"), split_tag("creative-work")
    (('B', 'PER'), ('O', ''), ('I', 'creative-work'))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if len(tag) > 2 and tag[1] in "-_" and tag[0] in PREFIXES:
        return tag[0], tag[2:]
    return "I", tag


@dataclasses.dataclass(frozen=True)
class Transitions:
    """What a conditional random field has learned of the order of tags, as natural logarithms.

    Attributes:
      steps: n_tags rows of n_tags scores, of a step from the row's tag to the column's.
      first: n_tags scores, of a sequence that begins with the tag.
      last: n_tags scores, of one that ends with it.
    """

    steps: tuple[tuple[float, ...], ...]
    first: tuple[float, ...]
    last: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class TagSet:
    """The tags of a model in the order of its outputs, and what is known of their order.

    Attributes:
      tags: one per output of the model.
      scheme: BIO, IOB1, BIOES, BILOU or IO.
      transitions: what the model has learned of their order beyond the scheme; None where it has no such head.
    """

    tags: tuple[str, ...]
    scheme: str
    transitions: Transitions | None = None

    def __post_init__(self) -> None:
        if len(set(self.tags)) != len(self.tags):
            raise ConfigError(f"expected distinct tags, found {list(self.tags)!r}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in order of first appearance."""
        labels = (split_tag(tag)[1] for tag in self.tags)
        return tuple(dict.fromkeys(label for label in labels if label))
