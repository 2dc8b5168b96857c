import pytest

from schemas.errors import CheckpointError
from transforms.tags.schemes import allowed_steps, build_tag_set, recognise_scheme


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], "BIO"),
        (["O", "I-PER", "B-LOC", "I-LOC"], "IOB1"),
        (["O", "I-PER", "I-LOC"], "IO"),
        (["O", "PER", "LOC"], "IO"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "BIOES"),
        (["O", "B-PER", "I-PER", "L-PER", "U-PER"], "BILOU"),
        (["O", "B-PER", "M-PER", "E-PER", "S-PER"], "BMES"),
    ],
)
def test_recognise_scheme_names_the_scheme_of_a_label_list(tags, scheme):
    assert recognise_scheme(tags) == scheme


def test_recognise_scheme_refuses_prefixes_of_two_schemes():
    with pytest.raises(CheckpointError, match=r"\['B', 'E', 'L'\]"):
        recognise_scheme(["O", "B-PER", "L-PER", "E-PER"])


@pytest.mark.parametrize(
    ("tags", "legal", "illegal"),
    [
        (
            ["O", "B-A", "I-A", "B-B", "I-B"],
            ["O O", "O B-A", "B-A I-A", "I-A I-A", "I-A B-A", "B-A B-B", "I-A O", "B-A O"],
            ["O I-A", "B-A I-B", "I-A I-B"],
        ),
        (
            ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"],
            ["O B-A", "O S-A", "B-A E-A", "I-A E-A", "E-A S-B", "S-A S-A", "E-A O", "S-A B-B", "E-A B-A"],
            ["O I-A", "O E-A", "B-A O", "B-A S-A", "I-A O", "B-A E-B", "S-A I-A", "E-A I-A", "B-A B-A"],
        ),
    ],
)
def test_allowed_steps_follow_the_scheme(tags, legal, illegal):
    tag_set = build_tag_set(tags)
    steps, _, _ = allowed_steps(tag_set)
    for expected, cases in ((True, legal), (False, illegal)):
        for case in cases:
            before, after = (tags.index(tag) for tag in case.split())
            assert steps[before, after] == expected, case


def test_allowed_steps_mark_who_may_open_and_close():
    _, first, last = allowed_steps(build_tag_set(["O", "B-A", "I-A", "E-A", "S-A"]))
    assert first.tolist() == [True, True, False, False, True]
    assert last.tolist() == [True, False, False, True, True]
