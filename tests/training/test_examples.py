import numpy as np
import pytest

from schemas.errors import ConfigError
from tests.training.recipes import make_tokenizer
from training.examples import (
    IGNORED,
    LabelledFile,
    LabelledSentence,
    build_bio_tags,
    chain_sentences,
    check_label_map,
    collect_labels,
    cut_windows,
    join_windows,
    map_labels,
    read_files,
    short_name,
    split_words,
)
from transforms.text.tokens import ColumnTokenizer

TAGS = build_bio_tags(["LOC", "PER"])
SENTENCE = LabelledSentence(("Anna", "underway", "to", "Rome"), ((0, 2, "PER"), (3, 4, "LOC")))


def _file(*sentences, name="a.conll"):
    return LabelledFile(name, "", tuple(sentences))


def test_read_files_reads_any_scheme_and_suffix(tmp_path):
    path = tmp_path / "gold.txt"
    path.write_text("Anna I-PER\nOtto B-PER\nBraun I-PER\n\nRome I-LOC\n", encoding="utf-8")
    (file,) = read_files([str(path)], flag="--train")
    assert [sentence.tags for sentence in file.sentences] == [["B-PER", "B-PER", "I-PER"], ["B-LOC"]]


def test_read_files_keeps_marks_of_documents(tmp_path):
    path = tmp_path / "gold.conll"
    path.write_text("-DOCSTART- O\n\nAnna B-PER\n\nslept O\n", encoding="utf-8")
    (file,) = read_files([str(path)], flag="--train")
    assert [sentence.opens_document for sentence in file.sentences] == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Anna\nslept\n", "found one column"),
        (b"Anna went\nto Rome\n", "expected tags such as B-PER or O in .* found 'went'"),
        (b"so O\n\nAnna\tO\nRome\tB-LOC x\n", "found 'B-LOC x' at line 4"),
        (b"Anna B-PER\nRome B-O\n", "expected labels other than O, .* found 'B-O' at line 2; rename"),
        (b"\n\n", "expected labelled sentences"),
        (b"Ann\xff O\n", "found a bad byte at 3"),
        (b"Anna x B-PER\nslept O\n", "expected 3 columns"),
    ],
)
def test_read_files_refuses_what_is_not_labelled(tmp_path, content, message):
    path = tmp_path / "bad.conll"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_files([str(path)], flag="--train")


def test_read_files_names_the_flag_of_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"found none; check --dev"):
        read_files([str(tmp_path / "missing.conll")], flag="--dev")


def test_map_labels_renames_drops_and_keeps():
    sentence = LabelledSentence(("a", "b", "c"), ((0, 1, "group"), (1, 2, "product"), (2, 3, "PER")))
    (mapped,) = map_labels([_file(sentence)], {"group": "ORG", "product": "O"})
    assert mapped.sentences[0].tags == ["B-ORG", "O", "B-PER"]


def test_map_labels_keeps_merged_neighbours_apart():
    sentence = LabelledSentence(("a", "b"), ((0, 1, "group"), (1, 2, "corporation")))
    (mapped,) = map_labels([_file(sentence)], {"group": "ORG", "corporation": "ORG"})
    assert mapped.sentences[0].tags == ["B-ORG", "B-ORG"]


def test_check_label_map_names_the_labels_found():
    with pytest.raises(ConfigError, match=r"\['LOC', 'PER'\], found \['person'\]"):
        check_label_map([_file(SENTENCE)], {"person": "PER"})


def test_collect_labels_sorts():
    assert collect_labels([_file(SENTENCE)], []) == ("LOC", "PER")


def test_collect_labels_refuses_labels_only_in_dev():
    dev = _file(LabelledSentence(("x",), ((0, 1, "product"),)), name="dev.conll")
    with pytest.raises(ConfigError, match=r"in 'dev.conll', found \['product'\]; .* --map product=O"):
        collect_labels([_file(SENTENCE)], [dev])


def test_collect_labels_refuses_files_without_entities():
    with pytest.raises(ConfigError, match="found none"):
        collect_labels([_file(LabelledSentence(("x",), ()))], [])


def test_cut_windows_puts_the_tag_on_the_first_piece():
    tokenizer = _tokenizer()
    (window,) = cut_windows([SENTENCE], TAGS, tokenizer, max_tokens=32)
    pieces = tokenizer.convert_ids_to_tokens(list(window.input_ids))
    assert pieces == ["[CLS]", "anna", "un", "##der", "##way", "to", "rome", "[SEP]"]
    named = ["-" if target == IGNORED else TAGS.tags[target] for target in window.targets]
    assert named == ["-", "B-PER", "I-PER", "-", "-", "O", "B-LOC", "-"]


@pytest.mark.parametrize("max_tokens", range(8, 20))
def test_cut_windows_loses_no_word(max_tokens):
    long = LabelledSentence(("anna", "underway", "to", "rome", "-", "underway") * 9, ())
    windows = cut_windows([SENTENCE, long], TAGS, _tokenizer(), max_tokens=max_tokens)
    assert max(len(window.input_ids) for window in windows) <= max_tokens
    assert all(window.input_ids[0] == 2 and window.input_ids[-1] == 3 for window in windows)
    for number, sentence in enumerate((SENTENCE, long)):
        words = [word for window in windows if window.sentence == number for word in window.words]
        assert words == list(range(len(sentence.words)))


def test_cut_windows_keeps_a_word_longer_than_a_window():
    sentence = LabelledSentence(("anna", "-" * 50, "rome"), ())
    windows = cut_windows([sentence], TAGS, _tokenizer(), max_tokens=10)
    assert [window.words for window in windows] == [(0,), (1,), (2,)]
    assert [len(window.input_ids) for window in windows] == [3, 10, 3]


def test_join_windows_is_the_inverse_of_cut_windows():
    sentences = [SENTENCE, LabelledSentence(("\u200b",), ()), LabelledSentence(SENTENCE.words * 5, ((8, 12, "PER"),))]
    windows = cut_windows(sentences, TAGS, _tokenizer(), max_tokens=8)[::-1]
    targets = [target for window in windows for target in window.targets if target != IGNORED]
    probabilities = np.eye(len(TAGS.tags), dtype=np.float32)[targets]
    assert join_windows(probabilities, windows, sentences, TAGS) == [sentence.tags for sentence in sentences]


def test_chain_sentences_keeps_every_word_and_span():
    sentences = [
        LabelledSentence((f"a{at}", f"b{at}"), ((0, 1 + at % 2, "PER"),), opens_document=at % 7 == 0)
        for at in range(40)
    ]
    chained = chain_sentences(sentences, fraction=0.5, max_words=6, seed=1)
    assert [word for one in chained for word in one.words] == [word for one in sentences for word in one.words]
    assert [tag for one in chained for tag in one.tags] == [tag for one in sentences for tag in one.tags]
    assert {len(one.words) for one in chained} == {2, 4, 6}


def test_chain_sentences_stays_within_a_document():
    first, second = LabelledSentence(("a",), ()), LabelledSentence(("b",), (), opens_document=True)
    assert chain_sentences([first, second], fraction=1.0, max_words=9, seed=0) == [first, second]


def test_short_name_hides_the_way_to_a_file():
    assert short_name("/somebody/secret/btc/train.conll") == "btc/train.conll"
    assert short_name("train.conll") == "train.conll"


def _tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def test_split_words_takes_the_words_of_the_tokenizer_and_moves_spans_along():
    sentence = LabelledSentence(("Jo", "went", "to", "rome-lima", "."), ((0, 1, "PER"), (3, 4, "LOC")))
    tokenizer = ColumnTokenizer(make_tokenizer().backend_tokenizer.to_str())
    (file,) = split_words([LabelledFile("a", "0", (sentence,))], tokenizer)
    assert file.sentences[0].words == ("Jo", "went", "to", "rome", "-", "lima", ".")
    assert file.sentences[0].spans == ((0, 1, "PER"), (3, 6, "LOC"))


def test_split_words_keeps_a_word_without_pieces():
    sentence = LabelledSentence(("Jo", "\u200d", "."), ((1, 2, "PER"),))
    tokenizer = ColumnTokenizer(make_tokenizer().backend_tokenizer.to_str())
    (file,) = split_words([LabelledFile("a", "0", (sentence,))], tokenizer)
    assert file.sentences[0] == sentence
