"""Documents that were selected, and what tools make of them."""

import hashlib

from hypothesis import strategies as st

from schemas.selections import SelectedDocument, Selection, Suggestion
from transforms.text.words import find_words

LABELS = ("LOC", "ORG", "PER")

SELECTION = Selection(
    run={"root": "out/run=0123456789abcdef", "fingerprint": "0123456789abcdef", "model": "ab" * 32},
    tagger="",
    labels=LABELS,
    settings={},
    counts={},
)


def make_document(text, *spans, chosen_by="uncertainty", rank=1):
    """A document with suggestions as (start, end, label)."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return SelectedDocument(
        digest=digest,
        id=f"id of {digest[:4]}\n<b>",
        source="in.jsonl",
        row=0,
        text=text,
        tokens=len(text),
        suggestions=tuple(Suggestion(start, end, label, 0.5) for start, end, label in sorted(spans)),
        chosen_by=chosen_by,
        rank=rank,
        score=None if chosen_by == "random" else 0.25,
    )


_PIECES = st.one_of(
    st.sampled_from(["Anna", "in", "Zoe\u0308", "\u0301", "👨\u200d👩\u200d👧", "😀", "東京", "ภาษา", "don't", "#"]),
    st.sampled_from(["-DOCSTART-", "# newdoc", "\ufeff", "\u200b", "\x00"]),
    st.sampled_from([" ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", "\u2028", "\x85", "\x1c"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
)


@st.composite
def documents(draw):
    """Documents with odd characters and entities that do not overlap, anywhere between white space."""
    text = "".join(draw(st.lists(_PIECES, min_size=1, max_size=12))) + draw(st.sampled_from(["a", "😀", "é\n"]))
    words = find_words(text)
    edges = sorted({place for word in words for place in range(word[0], word[1] + 1)})
    chosen = sorted(draw(st.sets(st.sampled_from(edges), max_size=6)))
    spans = []
    for start, end in zip(chosen[::2], chosen[1::2], strict=False):
        surface = text[start:end]
        if surface.strip() == surface:
            spans.append((start, end, draw(st.sampled_from(LABELS))))
    return make_document(text, *spans)
