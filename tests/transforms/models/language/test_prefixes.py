import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.models.language.prefixes import SHORTEST, Group, PrefixStore, group_prompts

INSTRUCTIONS = tuple(range(100, 140))
SHOTS = tuple(range(200, 230))


@given(st.lists(st.lists(st.sampled_from([INSTRUCTIONS, SHOTS, (1,), (2, 3)]), min_size=1, max_size=4), max_size=8))
def test_every_prompt_is_in_one_group_and_begins_with_its_prefix(parts):
    prompts = [tuple(id_ for part in prompt for id_ in part) for prompt in parts]

    groups = group_prompts(prompts)

    assert sorted(at for group in groups for at in group.prompts) == list(range(len(prompts)))
    for prefix, members in groups:
        assert not prefix or len(prefix) >= SHORTEST
        # Something of each is left to compute.
        assert all(prompts[at][: len(prefix)] == prefix and len(prompts[at]) > len(prefix) for at in members)


def test_an_odd_prompt_shortens_nobodys_prefix():
    prompts = [
        (*INSTRUCTIONS, *SHOTS, 1),
        (7, 8),
        (*INSTRUCTIONS, *SHOTS, 2),
        INSTRUCTIONS[:20],
        (*INSTRUCTIONS, *SHOTS),
    ]

    assert group_prompts(prompts) == [Group((*INSTRUCTIONS, *SHOTS[:-1]), [0, 2, 4]), Group((), [1, 3])]


def test_a_prefix_of_many_is_preferred_to_a_longer_one_of_few():
    many = [(*INSTRUCTIONS, at) for at in range(5)]
    few = [(*INSTRUCTIONS, *SHOTS, at) for at in range(2)]

    assert group_prompts([*many, *few]) == [Group(INSTRUCTIONS, [0, 1, 2, 3, 4, 5, 6])]


def test_a_single_prompt_shares_what_earlier_ones_began_with():
    prompt, earlier = (*INSTRUCTIONS, 1), [(*INSTRUCTIONS, 2), (9,) * 50, (9,) * 60]

    assert group_prompts([prompt], earlier) == [Group(INSTRUCTIONS, [0])]


class _Attention:
    """Keeps, of each token, the sum of the ids up to it."""

    def __init__(self):
        self.computed = []

    def extend(self, known, ids):
        self.computed.append(len(ids))
        before = known[0][0][0, 0] if known else np.array([], dtype=int)
        sums = np.concatenate([before, np.cumsum(ids) + (before[-1] if len(before) else 0)])
        return [(sums[None, None], sums[None, None])]


def _sums(shared):
    return shared.layers[0][0][0, 0].tolist()


def test_only_what_is_new_of_a_prefix_is_computed():
    attention = _Attention()
    store = PrefixStore(attention.extend, most_tokens=1000)

    first, again = store.compute(INSTRUCTIONS), store.compute(INSTRUCTIONS)
    longer, shorter = store.compute(INSTRUCTIONS + SHOTS), store.compute(INSTRUCTIONS[:30])
    other = store.compute((*INSTRUCTIONS, 5, 6))

    assert attention.computed == [40, 30, 2]
    assert [shared.n_reused for shared in (first, again, longer, shorter, other)] == [0, 40, 40, 30, 40]
    assert _sums(longer) == np.cumsum(INSTRUCTIONS + SHOTS).tolist()
    assert _sums(shorter) == np.cumsum(INSTRUCTIONS[:30]).tolist()
    assert _sums(other) == np.cumsum((*INSTRUCTIONS, 5, 6)).tolist()


def test_the_prefix_that_was_not_used_for_longest_is_forgotten():
    attention = _Attention()
    store = PrefixStore(attention.extend, most_tokens=80)
    store.compute(INSTRUCTIONS)
    store.compute(SHOTS)
    store.compute(INSTRUCTIONS)
    store.compute(tuple(range(300, 320)))

    assert store.compute(INSTRUCTIONS).n_reused == 40
    assert store.compute(SHOTS).n_reused == 0


def test_no_prefix_is_nothing():
    assert PrefixStore(_Attention().extend, most_tokens=80).compute(()).n_tokens == 0
