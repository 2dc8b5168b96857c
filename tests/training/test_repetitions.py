from training.repetitions import find_conflicts, find_duplicates, find_leaks
from transforms.corpora.conll import parse_sentences


def read(text):
    """Sentences from `word/tag` pairs, a sentence per line."""
    lines = []
    for line in text.strip().splitlines():
        lines += [pair.replace("/", "\t") for pair in line.split()] + [""]
    return list(parse_sentences(lines, source="a"))


def test_find_duplicates_counts_repeats_and_those_tagged_otherwise():
    sentences = read(
        """
        Anna/B-PER slept/O
        Rome/B-LOC
        Anna/O slept/O
        one/O two/O three/O four/O five/O
        one/O two/O three/O four/O five/O
        one/O two/O three/O four/O five/O
        """
    )
    found = find_duplicates(sentences, kept=9)
    assert (found["count"], found["share"], found["long"], found["disagreeing"]) == (3, 0.5, 2, 1)
    assert found["rows"][0] == {"words": "Anna slept", "count": 2, "taggings": 2, "lines": [1, 6]}
    assert found["rows"][1]["count"] == 3


def test_find_leaks_counts_on_both_sides():
    first = read("Anna/B-PER slept/O\nAnna/B-PER slept/O\nRome/B-LOC\none/O two/O three/O four/O five/O")
    second = read("Rome/B-ORG\nnew/O\none/O two/O three/O four/O five/O\nAnna/B-PER slept/O")
    found = find_leaks(first, second, kept=9)
    assert (found["first_count"], found["first_share"], found["first_long"]) == (4, 1.0, 1)
    assert (found["second_count"], found["second_share"], found["second_long"]) == (3, 0.75, 1)
    assert found["disagreeing"] == 1
    assert [row["is_alike"] for row in found["rows"]] == [True, False, True]
    assert found["rows"][1]["words"] == "Rome"


def test_find_conflicts_lists_readings_with_places():
    files = {
        "train": read("Rome/B-LOC fell/O\nRome/B-LOC won/O\nRome/B-ORG won/O\nRome/O fell/O"),
        "dev": read("New/B-LOC York/I-LOC\nin/O New/O York/O"),
    }
    found = find_conflicts(files, kept=9)
    assert (found["mentions"], found["surfaces"], found["relabelled"]) == (4, 2, 1)
    rome, york = found["rows"]
    assert rome["readings"] == [
        {"label": "LOC", "count": 2, "places": ["train:1", "train:4"]},
        {"label": "ORG", "count": 1, "places": ["train:7"]},
        {"label": "O", "count": 1, "places": ["train:10"]},
    ]
    assert rome["deviating"] == 2
    assert york["words"] == "New York"


def test_find_conflicts_does_not_count_words_inside_a_longer_entity():
    found = find_conflicts({"a": read("York/B-LOC\nNew/B-LOC York/I-LOC\nNew/B-LOC York/O")}, kept=9)
    assert [row["words"] for row in found["rows"]] == ["York"]
    assert [(one["label"], one["count"]) for one in found["rows"][0]["readings"]] == [("LOC", 1), ("O", 1)]


def test_find_conflicts_counts_as_unlabelled_only_what_is_mostly_labelled():
    rare = read("us/B-LOC\n" + "\n".join(["us/O"] * 5))
    usual = read("Rome/O\n" + "\n".join(["Rome/B-LOC"] * 5))
    assert find_conflicts({"a": rare}, kept=9)["unlabelled"] == 0
    assert find_conflicts({"a": usual}, kept=9)["unlabelled"] == 1


def test_sentences_without_tags_have_no_readings():
    sentences = [*read("Rome/B-LOC"), *parse_sentences(["Rome", ""], source="b")]
    assert find_conflicts({"a": sentences}, kept=9)["rows"] == []
