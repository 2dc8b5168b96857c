import copy

import pytest

from tests.transforms.reports.labelled import make_labels
from training.inspection import InspectedFile, PieceCounter, inspect_files
from transforms.corpora.conll import Sentence
from transforms.reports.label_findings import LEVELS, find_findings


def inspect(*files, counter=None):
    """Files as lists of (words, tags) strings."""
    made = []
    for at, rows in enumerate(files):
        sentences = [Sentence(tuple(w.split()), tuple(t.split()), line=1) for w, t in rows]
        lines = tuple(f"{word}\t{tag}" for one in sentences for word, tag in zip(one.words, one.tags, strict=True))
        made.append(InspectedFile("abc"[at], str(at) * 64, lines, tuple(sentences)))
    return inspect_files(made, counter)


def tell(report):
    return [(one.level, one.text) for one in find_findings(report)]


def many(n, label="PER"):
    return [(f"name{at} slept well", f"B-{label} O O") for at in range(n)]


def test_find_findings_of_sound_files_is_nothing():
    assert tell(inspect(many(20), [(f"other{at} slept", "B-PER O") for at in range(20)])) == []


def test_find_findings_puts_the_gravest_first():
    found = find_findings(make_labels())
    assert [one.level for one in found] == sorted((one.level for one in found), key=LEVELS.index)
    for level in LEVELS:
        shares = [one.share for one in found if one.level == level]
        assert shares == sorted(shares, reverse=True)
        assert shares


@pytest.mark.parametrize(
    ("n", "words", "level"),
    [
        (20, "a long sentence of six words", "broken"),
        (200, "a long sentence of six words", "harmful"),
        (20, "so short", "note"),
    ],
)
def test_find_findings_weighs_leaks_by_length_and_share(n, words, level):
    shared = (words, " ".join("O" for _ in words.split()))
    found = tell(inspect([*many(20), shared], [*((f"other{at}", "B-PER") for at in range(n)), shared]))
    assert [(one, "also stands in a" in text) for one, text in found] == [(level, True)]


def test_find_findings_names_a_label_that_one_file_lacks():
    report = inspect(many(20), [*((f"x{at}", "B-PER") for at in range(20)), *((f"y{at}", "B-ORG") for at in range(12))])
    assert tell(report) == [
        ("harmful", "The label ORG stands in b only; training refuses labels that are not trained on.")
    ]


def test_find_findings_names_labels_that_differ_in_case_and_rare_ones():
    found = tell(inspect([*many(20), ("Ada", "B-Per")]))
    assert ("harmful", "The labels PER and Per differ in case only.") in found
    assert ("note", "The label Per has 1 mention in all: too few to learn it or to tell how well.") in found


def test_find_findings_names_a_mixed_scheme_and_no_entities():
    found = tell(inspect([*many(20), ("a b", "B-PER L-PER"), ("c", "S-PER")], [("d", "O")]))
    mixed = "The prefixes B L S of a belong to no one scheme: BIOES, the nearest, has no L (line 2)"
    assert ("harmful", f"{mixed}; conlleval's rules are used.") in found
    assert ("harmful", "b has no entities.") in found


@pytest.mark.parametrize(("n", "level"), [(20, "harmful"), (200, "note")])
def test_find_findings_weighs_conflicts_by_their_share(n, level):
    again = [("name0 slept badly", "B-PER O O"), ("name0 slept long", "B-ORG O O")]
    found = tell(inspect([*many(n), *again, *((f"firm{at} fell", "B-ORG O") for at in range(9))]))
    assert found == [(level, f"Of {n + 11:,} mentions 1 has another label than most of the same words.")]


def test_find_findings_tells_of_words_that_were_left_unlabelled():
    again = [("name0 slept badly", "B-PER O O"), ("name0 slept long", "O O O")]
    found = tell(inspect([*many(20), *again]))
    text = "Words that are labelled more often than not stand unlabelled 1 time, beside 21 mentions."
    assert found == [("harmful", text)]


def test_find_findings_counts_what_the_model_cannot_read():
    counter = PieceCounter(lambda texts: ([300] + [3] * (len(texts) - 1), 7), 256, "tiny")
    found = tell(inspect(many(50), counter=counter))
    assert (
        "harmful",
        "1 sentence of a has more than 256 pieces and will be cut between words: nothing is lost but context.",
    ) in found
    assert any("7 pieces of a" in text and "unknown to the tokenizer" in text for _, text in found)


def test_find_findings_names_lines_without_tags_and_counts_the_rest():
    bare = [Sentence(("bare",), (), line=at) for at in range(1, 15)]
    found = tell(inspect_files([InspectedFile("a", "0" * 64, ("bare",), tuple(bare), short_lines=(31,))]))
    lines = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 2 more"
    assert ("broken", f"14 sentences of a have a single column and no tags: lines {lines}.") in found
    short = "1 line of a lacks a column, most likely the tag; training refuses it: line 31."
    assert ("broken", short) in found


def test_find_findings_names_files_that_are_the_same():
    one, other = (InspectedFile(name, "0" * 64, ("x\tO",), (Sentence(("x",), ("O",)),), times=2) for name in "ab")
    found = tell(inspect_files([one, other]))
    assert ("note", "a is given 2 times and is read once.") in found
    assert ("harmful", "The files a and b are the same, byte for byte.") in found


def test_find_findings_wants_the_label_o_renamed():
    found = tell(inspect([*many(20), ("x y", "B-O I-O")]))
    assert ("broken", "The label O must be renamed: it means no entity, and training refuses it.") in found


def test_find_findings_reads_a_report_and_changes_nothing():
    report = make_labels()
    before = copy.deepcopy(report)
    find_findings(report)
    assert report == before
