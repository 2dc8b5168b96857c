"""Examples, answers and hypothesis strategies for tests of prompts."""

import math

from hypothesis import strategies as st

from schemas.prompts import Answer
from transforms.prompts.examples import Example

LABELS = ["PER", "ORG", "work of art"]

# None is part of another one, so that every place of a name is an entity.
NAMES = {
    "Anna": "PER",
    "Zoë O'Neil": "PER",
    'Bob "the hat" Dylan': "PER",
    "U.N.": "ORG",
    "AT&T": "ORG",
    "C:\\new": "ORG",
    "東京": "ORG",
    "The </b> Tag": "work of art",
    "{Brackets}, [all]": "work of art",
}
OTHERS = [
    "met",
    "in",
    "the",
    "1996",
    "<PER>",
    "</ORG>",
    "&lt;PER>",
    "&amp;lt;PER>",
    "<b>",
    "“",
    '"',
    "'",
    ",",
    "]",
    "}",
    "ü",
]


def build_answer(text, pieces=(), probabilities=(), *, is_cut=False):
    return Answer(text, tuple(pieces), tuple(map(math.log, probabilities)), is_cut, 0, 0, len(pieces))


@st.composite
def examples(draw):
    """Texts in which every place of a name is an entity."""
    text, spans = draw(st.sampled_from(["", "\n", " "])), []
    for word in draw(st.lists(st.sampled_from([*NAMES, *OTHERS]), min_size=1, max_size=12)):
        if word in NAMES:
            spans.append((len(text), len(text) + len(word), NAMES[word]))
        text += word + draw(st.sampled_from([" ", "  ", "\n", " \n\t"]))
    return Example(text, tuple(spans))


@st.composite
def flat_spans(draw, text, bounds):
    """Spans that do not overlap, between some places of a text, with no space at their ends."""
    spans, at = [], 0
    while draw(st.booleans()):
        starts = [
            bound for bound in bounds if bound >= at and not text[bound : bound + 1].isspace() and bound < len(text)
        ]
        if not starts:
            break
        start = draw(st.sampled_from(starts))
        ends = [bound for bound in bounds if bound > start and not text[bound - 1].isspace()]
        if not ends:
            break
        at = draw(st.sampled_from(ends))
        spans.append((start, at, draw(st.sampled_from(LABELS))))
    return tuple(spans)
