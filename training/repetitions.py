"""What comes twice in labelled files: sentences within a file, sentences of two files, words under two labels.

    Anna B-PER    Anna O          a duplicate, and its tags disagree
    Rome B-LOC    Rome B-ORG      two readings of one mention: LOC once, ORG once

A sentence that is trained on twice counts twice; one that is trained on and tested on is no test. Repeated short
sentences (datelines, scores) are common and harmless, so those of LONG_WORDS words or more are counted apart.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.labels import OUTSIDE
from transforms.corpora.conll import Sentence

LONG_WORDS = 5
_KEPT_PLACES = 3

Words = tuple[str, ...]


def find_duplicates(sentences: Sequence[Sentence], *, kept: int) -> dict[str, Any]:
    """Sentences of one file to those whose words came before.

    Args:
      sentences: the sentences.
      kept: most examples.

    Returns:
      `count` and `share` of the sentences that repeat an earlier one, `long` ones among them, `disagreeing` groups of
      the same words with different tags, and `rows` of examples, those that disagree first.
    """
    groups = {words: group for words, group in _group(sentences).items() if len(group) > 1}
    disagreeing = {words for words, group in groups.items() if len({one.tags for one in group}) > 1}
    ranked = sorted(groups, key=lambda words: (words not in disagreeing, len(words) < LONG_WORDS, -len(groups[words])))
    count = sum(len(group) - 1 for group in groups.values())
    return {
        "count": count,
        "share": count / max(1, len(sentences)),
        "long": sum(len(group) - 1 for words, group in groups.items() if len(words) >= LONG_WORDS),
        "disagreeing": len(disagreeing),
        "rows": [
            {
                "words": " ".join(words),
                "count": len(groups[words]),
                "taggings": len({one.tags for one in groups[words]}),
                "lines": [one.line for one in groups[words]][:kept],
            }
            for words in ranked[:kept]
        ],
    }


def find_leaks(first: Sequence[Sentence], second: Sequence[Sentence], *, kept: int) -> dict[str, Any]:
    """Sentences of two files to those whose words stand in both.

    Args:
      first: sentences of a file.
      second: sentences of another.
      kept: most examples.

    Returns:
      `first_count`, `first_share`, `second_count` and `second_share` of the sentences of a file that the other has too,
      `first_long` and `second_long` of these, `disagreeing` different sentences that are not tagged alike in both, and
      `rows` of examples, the long ones first.
    """
    groups, others = _group(first), _group(second)
    shared = [words for words in groups if words in others]
    disagreeing = {
        words for words in shared if {one.tags for one in groups[words]} != {one.tags for one in others[words]}
    }
    ranked = sorted(shared, key=lambda words: (len(words) < LONG_WORDS, words not in disagreeing))
    found: dict[str, Any] = {}
    for name, own, sentences in (("first", groups, first), ("second", others, second)):
        found[f"{name}_count"] = sum(len(own[words]) for words in shared)
        found[f"{name}_share"] = found[f"{name}_count"] / max(1, len(sentences))
        found[f"{name}_long"] = sum(len(own[words]) for words in shared if len(words) >= LONG_WORDS)
    return {
        **found,
        "disagreeing": len(disagreeing),
        "rows": [
            {
                "words": " ".join(words),
                "is_alike": words not in disagreeing,
                "first_lines": [one.line for one in groups[words]][:_KEPT_PLACES],
                "second_lines": [one.line for one in others[words]][:_KEPT_PLACES],
            }
            for words in ranked[:kept]
        ],
    }


def find_conflicts(files: Mapping[str, Sequence[Sentence]], *, kept: int) -> dict[str, Any]:
    """Sentences by file to mentions whose words are labelled in one way here and in another, or not at all, there.

    Words that are part of a longer entity are no reading of their own. Many conflicts are right (Washington may be a
    place or a person); many of one kind are two opinions on how to label.

    Args:
      files: the sentences of each file.
      kept: most rows.

    Returns:
      `mentions` in all, `surfaces` with more than one reading, `relabelled` mentions under another label than most of
      the same words, `unlabelled` occurrences of words that are labelled more often than not, and `rows` with the
      `readings` of a surface (`label`, `O` for none, `count` and `places`), the most frequent first, and how many
      occurrences are `deviating` from that one.
    """
    places: dict[Words, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for name, sentences in files.items():
        for sentence in sentences:
            for first, last, label in sentence.spans:
                places[sentence.words[first:last]][label].append((name, sentence.line + first))
    n_mentions = sum(len(found) for readings in places.values() for found in readings.values())
    _add_unlabelled(files, places)
    counts = {
        words: dict(Counter({label: len(found) for label, found in readings.items()}).most_common())
        for words, readings in places.items()
        if len(readings) > 1
    }
    deviating = {words: sum(readings.values()) - max(readings.values()) for words, readings in counts.items()}
    ranked = sorted(counts, key=lambda words: (-deviating[words], words))
    return {
        "mentions": n_mentions,
        "surfaces": len(counts),
        "relabelled": sum(_count_relabelled(readings) for readings in counts.values()),
        "unlabelled": sum(
            readings.get(OUTSIDE, 0)
            for readings in counts.values()
            if 2 * readings.get(OUTSIDE, 0) < sum(readings.values())
        ),
        "rows": [
            {
                "words": " ".join(words),
                "readings": [
                    {
                        "label": label,
                        "count": n,
                        "places": [f"{name}:{line}" for name, line in places[words][label][:_KEPT_PLACES]],
                    }
                    for label, n in counts[words].items()
                ],
                "deviating": deviating[words],
            }
            for words in ranked[:kept]
        ],
    }


def _group(sentences: Sequence[Sentence]) -> dict[Words, list[Sentence]]:
    groups: dict[Words, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        groups[sentence.words].append(sentence)
    return groups


def _count_relabelled(readings: Mapping[str, int]) -> int:
    labelled = [n for label, n in readings.items() if label != OUTSIDE]
    return sum(labelled) - max(labelled)


def _add_unlabelled(
    files: Mapping[str, Sequence[Sentence]], places: Mapping[Words, dict[str, list[tuple[str, int]]]]
) -> None:
    """Adds to the known surfaces where they stand outside of every entity, in place."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for words in places:
        lengths[words[0]].add(len(words))
    for name, sentences in files.items():
        for sentence in sentences:
            for first, last in _find_outside(sentence):
                for at in range(first, last):
                    for n in lengths.get(sentence.words[at], ()):
                        words = sentence.words[at : at + n]
                        if at + n <= last and words in places:
                            places[words][OUTSIDE].append((name, sentence.line + at))


def _find_outside(sentence: Sentence) -> Iterator[tuple[int, int]]:
    """Runs of words between entities; none where there are no tags."""
    begin = 0
    for first, last, _ in sentence.spans if sentence.tags else ():
        yield begin, first
        begin = last
    if sentence.tags:
        yield begin, len(sentence.words)
