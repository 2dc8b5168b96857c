import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from training.inspection import (
    MIXED,
    PieceCounter,
    breaks,
    describe_step,
    find_scheme,
    inspect_files,
    read_labelled,
)
from transforms.tags.encode import encode_tags


@pytest.fixture
def inspect(tmp_path):
    """Writes files from their content and inspects them."""

    def run(*contents, counter=None):
        paths = []
        for at, content in enumerate(contents):
            path = tmp_path / f"{'abc'[at]}.conll"
            path.write_text(content, encoding="utf-8")
            paths.append(str(path))
        return inspect_files(read_labelled(paths), counter)

    return run


def steps_of(*sequences):
    steps = {}
    for tags in sequences:
        for step in zip(("O", *tags), (*tags, "O"), strict=True):
            steps[step] = steps.get(step, 0) + 1
    return steps


@given(
    st.sampled_from(("BIO", "BIOES", "BILOU", "BMES")),
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=8),
)
def test_find_scheme_never_blames_a_file_for_its_own_scheme(scheme, lengths):
    sequences = []
    for row in lengths:
        spans, at = [], 0
        for n in row:
            spans += [(at, at + n, "PER")] if n else []
            at += n + 1
        sequences.append(encode_tags(spans, at, scheme=scheme))
    steps = steps_of(*sequences)
    found = find_scheme(steps)
    assert found != MIXED
    assert not [step for step in steps if breaks(step, found)]


def test_find_scheme_tells_iob1_from_bio_with_slips():
    assert find_scheme(steps_of(["I-PER", "B-PER", "O"], ["I-LOC"])) == "IOB1"
    assert find_scheme(steps_of(["B-PER", "I-PER"], ["B-LOC"], ["O", "I-LOC"])) == "BIO"
    assert find_scheme(steps_of(["I-PER", "O"])) == "IO"
    assert find_scheme(steps_of(["O"])) == "BIO"
    assert find_scheme(steps_of(["B-PER", "L-PER"], ["S-PER"])) == MIXED


def test_find_scheme_keeps_bio_for_a_file_with_as_many_slips_as_entities():
    steps = steps_of(["B-PER", "I-PER", "O", "I-LOC"])
    assert find_scheme(steps) == "BIO"
    assert {step for step in steps if breaks(step, "BIO")} == {("O", "I-LOC")}


def test_inspect_files_takes_a_tag_that_is_none_for_no_part_of_a_scheme(inspect):
    (file,) = inspect("Anna B-PER\n\nslept 0\n\nwell 0\n\nRome I-LOC\n")["files"]
    assert file["scheme"] == "BIO"
    assert [(row["after"], row["lines"]) for row in file["illegal"]["rows"]] == [("I-LOC", [7])]


def test_inspect_files_reads_on_over_lines_that_lack_their_tag(inspect):
    (file,) = inspect("Anna B-PER\nslept\nwell O\n\nin O\nRome\n\nRome B-LOC\n")["files"]
    assert file["short_lines"] == {"count": 2, "lines": [2, 6]}
    assert (file["sentences"], file["words"], file["entities"]) == (3, 6, {"LOC": 1, "PER": 1})


def test_inspect_files_names_the_first_line_of_each_stray_prefix(inspect):
    (file,) = inspect("a B-X\nb I-X\nc E-X\n\nd S-X\n\ne U-X\n\nf B-X\ng L-X\n")["files"]
    assert file["strays"] == {"nearest": "BIOES", "lines": {"L": 10, "U": 7}}


def test_read_labelled_counts_how_often_a_file_is_named(tmp_path):
    (tmp_path / "a.conll").write_text("Anna B-PER\n")
    (file,) = read_labelled([str(tmp_path / "a.conll")] * 2)
    assert file.times == 2


def test_describe_step_says_what_conlleval_reads():
    assert describe_step(("O", "I-PER")) == "a PER begins"
    assert describe_step(("I-PER", "I-LOC")) == "a LOC begins"
    assert describe_step(("B-PER", "O")) == "the PER ends"
    assert describe_step(("B-PER", "M-PER")) == "the PER goes on"


def test_inspect_files_counts_labels_and_names_lines_of_illegal_steps(inspect):
    report = inspect("Anna B-PER\nslept O\n\nin O\nRome I-LOC\nWest I-PER\n\nOtto B-PER\n\nMia B-PER\n")
    (file,) = report["files"]
    assert file["entities"] == {"LOC": 1, "PER": 4}
    assert file["scheme"] == "BIO"
    assert file["illegal"]["sentences"] == 1
    assert file["illegal"]["rows"] == [
        {"before": "I-LOC", "after": "I-PER", "count": 1, "becomes": "a PER begins", "lines": [6]},
        {"before": "O", "after": "I-LOC", "count": 1, "becomes": "a LOC begins", "lines": [5]},
    ]


def test_inspect_files_names_the_last_word_of_an_entity_that_does_not_end(inspect):
    report = inspect("Anna B-PER\nBraun E-PER\n\nsaw O\nRome B-LOC\n")
    (row,) = report["files"][0]["illegal"]["rows"]
    assert report["files"][0]["scheme"] == "BIOES"
    assert (row["before"], row["after"], row["lines"]) == ("B-LOC", "O", [5])


def test_inspect_files_reads_on_over_tags_that_are_none(inspect):
    (file,) = inspect("Anna PER\nslept 0\nwell 0\n\nRome B-LOC\n")["files"]
    assert file["odd_tags"] == [
        {"tag": "0", "count": 2, "lines": [2, 3]},
        {"tag": "PER", "count": 1, "lines": [1]},
    ]


def test_inspect_files_counts_sentences_without_tags(inspect):
    (file,) = inspect("Anna\nslept\n\nRome B-LOC\n")["files"]
    assert (file["sentences_without_tags"], file["untagged_lines"]) == (1, [1])
    assert [(row["columns"], row["count"], row["lines"]) for row in file["columns"]] == [(1, 2, [1, 2]), (2, 1, [4])]


def test_inspect_files_finds_documents_and_words_of_nothing(inspect):
    content = "-DOCSTART- O\n\nAnna B-PER\n\n-DOCSTART- O\n\n-DOCSTART- O\n\n\u200b\tO\nslept\tO\n\n-DOCSTART- O\n"
    (file,) = inspect(content)["files"]
    assert file["documents"] == 2
    assert file["empty_documents"] == {"count": 2, "lines": [5, 12]}
    assert file["blank_words"] == {"count": 1, "lines": [9]}


def test_inspect_files_measures_sentences_in_words_and_pieces(inspect):
    def count(texts):
        return [2 * len(text.split()) + 2 for text in texts], 3

    content = "\n".join("\n".join(["word O"] * n) + "\n" for n in (1, 2, 9))
    (file,) = inspect(content, counter=PieceCounter(count, 8, "tiny"))["files"]
    assert file["lengths"] == {"median": 2, "p95": 9, "p99": 9, "longest": 9}
    assert file["longest"][0] == {"line": 6, "words": 9}
    assert file["pieces"]["longest"] == 20
    assert file["pieces"]["over"] == {"count": 1, "lines": [6]}
    assert file["pieces"]["unknown"] == 3


def test_inspect_files_compares_every_two_files(inspect):
    report = inspect("Anna B-PER\n", "Anna O\n", "Otto B-PER\n")
    pairs = [(leak["first"][-7:], leak["second"][-7:], leak["second_count"]) for leak in report["leaks"]]
    assert pairs == [("a.conll", "b.conll", 1), ("a.conll", "c.conll", 0), ("b.conll", "c.conll", 0)]


def test_read_labelled_tells_files_of_one_name_apart(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "same").mkdir(parents=True)
        (tmp_path / folder / "same" / "a.conll").write_text("Anna B-PER\n")
    files = read_labelled([str(tmp_path / folder / "same" / "a.conll") for folder in ("two", "one")])
    assert [file.name for file in files] == [str(tmp_path / name / "same" / "a.conll") for name in ("two", "one")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n", "expected labelled sentences"),
        (b"Ann\xff O\n", "found a bad byte at 3"),
    ],
)
def test_read_labelled_refuses_what_is_no_table(tmp_path, content, message):
    (tmp_path / "a.conll").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_labelled([str(tmp_path / "a.conll")])
