"""Dead letters that are tried again, as they were and after a fix."""

import gzip
import pkgutil
import time

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_dead, read_rows, run_folder, snapshot

CHECK_UNCHANGED = "transforms.corpora.files.check_unchanged"


def watch(monkeypatch, name):
    """Makes a function slow; how many were in it at once is noted at each call."""
    function, within, crowd = pkgutil.resolve_name(name), [], []

    def wait(*arguments):
        within.append(name)
        crowd.append(len(within))
        time.sleep(0.02)
        within.pop()
        return function(*arguments)

    monkeypatch.setattr(name, wait)
    return crowd


@pytest.fixture
def retry(tmp_path):
    """Tries dead letters again and returns the exit status."""

    def run(*arguments):
        return main(["retry", str(tmp_path / "out"), *map(str, arguments)])

    return run


@pytest.fixture
def broken(annotate, corpus):
    """A finished run over three files, and a fourth that is cut."""
    (corpus / "cut.txt.gz").write_bytes(gzip.compress(b"Anna lives\n" * 1000)[:-20])
    assert annotate("--bad-files", "dead-letter", "--max-failed-fraction", 1, source=corpus) == 0
    return corpus / "cut.txt.gz"


def test_retry_reads_a_mended_file_anew_and_leaves_the_others_alone(broken, retry, tmp_path):
    before = snapshot(run_folder(tmp_path / "out"))
    rows = read_rows(tmp_path / "out")
    assert len(read_dead(tmp_path / "out")) == 1
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))
    assert retry() == 0
    assert read_dead(tmp_path / "out") == []
    assert len(read_rows(tmp_path / "out")) == len(rows) + 1000
    after = snapshot(run_folder(tmp_path / "out"))
    assert {name: after[name] for name in before if name.startswith("data/")} == {
        name: content for name, content in before.items() if name.startswith("data/")
    }
    assert main(["verify", str(tmp_path / "out"), "--no-progress"]) == 0


def test_retry_gives_what_a_run_over_the_mended_file_would_have_given(broken, retry, annotate, corpus, tmp_path):
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))
    assert retry() == 0
    assert annotate("--bad-files", "dead-letter", source=corpus, output="new") == 0
    assert read_rows(tmp_path / "out") == read_rows(tmp_path / "new")


def test_retry_of_what_is_as_bad_as_before_changes_nothing_in_the_rows(broken, retry, tmp_path):
    rows, dead = read_rows(tmp_path / "out"), read_dead(tmp_path / "out")
    assert retry() == 0
    assert (read_rows(tmp_path / "out"), read_dead(tmp_path / "out")) == (rows, dead)


def test_a_file_that_is_mended_at_the_second_attempt_is_read_once(broken, retry, tmp_path):
    broken.write_bytes(broken.read_bytes()[:-5])
    assert retry() == 0
    assert (len(read_rows(tmp_path / "out")), len(read_dead(tmp_path / "out"))) == (120, 1)
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))
    assert retry() == 0
    assert (len(read_rows(tmp_path / "out")), len(read_dead(tmp_path / "out"))) == (1120, 0)


def test_after_a_retry_the_same_command_has_nothing_to_do(broken, retry, annotate, corpus, tmp_path, capsys):
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))
    assert retry() == 0
    before = snapshot(run_folder(tmp_path / "out"))
    assert annotate("--bad-files", "dead-letter", "--max-failed-fraction", 1, source=corpus) == 0
    assert snapshot(run_folder(tmp_path / "out")) == before


def test_retry_takes_up_one_that_was_cut_off(broken, retry, tmp_path, monkeypatch):
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.annotate.run", die)
        with pytest.raises(KeyboardInterrupt):
            retry()
    assert retry() == 0
    assert len(read_rows(tmp_path / "out")) == 1120


def test_retry_takes_nothing_back_when_another_input_has_changed(broken, retry, corpus, tmp_path):
    (corpus / "a.txt").write_text("another\n")
    broken.write_bytes(gzip.compress(b"Anna lives\n" * 1000))
    before = snapshot(tmp_path / "out")
    assert retry() == 2
    assert snapshot(tmp_path / "out") == before


def test_receipts_and_inputs_are_asked_for_many_at_once(annotate, retry, tmp_path, monkeypatch):
    (tmp_path / "many").mkdir()
    for number in range(40):
        (tmp_path / f"many/{number}.txt").write_text("Anna\n" if number else "Anna " * 200)
    assert annotate("--max-document-bytes", 100, "--max-failed-fraction", 1, source=tmp_path / "many") == 0
    crowds = {name: watch(monkeypatch, name) for name in ("transforms.storage.commits.read_receipt", CHECK_UNCHANGED)}
    monkeypatch.setattr("pipelines.annotate.run", lambda *_, **__: 0)
    assert retry() == 0
    for crowd in crowds.values():
        assert len(crowd) >= 40
        assert max(crowd) > 4


def test_retry_leaves_what_is_not_annotated_yet_to_the_job(annotate, corpus, retry, tmp_path, capsys):
    assert annotate("--slice-size", 800, source=corpus) == 0
    sorted(run_folder(tmp_path / "out").glob("_commits/*"))[0].unlink()
    assert retry() == 0
    assert "nothing to do" in capsys.readouterr().out


def test_retry_chooses_by_error(broken, retry, capsys):
    assert retry("--error", "crash") == 0
    assert "no dead letters by crash; it has {'file_unreadable': 1}" in capsys.readouterr().out


def test_retry_of_a_clean_run_has_nothing_to_do(annotate, corpus, retry, tmp_path, capsys):
    assert annotate(source=corpus) == 0
    before = snapshot(tmp_path / "out")
    assert retry() == 0
    assert "nothing to do" in capsys.readouterr().out
    assert snapshot(tmp_path / "out") == before
