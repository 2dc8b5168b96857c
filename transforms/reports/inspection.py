"""Documents of a run as a page: text with its entities marked, label and score behind each."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.reports.excerpts import Sample, Segment, mark_excerpts
from transforms.reports.pages import render_page
from transforms.reports.terminal import Tones, find_focus
from transforms.storage.annotations import EntityFilter


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A document as it is shown.

    Attributes:
      sample: the document without its text.
      segments: what is shown of the text, in order; none where it is not available.
    """

    sample: Sample
    segments: tuple[Segment, ...]


def shorten(sample: Sample, wanted: EntityFilter) -> Excerpt:
    """A document in, what is shown of it out: a long one is shortened around the entities that are looked for."""
    segments = () if sample.problem else tuple(mark_excerpts(sample, find_focus(sample, wanted)))
    return Excerpt(dataclasses.replace(sample, text=""), segments)


def render_inspection(excerpts: Sequence[Excerpt], wanted: EntityFilter, tones: Tones, about: Mapping[str, Any]) -> str:
    """Documents in, one self-contained HTML file out.

    Args:
      excerpts: the documents, in order.
      wanted: what is looked for; when that is low scores, the entities that have them stand out.
      tones: the colours of labels.
      about: `run`, where the run lies; `progress`, how far it has come if it is not finished; `versions` of spanmill.
    """
    view = {
        "report": about,
        "excerpts": excerpts,
        "wanted": wanted,
        "tones": tones,
        "has_gold": any(excerpt.sample.gold is not None for excerpt in excerpts),
        "has_below": any(entity.get("is_below") for excerpt in excerpts for entity in excerpt.sample.entities),
    }
    return render_page("inspect.html.j2", view)
