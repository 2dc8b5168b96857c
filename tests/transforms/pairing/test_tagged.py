"""CoNLL files line by line: what lines up, what does not, and what is made of it."""

import pytest

from schemas.errors import ConfigError, FileError
from transforms.corpora.conll import Sentence
from transforms.corpora.files import stat_file
from transforms.pairing.tagged import TagConfig, TaggedFiles, pair_sentences, read_tagged_blocks

BIO = TagConfig(scheme="BIO", predicted_scheme="BIO")


@pytest.fixture
def read(tmp_path):
    """Writes the two files, reads them and gives the one block."""

    def run(gold, predicted=None, config=BIO, **columns):
        (tmp_path / "gold.conll").write_text(gold)
        if predicted is not None:
            (tmp_path / "predicted.conll").write_text(predicted)
        files = TaggedFiles(
            stat_file(str(tmp_path / "gold.conll")),
            None if predicted is None else stat_file(str(tmp_path / "predicted.conll")),
            **columns,
        )
        (block,) = read_tagged_blocks(files, config)
        return block

    return run


def _spans(block, spans):
    rows = zip(spans.document, spans.first, spans.last, spans.label, strict=True)
    return [(int(d), block.texts.surface(int(d), int(f), int(e)), block.labels[label]) for d, f, e, label in rows]


def test_sentences_are_documents_where_none_are_marked(read):
    block = read("Anna B-PER\nslept O\n\nRome B-LOC\n", "Anna B-PER\nslept O\n\nRome O\n")
    assert [document.n_tokens for document in block.documents] == [2, 1]
    assert [document.id.rpartition("#")[2] for document in block.documents] == ["0", "1"]
    assert _spans(block, block.default.gold) == [(0, "Anna", "PER"), (1, "Rome", "LOC")]
    assert _spans(block, block.default.predicted) == [(0, "Anna", "PER")]
    assert block.tokens.tolist() == [[2, 2], [0, 1]]
    assert block.counts["sentences"] == 2


def test_marked_documents_hold_their_sentences(read):
    text = "# newdoc id = x\nAnna B-PER\n\nslept O\n\n# newdoc id = y\nBo B-PER\n"
    block = read(text, text)
    assert [(document.id, document.n_tokens) for document in block.documents] == [("x", 2), ("y", 1)]
    assert block.texts.text(0) == "Anna\nslept"
    assert block.texts.place(1, 2, 3) == (0, 2)


def test_one_file_may_hold_both_tags(read):
    block = read("Anna NN B-PER O\nBo NN O B-PER\n")
    assert _spans(block, block.default.gold) == [(0, "Anna", "PER")]
    assert _spans(block, block.default.predicted) == [(0, "Bo", "PER")]
    block = read("B-PER Anna O\nO Bo B-PER\n", gold_columns="1,0,2")
    assert _spans(block, block.default.gold) == [(0, "Anna", "PER")]


def test_one_file_with_one_column_of_tags_is_refused(read):
    with pytest.raises(FileError, match=r"expected 3 columns in .* line 1, found 2"):
        read("Anna B-PER\n")


def test_tokens_cut_otherwise_are_joined_through_their_characters(read):
    block = read("# text = Anna's dog\nAnna B-PER\n's O\ndog O\n", "Anna's B-PER\ndog O\n")
    assert _spans(block, block.default.gold) == [(0, "Anna", "PER")]
    assert _spans(block, block.default.predicted) == [(0, "Anna's", "PER")]
    assert block.texts.place(0, 0, 2) == (0, 6)
    assert block.texts.count_tokens(0, 0, 2) == 2
    assert block.counts["retokenized_sentences"] == 1
    assert block.tokens.tolist() == [[1, 3]]


def test_spelling_is_counted_and_shown(read):
    block = read("a O\n`` O\nb B-X\n", 'a O\n" O\nb B-X\n')
    assert block.counts["spelling_differences"] == 1
    ((_, shown),) = block.listed["spelling"]
    assert (shown["line"], shown["gold"], shown["predicted"]) == (2, "``", '"')
    assert block.tokens.tolist() == [[3, 3]]


def test_tokens_that_do_not_line_up_name_file_line_and_both_tokens(read):
    with pytest.raises(
        ConfigError, match=r"expected token 'c' in '.*predicted.conll' line 3 as in .* line 3, found token 'x'"
    ):
        read("a O\nb O\nc O\nd O\n", "a O\nb O\nx O\n")


def test_a_file_that_ends_too_early_or_too_late_is_refused(read):
    with pytest.raises(ConfigError, match=r"expected a sentence in .*predicted.* line 3: 'b', found the end"):
        read("a O\n\nb O\n", "a O\n")
    with pytest.raises(ConfigError, match=r"expected the end of .*predicted.* found a sentence in line 3: 'b'"):
        read("a O\n", "a O\n\nb O\n")


def test_a_file_without_tags_is_refused(read):
    with pytest.raises(
        ConfigError, match=r"expected tokens and tags in .*predicted.conll', found one column in line 1"
    ):
        read("a O\n", "a\n")


def test_a_tag_of_another_scheme_is_named_with_its_line(read):
    with pytest.raises(ConfigError, match=r"predicted.conll' line 2: expected tags in the scheme BIO.*'S-PER'"):
        read("a O\nb O\n", "a O\nb S-PER\n")


def test_illegal_tags_are_counted_and_read_by_the_named_policy(read):
    gold, predicted = "a B-X\n\nb O\n", "a I-X\n\nb O\n"
    block = read(gold, predicted)
    assert (block.counts["gold invalid sequences"], block.counts["predicted invalid sequences"]) == (0, 1)
    assert block.explained is block.default
    assert (len(block.default.predicted), len(block.strict.predicted)) == (1, 0)
    discarding = read(gold, predicted, TagConfig(scheme="BIO", predicted_scheme="BIO", repair="discard"))
    assert discarding.explained is discarding.strict


def test_both_sides_may_follow_schemes_of_their_own(read):
    config = TagConfig(scheme="BIO", predicted_scheme="BIOES")
    block = read("a B-X\nb I-X\nc B-Y\n", "a B-X\nb E-X\nc S-Y\n", config)
    assert _spans(block, block.strict.gold) == _spans(block, block.strict.predicted) == [(0, "a b", "X"), (0, "c", "Y")]
    assert block.tokens is None


def test_labels_are_renamed_and_left_out_on_both_sides(read):
    config = TagConfig(scheme="BIO", predicted_scheme="BIO", label_map={"corporation": "ORG", "product": "O"})
    block = read("a B-corporation\nb B-product\n", "a B-ORG\nb B-product\n", config)
    assert _spans(block, block.default.gold) == _spans(block, block.default.predicted) == [(0, "a", "ORG")]
    assert block.tokens.tolist() == [[2, 2]]


def test_sentences_in_memory_pair_as_files_do(read):
    block = read("a B-X\nb I-X\n\nc B-Y\n", "a B-X\nb O\n\nc B-Y\n")
    documents = [
        [Sentence(("a", "b"), ("B-X", "I-X"), predicted_tags=("B-X", "O"))],
        [Sentence(("c",), ("B-Y",), predicted_tags=("B-Y",))],
    ]
    made = pair_sentences(documents, source="gold.conll", config=BIO)
    for side in ("gold", "predicted"):
        assert _spans(made, getattr(made.strict, side)) == _spans(block, getattr(block.strict, side))
    assert made.tokens.tolist() == block.tokens.tolist()
    assert [document.id for document in made.documents] == ["gold.conll#0", "gold.conll#1"]


def test_blocks_end_between_documents_and_lose_none(tmp_path):
    text = "".join(f"w{at} B-X\n\n" for at in range(50))
    (tmp_path / "a.conll").write_text(text)
    file = stat_file(str(tmp_path / "a.conll"))
    blocks = list(read_tagged_blocks(TaggedFiles(file, file), BIO, block_tokens=7))
    assert [document.row for block in blocks for document in block.documents] == list(range(50))
    assert {len(block.documents) for block in blocks} == {7, 1}
