import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import ConfigError
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import scan_files
from transforms.estimating.sampling import draw_places


def _draw(path, *, n_places=16, seed=0, slice_bytes=1000, is_strict=True, **corpus):
    files = scan_files([str(path)])
    rng, corpus = random.Random(seed), CorpusConfig(**corpus)
    draws = draw_places(files, corpus, n_places=n_places, slice_bytes=slice_bytes, rng=rng, is_strict=is_strict)
    return files, draws


def _total(files, draws, name):
    return sum(file.size_bytes for file in files) * sum(getattr(draw, name) for draw in draws) / len(draws)


@pytest.fixture
def lines(tmp_path):
    """Files of texts of very different lengths, as plain text, JSON lines and Parquet; and what they hold."""
    rng = random.Random(1)
    texts = [["x" * rng.randrange(1, 400) for _ in range(300)] for _ in range(3)]
    for kind in ("text", "jsonl", "parquet"):
        (tmp_path / kind).mkdir()
    for number, some in enumerate(texts):
        (tmp_path / "text" / f"{number}.txt").write_text("\n".join(some) + "\n")
        rows = "".join(json.dumps({"text": text, "id": str(at)}) + "\n" for at, text in enumerate(some))
        (tmp_path / "jsonl" / f"{number}.jsonl").write_text(rows)
        pq.write_table(pa.table({"text": some}), tmp_path / "parquet" / f"{number}.parquet", row_group_size=50)
    everything = [text for some in texts for text in some]
    return tmp_path, len(everything), sum(map(len, everything))


@pytest.mark.parametrize("kind", ["text", "jsonl", "parquet"])
def test_places_add_up_to_the_corpus_in_every_format(lines, kind):
    folder, n_documents, n_bytes = lines
    files, draws = _draw(folder / kind, n_places=64)
    assert _total(files, draws, "documents_per_byte") == pytest.approx(n_documents, rel=0.1)
    assert _total(files, draws, "text_per_byte") == pytest.approx(n_bytes, rel=0.1)


def test_a_large_file_is_drawn_from_as_often_as_it_is_large(tmp_path):
    (tmp_path / "a.txt").write_text("a\n" * 500)
    (tmp_path / "b.txt").write_text("b\n" * 4500)
    _, draws = _draw(tmp_path, n_places=20)
    texts = [draw.documents.column("text")[0].as_py() for draw in draws]
    assert (texts.count("a"), texts.count("b")) == (2, 18)


def test_a_piece_has_the_bytes_that_were_wanted_and_whole_documents(lines):
    _, draws = _draw(lines[0] / "text", slice_bytes=5000)
    rng = random.Random(0)
    for draw in draws:
        table, n_bytes = draw.cut(1000, rng)
        texts = table.column("text").to_pylist()
        assert sum(map(len, texts)) == n_bytes >= 1000
        assert n_bytes - len(texts[-1]) < 1000


def test_every_document_of_a_place_is_as_likely(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join("abcde") + "\n")
    _, (draw, *_) = _draw(tmp_path, n_places=4, slice_bytes=1 << 20)
    rng = random.Random(0)
    firsts = [draw.cut(1, rng)[0].column("text")[0].as_py() for _ in range(1000)]
    assert all(150 < firsts.count(letter) < 250 for letter in "abcde")


def test_a_place_with_little_text_is_taken_once_and_no_more(tmp_path):
    (tmp_path / "a.txt").write_text("abc\ndef\n")
    _, (draw, *_) = _draw(tmp_path, n_places=4)
    table, n_bytes = draw.cut(1 << 20, random.Random(0))
    assert sorted(table.column("text").to_pylist()) == ["abc", "def"]
    assert n_bytes == 6


def test_a_place_without_text_gives_no_piece_but_counts(tmp_path):
    (tmp_path / "a.txt").write_text("\n" * 100)
    files, draws = _draw(tmp_path, n_places=4)
    assert all(draw.cut(10, random.Random(0)) is None for draw in draws)
    assert _total(files, draws, "documents_per_byte") == pytest.approx(100)


def test_row_groups_that_cannot_be_cut_tell_how_large_a_slice_is(tmp_path):
    pq.write_table(pa.table({"text": ["Anna lives in Berlin"] * 5000}), tmp_path / "a.parquet")
    _, draws = _draw(tmp_path, n_places=4)
    assert {draw.file_cut.shares for draw in draws} == {(1.0,)}


def test_the_same_seed_draws_the_same(lines):
    first, second = (_draw(lines[0] / "text", seed=5)[1] for _ in range(2))
    assert [draw.documents.to_pylist() for draw in first] == [draw.documents.to_pylist() for draw in second]


def test_nothing_to_read_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ConfigError, match="nothing to estimate"):
        _draw(tmp_path)


def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no parquet, and long enough to be one" * 10)
    with pytest.raises(ConfigError, match=r"a\.parquet.*mend the file"):
        _draw(tmp_path)


def test_a_file_that_may_be_left_unread_has_bytes_and_no_documents(tmp_path):
    (tmp_path / "a.txt").write_text("Anna\n" * 100)
    (tmp_path / "b.parquet").write_bytes(
        b"no parquet at all " * 25 + b"none, still not one, sorry, what else to say then?"
    )
    files, draws = _draw(tmp_path, n_places=20, is_strict=False)
    assert [file.size_bytes for file in files] == [500, 500]
    assert sum(draw.documents is None for draw in draws) == 10
    assert _total(files, draws, "documents_per_byte") == pytest.approx(100)
