"""How far annotators agree, and one set of entities out of several.

    anna   [Ada]PER met [Babbage]PER in [London]LOC
    ben    [Ada]PER met [Babbage]ORG in  London
    F1     1 span in common of 3 and 2: 2 * 1 / (3 + 2) = 0.4

F1 over exact spans is what agreement on spans comes down to, since nobody counts the spans that both left out (Hripcsak
and Rothschild, "Agreement, the F-measure, and reliability in information retrieval", 2005). Kappa (Cohen, "A
coefficient of agreement for nominal scales", 1960) is over words, each with the label of its entity or none, and takes
off what chance would give; it knows of entities that overlap in part.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from schemas.selections import SelectedDocument, Span
from transforms.labelling.checking import CheckedAnswer
from transforms.text.words import find_words

RULES = ("first", "majority", "drop")
_OUTSIDE = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two annotators agree.

    Attributes:
      annotators: the two.
      documents: how many both labelled.
      f1: over exact spans; 1 where neither marked any.
      kappa: over words; None where both gave every word the same label, and chance explains everything.
    """

    annotators: tuple[str, str]
    documents: int
    f1: float
    kappa: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """The entities of a document, after all that was said of it.

    Attributes:
      digest: the document.
      spans: its entities by position.
      answers: what was said, in order.
      rule: single or agreed, or the rule that decided between annotators.
    """

    digest: str
    spans: tuple[Span, ...]
    answers: tuple[CheckedAnswer, ...]
    rule: str


def measure_agreement(answers: Iterable[CheckedAnswer], documents: Mapping[str, SelectedDocument]) -> list[Agreement]:
    """The agreement of every two annotators with documents in common, by their names."""
    by_annotator: defaultdict[str, dict[str, CheckedAnswer]] = defaultdict(dict)
    for answer in answers:
        by_annotator[answer.annotator][answer.digest] = answer
    found = []
    for a, b in combinations(sorted(by_annotator), 2):
        if common := sorted(by_annotator[a].keys() & by_annotator[b].keys()):
            pairs = [(by_annotator[a][digest].spans, by_annotator[b][digest].spans) for digest in common]
            words: Counter[tuple[str, str]] = Counter()
            for digest, (ours, theirs) in zip(common, pairs, strict=True):
                places = find_words(documents[digest].text)
                words.update(zip(_label_words(places, ours), _label_words(places, theirs), strict=True))
            found.append(
                Agreement(annotators=(a, b), documents=len(common), f1=_score_f1(pairs), kappa=score_kappa(words))
            )
    return found


def score_kappa(pairs: Mapping[tuple[str, str], int]) -> float | None:
    """Cohen's kappa of pairs of labels with their counts; None where chance alone explains the agreement.

    >>> score_kappa({("PER", "PER"): 1, ("", ""): 2, ("PER", ""): 1})
    0.5
    """
    total = sum(pairs.values())
    if not total:
        return None
    ours, theirs = (Counter[str](), Counter[str]())
    for (a, b), count in pairs.items():
        ours[a] += count
        theirs[b] += count
    observed = sum(count for (a, b), count in pairs.items() if a == b) / total
    expected = sum(ours[label] * theirs[label] for label in ours) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def resolve(answers: Sequence[CheckedAnswer], rule: str) -> Resolved | None:
    """The answers to one document to one set of entities; None where they differ and the rule drops it.

    Args:
      answers: the answers, in the order they were read.
      rule: `first` takes the answer that was read first; `majority` takes the entities that more than half of the
        annotators marked alike, which never overlap; `drop` takes nothing.
    """
    ordered = tuple(answers)
    digest = ordered[0].digest
    if len({answer.spans for answer in ordered}) == 1:
        name = "single" if len(ordered) == 1 else "agreed"
        return Resolved(digest=digest, spans=ordered[0].spans, answers=ordered, rule=name)
    if rule == "drop":
        return None
    spans = ordered[0].spans
    if rule == "majority":
        votes = Counter(span for answer in ordered for span in answer.spans)
        spans = tuple(sorted(span for span, count in votes.items() if 2 * count > len(ordered)))
    return Resolved(digest=digest, spans=spans, answers=ordered, rule=rule)


def _score_f1(pairs: Sequence[tuple[tuple[Span, ...], tuple[Span, ...]]]) -> float:
    total = sum(len(ours) + len(theirs) for ours, theirs in pairs)
    return 2 * sum(len(set(ours) & set(theirs)) for ours, theirs in pairs) / total if total else 1.0


def _label_words(words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """The label of each word: that of the entity it begins in, or ends in."""
    return [
        next((label for first, last, label in spans if first < end and start < last), _OUTSIDE) for start, end in words
    ]
