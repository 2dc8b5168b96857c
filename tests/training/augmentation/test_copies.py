import random

import pytest

from tests.training.augmentation.recipes import ANNA, OTTO, RIVER, build_sentence, make_material
from training.augmentation.copies import draw_copies, draw_each_pass, is_in_mention, replace_words

CORPUS = [build_sentence(([f"w{at}"], None)) for at in range(100)]


def _shout(sentence, chance):
    return build_sentence(([sentence.words[0].upper() + str(chance.random())], None))


def test_a_sentence_gets_one_copy_for_each_whole_share():
    for share, most in ((0.3, 1), (1, 1), (1.5, 2), (3, 3)):
        copies = draw_copies(CORPUS, _shout, share=share, key="k")
        names = [copy.words[0].split("0.")[0] for copy in copies]
        assert len(copies) == round(100 * share)
        assert max(names.count(name) for name in names) == most


def test_what_chance_does_to_a_sentence_does_not_depend_on_how_many_others_are_drawn():
    few = draw_copies(CORPUS, _shout, share=0.2, key="k")
    assert draw_copies(CORPUS, _shout, share=0.9, key="k")[:20] == few


def test_every_sentence_has_its_own_chance():
    copies = draw_copies(CORPUS, _shout, share=1, key="k")
    assert len({copy.words[0].partition(".")[2] for copy in copies}) == 100


def test_unchanged_sentences_are_no_copies():
    assert draw_copies(CORPUS, lambda sentence, chance: sentence, share=2, key="k") == []


def test_copies_differ_by_seed_pass_and_name():
    def draw(name="a", seed=0, epoch=0):
        return draw_each_pass(name, 0.5, _shout, make_material(CORPUS, seed=seed)).draw(epoch)

    assert draw() == draw()
    assert draw() != draw(name="b")
    assert draw() != draw(seed=1)
    assert draw() != draw(epoch=1)


def test_drawing_leaves_the_global_chance_alone():
    state = random.getstate()
    draw_copies(CORPUS, _shout, share=1, key="k")
    assert random.getstate() == state


def test_replace_words_moves_spans_along():
    longer = replace_words(ANNA, [("Mia", "de", "Vries"), ("went",), (), ("Rome",), (".", ".")])
    assert longer.words == ("Mia", "de", "Vries", "went", "Rome", ".", ".")
    assert longer.spans == ((0, 3, "PER"), (4, 5, "LOC"))


@pytest.mark.parametrize(
    ("sentence", "expected"), [(OTTO, [True, True, False, False, False, False]), (RIVER, [False] * 4)]
)
def test_is_in_mention(sentence, expected):
    assert is_in_mention(sentence) == expected
