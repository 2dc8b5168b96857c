"""Whole runs that are damaged, verified and repaired."""

import json

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_rows, run_folder, snapshot


@pytest.fixture
def verify(tmp_path):
    """Verifies a run and returns the exit status."""

    def run(*arguments, output="out"):
        return main(["verify", str(tmp_path / output), "--no-progress", *map(str, arguments)])

    return run


@pytest.fixture
def finished(annotate, corpus, tmp_path):
    """A finished run in several slices."""
    assert annotate("--slice-size", 800, source=corpus) == 0
    return run_folder(tmp_path / "out")


def _damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_verify_finds_a_run_as_it_was_committed(finished, verify, capsys):
    before = snapshot(finished)
    capsys.readouterr()
    assert verify() == 0
    out = capsys.readouterr().out
    assert out.startswith("verified: ")
    assert "120 documents" in out
    assert "compared with the input: 135 entities" in out
    assert snapshot(finished) == before


@pytest.mark.parametrize("arguments", [["--layout", "flat"], ["--output-format", "jsonl"], ["--offset-unit", "utf16"]])
def test_verify_reads_every_layout_format_and_unit(annotate, corpus, verify, arguments, capsys):
    assert annotate(*arguments, source=corpus) == 0
    capsys.readouterr()
    assert verify() == 0
    assert "120 documents" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"{}", b"not JSON", None], ids=["empty", "not JSON", "another file"])
def test_verify_holds_the_manifest_against_the_commit_records_and_repairs_it(finished, verify, damage, capsys):
    manifest = finished / "_MANIFEST.json"
    before = json.loads(manifest.read_text())
    changed = {**before, "files": [{**file, "rows": 7} for file in before["files"]]}
    manifest.write_bytes(damage or json.dumps(changed).encode())
    data = snapshot(finished / "data")
    assert verify() == 1
    assert "_MANIFEST.json: expected" in capsys.readouterr().out
    assert verify("--repair") == 0
    assert json.loads(manifest.read_text())["files"] == before["files"]
    assert snapshot(finished / "data") == data


def test_verify_names_every_damaged_file_and_nothing_else(finished, verify, capsys):
    _damage(first := sorted(finished.glob("data/*"))[0])
    (second := sorted(finished.glob("data/*"))[2]).unlink()
    capsys.readouterr()
    assert verify() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"data/{first.name}", f"data/{second.name}", "damaged"]


def test_verify_repair_does_the_damaged_slices_again_and_only_those(finished, verify, tmp_path, capsys):
    rows, before = read_rows(tmp_path / "out"), snapshot(finished)
    _damage(first := sorted(finished.glob("data/*"))[0])
    (second := sorted(finished.glob("data/*"))[2]).unlink()
    assert verify("--repair") == 0
    assert "verified: " in capsys.readouterr().out
    assert read_rows(tmp_path / "out") == rows
    after = snapshot(finished)
    assert {name for name in after if name.startswith("data/") and after[name][0] != before[name][0]} == {
        f"data/{first.name}",
        f"data/{second.name}",
    }
    assert (finished / "_SUCCESS").exists()


def test_verify_repairs_a_commit_record_too(finished, verify, tmp_path, capsys):
    rows = read_rows(tmp_path / "out")
    sorted(finished.glob("_commits/*"))[0].write_text("{")
    capsys.readouterr()
    assert verify() == 1
    assert ": expected a commit record, found no JSON from character 1 on" in capsys.readouterr().out
    assert verify("--repair") == 0
    assert read_rows(tmp_path / "out") == rows


def test_verify_compares_offsets_with_the_input(finished, verify, tmp_path, capsys):
    """A row that says something else than its input, under a record that was made for it."""
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    path = next(
        path for path in sorted(finished.glob("data/*")) if any(read_row["entities"] for read_row in _rows(path))
    )
    table = pq.read_table(path)
    rows = table.to_pylist()
    row = next(row for row in rows if row["entities"])
    row["entities"][0]["text"] = "Zoe"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    record = next(finished.glob(f"_commits/{path.stem.rpartition('-')[2]}"))
    receipt = json.loads(record.read_text())
    content = path.read_bytes()
    receipt["files"][0] |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    record.write_text(json.dumps(receipt))
    capsys.readouterr()
    assert verify() == 1
    assert f"data/{path.name}: row {row['row']}: expected the text at" in capsys.readouterr().out
    assert verify("--no-inputs") == 1
    assert "_MANIFEST.json: expected the files that were committed" in capsys.readouterr().out


def _rows(path):
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def test_verify_says_what_it_could_not_compare(finished, verify, corpus, capsys):
    (corpus / "a.txt").write_text("another\n")
    capsys.readouterr()
    assert verify() == 0
    told = capsys.readouterr()
    assert "not compared with" in told.err
    assert "a.txt" in told.err


def test_verify_names_a_file_that_the_run_did_not_write(finished, verify, capsys):
    (finished / "data" / "mine.parquet").write_bytes(b"")
    capsys.readouterr()
    assert verify() == 1
    assert "data/mine.parquet: no commit record names it" in capsys.readouterr().out
    assert (finished / "data" / "mine.parquet").exists()


def test_verify_repairs_nothing_while_a_file_lies_there_that_the_run_did_not_write(finished, verify, capsys):
    (finished / "data" / "mine.parquet").write_bytes(b"")
    _damage(next(finished.glob("data/part*")))
    before = snapshot(finished)
    assert verify("--repair") == 2
    assert "found ['data/mine.parquet']; nothing was repaired: move them away" in capsys.readouterr().err
    assert snapshot(finished) == before


@pytest.mark.parametrize("manifest", ["as it was", "not JSON", None], ids=["", "garbage", "gone"])
def test_verify_says_that_a_run_was_not_finished_and_finishes_it(finished, verify, manifest, capsys):
    expected = json.loads((finished / "_MANIFEST.json").read_text())["files"]
    (finished / "_SUCCESS").unlink()
    if manifest != "as it was":
        (finished / "_MANIFEST.json").write_text(manifest) if manifest else (finished / "_MANIFEST.json").unlink()
    data = snapshot(finished / "data")
    capsys.readouterr()
    assert verify() == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == "_SUCCESS: every slice is committed, but the run was not finished: expected _SUCCESS, found none"
    assert last.startswith("unfinished: ")
    assert verify("--repair") == 0
    told = capsys.readouterr()
    assert told.err.splitlines()[0] == "finishing the run"
    assert "verified: " in told.out
    assert (finished / "_SUCCESS").exists()
    assert json.loads((finished / "_MANIFEST.json").read_text())["files"] == expected
    assert snapshot(finished / "data") == data


def test_verify_says_of_a_run_that_goes_on_only_how_much_is_missing(finished, verify, capsys):
    (finished / "_SUCCESS").unlink()
    record = sorted(finished.glob("_commits/*"))[0]
    record.unlink()
    next(finished.glob(f"data/*{record.name}*")).unlink()
    capsys.readouterr()
    assert verify() == 1
    told = capsys.readouterr()
    assert "incomplete: 1 slices are not committed" in told.err
    assert "_SUCCESS" not in told.out


def test_verify_says_how_much_of_a_run_is_missing(finished, verify, capsys):
    record = sorted(finished.glob("_commits/*"))[0]
    record.unlink()
    next(finished.glob(f"data/*{record.name}*")).unlink()
    assert verify() == 1
    assert "incomplete: 1 slices are not committed" in capsys.readouterr().err
    assert verify("--repair") == 0


def test_verify_repairs_a_slice_whose_record_is_gone_and_whose_file_is_not(finished, verify, tmp_path):
    rows = read_rows(tmp_path / "out")
    sorted(finished.glob("_commits/*"))[0].unlink()
    assert verify() == 1
    assert verify("--repair") == 0
    assert read_rows(tmp_path / "out") == rows


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "changed"])
def test_verify_takes_nothing_back_when_an_input_is_another(finished, verify, corpus, is_gone, capsys):
    (corpus / "a.txt").unlink() if is_gone else (corpus / "a.txt").write_text("another\n")
    _damage(sorted(finished.glob("data/*"))[-1])
    before = snapshot(finished)
    assert verify("--repair") == 2
    assert "nothing was taken back" in capsys.readouterr().err
    assert snapshot(finished) == before


@pytest.mark.parametrize(
    "content", [None, '{"options": null}', "xx"], ids=["no command", "one with a secret", "damaged"]
)
def test_verify_takes_nothing_back_that_it_cannot_do_again(finished, verify, content, capsys):
    _damage(sorted(finished.glob("data/*"))[0])
    (finished / "_command.json").unlink() if content is None else (finished / "_command.json").write_text(content)
    before = snapshot(finished)
    assert verify("--repair") == 2
    assert "give the spanmill annotate command again" in capsys.readouterr().err
    assert snapshot(finished) == before


def test_verify_repairs_no_run_into_another(finished, verify, tiny_checkpoint, tmp_path, capsys):
    """The model that the command names has changed since."""
    from tests.conftest import write_checkpoint

    other = write_checkpoint(tmp_path / "model", seed=1)
    command = json.loads((finished / "_command.json").read_text())
    command["options"]["model"] = str(other)
    (finished / "_command.json").write_text(json.dumps(command))
    _damage(sorted(finished.glob("data/*"))[0])
    assert verify("--repair") == 2
    assert f"expected the model and settings that made {finished.name}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [finished.name]


def test_verify_keeps_no_command_with_a_password(annotate, corpus, tmp_path):
    assert annotate("--calibrator", "", "--id-column", "", source=corpus) == 0
    told = json.loads((run_folder(tmp_path / "out") / "_command.json").read_text())
    assert told["options"]["input"] == [str(corpus)]
    from pipelines.runs.commands import record_command
    from pipelines.runs.options import AnnotateOptions
    from transforms.storage.store import open_store

    store = open_store(str(tmp_path / "other"))
    record_command(store, AnnotateOptions(input=("ftp://me:hunter2@host/a.txt",), output="out"), [])
    record = store.read("_command.json")
    assert b"hunter2" not in record
    assert json.loads(record)["options"] is None


@pytest.mark.parametrize("words", [["nowhere"], []])
def test_verify_without_a_run_is_a_clear_error(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *words]) == 2
    assert capsys.readouterr().err.startswith("spanmill: ")
