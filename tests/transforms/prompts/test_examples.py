import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.prompts.examples import Example, ExamplePool


def _example(text, *labels):
    return Example(text, tuple((at, at + 1, label) for at, label in enumerate(labels)))


PEOPLE = [_example(f"person {n}", "PER") for n in range(3)]
PLACE, NOTHING, BOTH = _example("in Rome", "LOC"), _example("it rains"), _example("Anna, Oslo", "PER", "LOC")


def _select(examples, n, *, text="a text", order=None, **options):
    order = range(len(examples)) if order is None else order
    return ExamplePool(examples, lambda _text: iter(order), **options).select(text, n)


@pytest.mark.parametrize("span", [(0, 0, "PER"), (2, 1, "PER"), (-1, 2, "PER"), (0, 9, "PER")])
def test_an_example_has_its_entities_in_its_text(span):
    with pytest.raises(ConfigError, match="expected spans within an example's 4 characters"):
        Example("Anna", (span,))


def test_the_best_come_first_or_last():
    assert _select(PEOPLE, 2, order=[2, 0, 1]) == [PEOPLE[2], PEOPLE[0]]
    assert _select(PEOPLE, 2, order=[2, 0, 1], is_nearest_last=True) == [PEOPLE[0], PEOPLE[2]]
    assert _select(PEOPLE, 9) == PEOPLE
    assert _select(PEOPLE, 0) == []


@pytest.mark.parametrize("text", ["person  0\n", "the person 0 left", "person 0"])
def test_no_text_is_its_own_example(text):
    assert _select(PEOPLE, 3, text=text) == PEOPLE[1:]
    assert _select([Example("so the person 0 left for good", ()), PLACE], 3, text=text) == [PLACE]


def test_no_text_is_shown_twice():
    assert _select([PLACE, _example("in  Rome", "PER"), NOTHING], 3) == [PLACE, NOTHING]


def test_balanced_examples_show_each_label_and_none_before_one_comes_again():
    examples = [*PEOPLE, PLACE, NOTHING]
    assert _select(examples, 3, is_balanced=True) == [PEOPLE[0], PLACE, NOTHING]
    assert _select(examples, 5, is_balanced=True) == [PEOPLE[0], PLACE, NOTHING, PEOPLE[1], PEOPLE[2]]
    assert _select([*PEOPLE, BOTH], 2, is_balanced=True) == [PEOPLE[0], BOTH]


@given(
    examples=st.lists(st.sets(st.sampled_from(["PER", "LOC", "ORG"])), max_size=8).map(
        lambda labels: [_example(f"{at}-text", *sorted(own)) for at, own in enumerate(labels)]
    ),
    n=st.integers(0, 9),
)
def test_balanced_examples_are_as_many_and_cover_as_many_labels_as_they_can(examples, n):
    chosen = _select(examples, n, is_balanced=True)
    assert len(chosen) == min(n, len(examples))
    assert len({example.text for example in chosen}) == len(chosen)
    known = {label for example in examples for label in example.labels}
    if n >= len(known) + 1:
        assert {label for example in chosen for label in example.labels} == known


def test_the_digest_changes_with_the_examples():
    def digest(*examples):
        return ExamplePool(examples, lambda _text: iter(())).digest

    assert digest(PLACE, NOTHING) == digest(_example("in Rome", "LOC"), NOTHING)
    assert len({digest(PLACE, NOTHING), digest(NOTHING, PLACE), digest(PLACE), digest(_example("in Rome", "PER"))}) == 4
