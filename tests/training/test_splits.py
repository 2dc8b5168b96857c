from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from training.examples import LabelledFile, LabelledSentence
from training.splits import digest_sentences, parse_shares, split_files

SHARES = (0.8, 0.1, 0.1)


def make_file(*texts, name="train.conll", opens=()):
    sentences = [LabelledSentence(tuple(text.split()), (), at in opens) for at, text in enumerate(texts)]
    return LabelledFile(name, "0" * 64, tuple(sentences))


def numbered(n, start=0):
    return [f"sentence number {at}" for at in range(start, start + n)]


def texts_of(files):
    return [" ".join(sentence.words) for file in files for sentence in file.sentences]


def test_split_files_gives_every_side_its_share_and_loses_nothing():
    split = split_files([make_file(*numbered(100))], SHARES, seed=0)
    assert split.sizes == (80, 10, 10)
    assert split.shares == (0.8, 0.1, 0.1)
    assert split.left_out == 0
    assert sorted(texts_of([*split.train, *split.dev, *split.test])) == sorted(numbered(100))
    assert [file.name for file in (*split.train, *split.dev, *split.test)] == [
        "train.conll#train",
        "train.conll#dev",
        "train.conll#test",
    ]


def test_split_files_keeps_the_order_of_the_sentences():
    split = split_files([make_file(*numbered(50))], SHARES, seed=0)
    places = [int(text.split()[-1]) for text in texts_of(split.train)]
    assert places == sorted(places)


def test_split_files_depends_on_seed_and_content_and_not_on_the_order_of_lines():
    texts = numbered(40)
    one, same, turned = (
        split_files([make_file(*lines)], SHARES, seed=3) for lines in (texts, list(texts), list(reversed(texts)))
    )
    assert one == same
    assert set(texts_of(turned.dev)) == set(texts_of(one.dev))
    assert set(texts_of(split_files([make_file(*texts)], SHARES, seed=4).dev)) != set(texts_of(one.dev))


def test_split_files_cuts_between_documents_where_they_are_marked():
    texts, opens = numbered(60), set(range(0, 60, 3))
    split = split_files([make_file(*texts, opens=opens)], SHARES, seed=0)
    documents = {text: at // 3 for at, text in enumerate(texts)}
    sides = [{documents[text] for text in texts_of(part)} for part in (split.train, split.dev, split.test)]
    assert [len(side) for side in sides] == [16, 2, 2]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(sentence.opens_document for sentence in split.train[0].sentences) == 16


def test_split_files_leaves_out_what_an_earlier_side_has():
    texts = [text for at in range(20) for text in ("by our reporter", f"story {at} begins", f"story {at} ends")]
    split = split_files([make_file(*texts, opens=set(range(0, 60, 3)))], SHARES, seed=0)
    assert "by our reporter" in texts_of(split.train)
    assert "by our reporter" not in texts_of([*split.dev, *split.test])
    assert split.left_out == 4
    # The sentence with the mark is gone; the document begins all the same.
    assert sum(sentence.opens_document for sentence in split.dev[0].sentences) == 2


def test_split_files_keeps_the_same_words_of_two_files_together():
    one, other = make_file(*numbered(40), name="a"), make_file(*numbered(60, start=10), name="b")
    split = split_files([one, other], SHARES, seed=1)
    assert split.left_out == 0
    assert sum(split.sizes) == 100
    assert not set(texts_of(split.dev)) & set(texts_of(split.train))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 5),
)
def test_split_files_never_has_the_same_words_on_two_sides(drawn, seed):
    files = [
        make_file(*(f"w{n}" for n, _ in rows), name=f"f{at}", opens={k for k, (_, opens) in enumerate(rows) if opens})
        for at, rows in enumerate(drawn)
    ]
    try:
        split = split_files(files, (0.6, 0.2, 0.2), seed=seed)
    except ConfigError:
        return
    sides = [set(texts_of(part)) for part in (split.train, split.dev, split.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    kept = Counter(texts_of([*split.train, *split.dev, *split.test]))
    assert kept <= Counter(texts_of(files))
    assert kept.total() + split.left_out == Counter(texts_of(files)).total()
    # Words are lost only where a copy of them stays.
    assert set(kept) == set(texts_of(files))
    assert split == split_files(files, (0.6, 0.2, 0.2), seed=seed)


def test_split_files_refuses_too_few_documents():
    with pytest.raises(ConfigError, match=r"found 2 and none for test; give larger shares"):
        split_files([make_file("a b", "c d", "a b")], SHARES, seed=0)


def test_digest_sentences_tells_words_and_tags_apart():
    plain = LabelledSentence(("Rome", "fell"), ())
    assert digest_sentences([plain]) == digest_sentences([LabelledSentence(("Rome", "fell"), (), True)])
    assert digest_sentences([plain]) != digest_sentences([LabelledSentence(("Rome", "fell"), ((0, 1, "LOC"),))])
    assert digest_sentences([plain]) != digest_sentences(
        [LabelledSentence(("Rome",), ()), LabelledSentence(("fell",), ())]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.8", "two or three shares such as 0.8/0.1/0.1, found '0.8'"),
        ("a/b", "two or three shares"),
        ("0.5/0.2/0.2/0.1", "two or three shares"),
        ("0.8/0.1/0.2", "sum to 1, found '0.8/0.1/0.2', which sums to 1.1"),
        ("1/0", "above 0 to train and to choose on"),
        ("1.2/-0.2", "above 0"),
        ("0.8/0.4/-0.2", "above 0"),
        ("nan/0.5/0.5", "above 0"),
    ],
)
def test_parse_shares_refuses_what_is_no_division(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_shares(text)
