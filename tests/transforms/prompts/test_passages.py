import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TaggingError
from transforms.prompts.passages import cut_passages

TEXTS = st.lists(
    st.sampled_from(
        ["a", "word", "Next", "internationalisation", "東京", " ", "  ", "\n", "\n\n", ". ", "! ", "。", ", "]
    ),
    max_size=60,
).map("".join)


def _cut(text, size):
    return [text[start:end] for start, end in cut_passages(text, lambda passage: len(passage) <= size)]


@given(text=TEXTS, size=st.integers(1, 40))
def test_passages_fit_and_cover_every_character_in_order(text, size):
    passages = cut_passages(text, lambda passage: len(passage) <= size)
    covered = 0
    for start, end in passages:
        assert start <= covered < end
        assert end - start <= size
        covered = end
    assert covered == len(text)
    starts = [start for start, _ in passages]
    assert starts == sorted(set(starts))


@given(text=TEXTS, size=st.integers(1, 12))
def test_passages_fit_also_where_longer_texts_may_have_fewer_tokens(text, size):
    def count(passage):
        return len(passage.replace("word", "w").replace("a ", ""))

    assert all(
        count(text[start:end]) <= size for start, end in cut_passages(text, lambda passage: count(passage) <= size)
    )


def test_a_text_that_fits_is_one_passage_and_an_empty_one_has_none():
    assert _cut("One. Two.\n\nThree.", 100) == ["One. Two.\n\nThree."]
    assert _cut("", 100) == []


@pytest.mark.parametrize(
    ("text", "size", "passages"),
    [
        ("One two.\n\nThree four. Five six.", 24, ["One two.\n\nThree four. ", "Five six."]),
        ("One two three.\n\nThree four. Five six.", 27, ["One two three.\n\n", "Three four. Five six."]),
        ("One two. Three four. Five six.", 25, ["One two. Three four. ", "Five six."]),
        ("He met J. Smith, e.g. there. Then he left.", 34, ["He met J. Smith, e.g. there. ", "Then he left."]),
        ("東京へ行く。京都へ行く。", 9, ["東京へ行く。", "京都へ行く。"]),
        ("Go! A long sentence that does not fit.", 35, ["Go! ", "A long sentence that does not fit."]),
    ],
)
def test_a_passage_ends_with_a_paragraph_or_else_a_sentence(text, size, passages):
    assert _cut(text, size) == passages


def test_passages_that_cut_a_sentence_share_some_words():
    text = " ".join(f"w{number:02}" for number in range(100))
    first, second, *_ = _cut(text, 80)
    assert first.split()[-5:] == second.split()[:5]
    first, second, *_ = _cut(text, 240)
    assert first.split()[-12:] == second.split()[:12]


def test_a_word_that_does_not_fit_is_cut_by_characters():
    assert _cut("an internationalisation of", 8) == ["an ", "internat", "ionalisa", "tion of"]


def test_a_text_of_which_no_character_fits_has_failed():
    with pytest.raises(TaggingError, match="none at character 3") as error:
        cut_passages("ab secret", lambda passage: "s" not in passage and len(passage) < 9)
    assert error.value.code == "too_long"
    assert "secret" not in str(error.value)


def test_a_long_text_is_cut_with_few_questions_about_short_texts():
    sizes = []

    def fits(passage):
        sizes.append(len(passage))
        return len(passage) <= 4000

    text = " ".join(f"word{number}" for number in range(50_000))
    n_passages = len(cut_passages(text, fits))
    assert len(sizes) <= 8 * n_passages
    assert max(sizes) <= 3 * 4000
