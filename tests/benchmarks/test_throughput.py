"""What the benchmark measures, and with which measure."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.peers.ceiling import cut_texts, pad_batches, run
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.corpora import generate_texts, make_corpus
from benchmarks.peers.documents import group_tags, read_entities, write_entities
from benchmarks.peers.measurements import Measurement, show_rates
from benchmarks.peers.processes import ContenderError, run_fresh
from benchmarks.peers.tables import Table
from transforms.models.checkpoint import find_checkpoint

NO_DATA = Path("there-is-no-such-folder")


@pytest.fixture(scope="module")
def checkpoint():
    return find_checkpoint("default")


@pytest.fixture
def corpus(tmp_path, checkpoint):
    return make_corpus("news", 30, data=NO_DATA, folder=tmp_path, checkpoint=checkpoint)


def test_news_without_data_sets_is_made_from_the_sample_corpus_for_as_long_as_asked():
    texts = list(itertools.islice(generate_texts("news", NO_DATA), 1000))

    assert len(set(texts)) == 1000
    assert texts == list(itertools.islice(generate_texts("news", NO_DATA), 1000))


def test_articles_are_cut_at_headings_of_the_first_level(tmp_path):
    (tmp_path / "wikitext2").mkdir()
    text = " \n = First = \n \n Some text . \n = = Section = = \n \n More . \n = Second = \n \n Other text . \n"
    (tmp_path / "wikitext2" / "test.txt").write_text(text)

    articles = list(generate_texts("wikitext2", tmp_path))

    assert [article.splitlines()[0].strip() for article in articles] == ["= First =", "= Second ="]
    assert "More ." in articles[0]


def test_a_corpus_has_a_file_of_its_shortest_document_which_counts_for_nothing(corpus):
    texts, alone = (pq.read_table(path)["text"].to_pylist() for path in (corpus.path, corpus.one))

    assert alone == [min(texts, key=len)]
    assert corpus.count_tokens() == corpus.tokens.sum() - corpus.tokens[corpus.shortest]
    assert corpus.count_tokens(most_tokens=10) < corpus.count_tokens()


def test_packed_batches_hold_every_window_once_within_the_budget(corpus, checkpoint):
    texts = pq.read_table(corpus.path)["text"].to_pylist()

    batches = pad_batches(*cut_texts(checkpoint, texts), 512, checkpoint.max_tokens)

    assert sorted(np.concatenate([lengths for _, lengths in batches])) == sorted(corpus.windows)
    assert all(ids.size <= 512 and ids.shape[1] >= lengths.max() for ids, lengths in batches)


def test_a_ceiling_takes_its_own_time_and_reads_everything(corpus, checkpoint):
    answer = run(corpus.one, None, checkpoint.folder, backend="torch", precision="fp32")

    assert answer["seconds"] > 0
    assert answer["most_tokens"] is None


def test_tags_of_tokens_become_entities_as_textbooks_group_them():
    tags = ["O", "B-PER", "I-PER", "B-PER", "I-ORG", "O", "I-ORG", "O"]
    offsets = [(0, 0), (0, 2), (2, 4), (5, 6), (7, 8), (9, 10), (11, 12), (0, 0)]

    spans = [(each["start"], each["end"], each["label"]) for each in group_tags(tags, offsets)]

    assert spans == [(0, 4, "PER"), (5, 6, "PER"), (7, 8, "ORG"), (11, 12, "ORG")]


def test_entities_are_read_as_they_were_written(tmp_path):
    write_entities(tmp_path / "out", ["a", "b"], [[{"start": 0, "end": 3, "label": "PER"}], []])

    assert read_entities(tmp_path / "out") == {"a": {(0, 3, "PER")}, "b": set()}


def test_a_process_tells_its_answer_time_and_memory():
    code = "import json, time; text = 'x' * (64 << 20); time.sleep(0.2); print('words'); print(json.dumps({'a': 1}))"

    done = run_fresh([sys.executable, "-c", code])

    assert done.answer == {"a": 1}
    assert done.seconds > 0.2
    assert done.peak_mib > 64


def test_a_process_that_fails_is_told_by_its_error_without_its_words():
    with pytest.raises(ContenderError, match=r"^exit status 1 \(ValueError\)$"):
        run_fresh([sys.executable, "-c", "raise ValueError('words of the corpus')"])


def test_speed_is_what_is_read_over_the_seconds_beyond_start_up():
    slow, fast = (
        Measurement(start_up_s=2.0, wall_s=2.0 + work, work_s=work, tokens=1000, lost=0.0, peak_mib=1.0)
        for work in (2.0, 1.0)
    )

    assert show_rates([slow]) == "500"
    assert show_rates([slow, fast, fast]) == "1,000 [500-1,000]"


def test_a_table_is_shown_as_github_wants_it():
    table = Table("Title", ("", "a|b"), [("x", "1")], ("A note.",))

    assert table.to_markdown() == "**Title**\n\n|  | a\\|b |\n| --- | --- |\n| x | 1 |\n\nA note.\n"


def test_a_table_is_printed_in_either_way(capsys):
    table = Table("Title", ("", "a|b"), [("x", "[1]")], ("A note.",))

    table.show(is_markdown=True)
    assert capsys.readouterr().out == table.to_markdown() + "\n"
    table.show(is_markdown=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Title"],
        ["a|b"],
        ["x", "[1]"],
        ["A", "note."],
        [],
    ]


def test_a_truncating_peer_says_how_much_it_reads_and_writes_every_document(corpus, checkpoint, tmp_path):
    contender = CONTENDERS["loop-128"]

    done = run_fresh(contender.command(corpus.one, tmp_path / "out", checkpoint.folder))

    assert done.answer == {"most_tokens": 126}
    assert list(read_entities(tmp_path / "out")) == ["0"]


def test_ours_is_the_real_command_line_with_its_engine_and_more_flags():
    command = CONTENDERS["spanmill-onnx-fp32"].with_flags("", "--threads", "1").command("in", "out", "model")

    assert command[1:4] == ["-m", "pipelines", "annotate"]
    assert command[-6:] == ["--backend", "onnx", "--precision", "fp32", "--threads", "1"]
