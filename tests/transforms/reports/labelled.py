"""Made-up reports of labelled files, made by the code that makes real ones, from a few sentences."""

from typing import Any

from training.inspection import InspectedFile, PieceCounter, inspect_files
from transforms.corpora.conll import Sentence


def make_labels(word: str = "Rome", label: str = "LOC", *, name: str = "a/train.conll") -> Any:
    """A report of two labelled files that are ill in every way."""
    sound = [Sentence((word, "fell", "in", "one", f"day{at}"), (f"B-{label}", *"OOOO"), line=6 * at) for at in range(9)]
    ill = [
        Sentence((word, "fell"), ("B-ORG", f"I-{label}"), line=60, opens_document=True),
        Sentence((word, "fell"), ("O", "O"), line=63),
        Sentence(("bare",), (), line=66),
        Sentence(("\u200b", word), ("O", label), line=68),
    ]
    lines = ("-DOCSTART- O", "", "-DOCSTART- O", "x\tO", "x\ty\tO")
    one, other = (
        InspectedFile(at, digest * 64, lines, tuple(sentences))
        for at, digest, sentences in ((name, "e", [*sound, *ill]), ("b/dev.conll", "f", [sound[0], *ill[:2]]))
    )
    return inspect_files([one, other], PieceCounter(lambda texts: ([len(text) for text in texts], 2), 12, "tiny"))
