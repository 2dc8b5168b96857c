"""CoNLL: the layouts of the module's docstring, and spans that are the right pieces of the text."""

import gzip

import pytest

from schemas.errors import ConfigError, FileError
from transforms.corpora import conll
from transforms.corpora.conll import Sentence, join_sentences, parse_columns, parse_sentences
from transforms.corpora.documents import CorpusConfig

CONLL_2003 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
call NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

1996-08-22 CD I-NP O
"""

CONLL_U = """# newdoc id = weblog-1
# sent_id = 1
# text = Anna's cat left Zürich.
1-2\tAnna's\t_\t_
1\tAnna\tB-PER\t-
2\t's\tO\t-
3\tcat\tO\t-
3.1\tleft\t_\t_
4\tleft\tO\t-
5\tZürich\tB-LOC\tSpaceAfter=No
6\t.\tO\t-

# sent_id = 2
# text = Bye.
1\tBye\tO\t-
2\t.\tO\t-

# newdoc id = weblog-2
# text = 王小明住在北京
1\t王小明\tB-PER\t-
2\t住在\tO\t-
3\t北京\tB-LOC\t-

"""


@pytest.fixture
def read_text(make_file, read_corpus):
    """A CoNLL file's content in, its documents out."""

    def read(content, **options):
        documents, rejects, _ = read_corpus(make_file("a.conll", content.encode()), CorpusConfig(**options))
        assert rejects == []
        return documents

    return read


def entities_of(document):
    return [(document["text"][span["start"] : span["end"]], span["label"]) for span in document["gold"]]


def test_read_parts_reads_conll_2003(read_text):
    first, second = read_text(CONLL_2003)
    assert first["text"] == "EU rejects German call\nPeter Blackburn"
    assert entities_of(first) == [("EU", "ORG"), ("German", "MISC"), ("Peter Blackburn", "PER")]
    assert second["text"] == "1996-08-22"


def test_read_parts_reads_conll_u(read_text):
    first, second = read_text(CONLL_U)
    assert first["text"] == "Anna's cat left Zürich.\nBye."
    assert entities_of(first) == [("Anna", "PER"), ("Zürich", "LOC")]
    assert entities_of(second) == [("王小明", "PER"), ("北京", "LOC")]
    assert (first["id"], second["id"]) == ("weblog-1", "weblog-2")


def test_read_parts_reads_text_without_spaces(read_text):
    (document,) = read_text("# text = 王小明住在北京\n王小明\tB-PER\n住在\tO\n北京\tB-LOC\n")
    assert document["text"] == "王小明住在北京"
    assert document["gold"] == [{"start": 0, "end": 3, "label": "PER"}, {"start": 5, "end": 7, "label": "LOC"}]


def test_read_parts_reads_two_columns_at_spaces_and_a_sentence_a_document(read_text):
    documents = read_text("Anna B-PER\nslept O\n\n\n \nBob  B-PER\n")
    assert [document["text"] for document in documents] == ["Anna slept", "Bob"]
    assert [document["id"][-2:] for document in documents] == ["#0", "#1"]


def test_read_parts_reads_iob1_where_only_a_neighbour_begins_with_b(read_text):
    (document,) = read_text("Paris I-LOC\nLondon B-LOC\nTower I-LOC\nx O\n")
    assert entities_of(document) == [("Paris", "LOC"), ("London Tower", "LOC")]


def test_read_parts_reads_bioes(read_text):
    (document,) = read_text("New B-LOC\nYork E-LOC\nBonn S-LOC\n")
    assert entities_of(document) == [("New York", "LOC"), ("Bonn", "LOC")]


def test_read_parts_reads_one_column_as_text_without_gold(read_text):
    assert read_text("Anna\nslept\n") == [{"id": read_text("Anna\n")[0]["id"], "row": 0, "text": "Anna slept"}]


def test_read_parts_reads_crlf_and_a_mark(read_text):
    (document,) = read_text("\ufeff# newdoc id = a\r\n# text = Anna slept\r\nAnna\tB-PER\r\nslept\tO\r\n\r\n")
    assert (document["id"], document["text"], entities_of(document)) == ("a", "Anna slept", [("Anna", "PER")])


@pytest.mark.parametrize("token", ["#", "#1", "#tag", "#newdocument", "#newpartner", "##"])
def test_read_parts_reads_tokens_that_begin_with_a_hash(read_text, token):
    documents = read_text(f"{token} B-X\nnext O\n\nother O\n")
    assert [document["text"] for document in documents] == [f"{token} next", "other"]


def test_read_parts_reads_a_hash_between_tabs_as_a_token(read_text):
    (document,) = read_text("# id = 4\tO\nx\tO\n")
    assert document["text"] == "# id = 4 x"


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u2028", "\u0085", "\x0c"])
def test_read_parts_keeps_odd_spaces_within_a_token(read_text, space):
    for between in " \t":
        (document,) = read_text(f"1{space}000{between}B-N\neuro{between}O\n")
        assert document["text"] == f"1{space}000 euro"
        assert entities_of(document) == [(f"1{space}000", "N")]


def test_read_parts_reads_words_that_are_numbers_in_the_first_column(read_text):
    documents = read_text("1 CD B-NP B-N\n66 CD I-NP O\n\n1 CD B-NP B-N\n2.5 CD I-NP O\n\n1 CD B-NP O\n1 CD B-NP O\n")
    assert [document["text"] for document in documents] == ["1 66", "1 2.5", "1 1"]
    assert [entities_of(document) for document in documents] == [[("1", "N")], [("1", "N")], []]


def test_read_parts_joins_words_where_the_own_text_is_another(read_text):
    (document,) = read_text("# text = something else\nAnna\tB-PER\nslept\tO\n")
    assert (document["text"], entities_of(document)) == ("Anna slept", [("Anna", "PER")])


def test_read_parts_forgets_the_own_text_at_the_end_of_a_sentence(read_text):
    documents = read_text("# text = Anna,slept\nAnna\tO\n,\tO\nslept\tO\n\nAnna\tO\nslept\tO\n")
    assert [document["text"] for document in documents] == ["Anna,slept", "Anna slept"]


def test_read_parts_takes_the_columns_it_is_told(read_text):
    (document,) = read_text("x B-A Anna O\nx O slept O\n", conll_columns="2,1")
    assert (document["text"], entities_of(document)) == ("Anna slept", [("Anna", "A")])


def test_read_parts_takes_columns_from_the_end(read_text):
    (document,) = read_text("Anna x B-A O\nslept x O O\n", conll_columns="-4,-2")
    assert entities_of(document) == [("Anna", "A")]


def test_read_parts_keeps_every_row_under_chosen_columns(read_text):
    (document,) = read_text("1 CD B-N\n2.5 CD O\n3-4 CD O\n", conll_columns="0,2")
    assert document["text"] == "1 2.5 3-4"


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("Anna NNP B-PER\nslept O\n", "auto", "expected 3 columns in '.*' line 2, found 2"),
        ("Bob O\n\nAnna NNP B-PER\nslept O\n", "auto", "expected 3 columns in '.*' line 4, found 2"),
        ("Anna B-PER\n", "0,3", "expected 4 columns in '.*' line 1, found 2"),
        ("Anna B-PER\n", "5,-1", "expected 6 columns in '.*' line 1, found 2"),
        ("Anna B-PER\n", "-5,1", "expected 5 columns in '.*' line 1, found 2"),
    ],
)
def test_cut_slices_names_the_line_that_lacks_a_column(make_file, content, columns, message):
    file = make_file("a.conll", content.encode())
    with pytest.raises(FileError, match=message):
        conll.cut_slices(file, CorpusConfig(conll_columns=columns), 1)


def test_cut_slices_refuses_invalid_utf8(make_file):
    with pytest.raises(FileError, match="found a bad byte at 5") as caught:
        conll.cut_slices(make_file("a.conll", b"Anna \xff\n"), CorpusConfig(), 1)
    assert caught.value.code == "bad_utf8"


def test_cut_slices_refuses_a_truncated_file(make_file):
    content = gzip.compress(b"Anna B-PER\n\n" * 9999)
    with pytest.raises(FileError):
        conll.cut_slices(make_file("a.conll.gz", content[: len(content) // 2]), CorpusConfig(), 1)


def test_cut_slices_of_no_words_is_none(make_file):
    assert conll.cut_slices(make_file("a.conll", b"-DOCSTART- -X- O O\n\n"), CorpusConfig(), 1) == []


def test_read_parts_reads_many_documents_in_order(make_file, read_corpus):
    content = "".join(f"word{n} B-X\n\n" for n in range(500))
    documents, _, (slice_,) = read_corpus(make_file("a.iob.gz", gzip.compress(content.encode())))
    assert [(row["row"], row["text"]) for row in documents] == [(n, f"word{n}") for n in range(500)]
    assert (slice_.start, slice_.end, slice_.rows) == (0, 500, 500)


def test_describe_columns_refuses_column_options(make_file):
    with pytest.raises(ConfigError, match="no column options for CoNLL file"):
        conll.describe_columns(make_file("a.conll", b"a O\n"), CorpusConfig(keep_columns=("x",)))


def test_describe_columns_tells_whether_there_are_tags(make_file):
    found = [
        conll.describe_columns(make_file("a.conll", content), CorpusConfig())[1]
        for content in (b"Anna B-PER\n", b"Anna\n", b"", CONLL_U.encode())
    ]
    assert found == [True, False, False, True]


def test_parse_sentences_gives_words_tags_and_lines():
    lines = ["# newdoc id = a", "# text = Anna slept", "Anna\tB-PER", "slept\tO", "", "Bob\tO"]
    first, second = parse_sentences(lines, source="a.conll")
    assert first == Sentence(("Anna", "slept"), ("B-PER", "O"), "Anna slept", True, "a", 3)
    assert second == Sentence(("Bob",), ("O",), line=6)


def test_join_sentences_counts_code_points():
    sentences = [Sentence(("😀", "Zoë"), ("O", "B-PER")), Sentence(("Zoë",), ("B-PER",))]
    text, gold = join_sentences(sentences)
    assert [text[span["start"] : span["end"]] for span in gold.spans] == ["Zoë", "Zoë"]


def test_join_sentences_finds_repeated_words_each_in_its_place():
    text, gold = join_sentences([Sentence(("a", "aa", "a"), ("O", "O", "B-X"), "aaaa")])
    assert (text, gold.spans) == ("aaaa", [{"start": 3, "end": 4, "label": "X"}])
    assert [(tag["start"], tag["end"], tag["tag"]) for tag in gold.tags] == [(0, 1, "O"), (1, 3, "O"), (3, 4, "B-X")]


@pytest.mark.parametrize("columns", ["", "a,b", "1", "1,2,3"])
def test_parse_columns_refuses_what_are_no_two_positions(columns):
    with pytest.raises(ConfigError, match="expected --conll-columns auto or two positions"):
        parse_columns(columns)


def test_parse_sentences_fills_up_lines_that_lack_columns_and_names_them_when_asked_to():
    short: list[int] = []
    (sentence,) = parse_sentences(["Anna x B-PER", "slept", "in y", "Rome z B-LOC"], source="a", short_lines=short)
    assert short == [2, 3]
    assert sentence.words == ("Anna", "slept", "in", "Rome")
    assert sentence.tags == ("B-PER", "O", "O", "B-LOC")
