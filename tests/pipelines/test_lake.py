"""What other tools make of the output, by the very examples of docs/lake.md."""

import re
import shutil

import pytest

from pipelines.__main__ import main
from tests.conftest import ROOT
from tests.pipelines.conftest import read_dead, run_folder

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/lake.md").read_text(), re.DOTALL | re.MULTILINE)
DIGITS = "1234567890123456"


def _run_example(package):
    """Runs the example that imports a package and returns its variables."""
    pytest.importorskip(package)
    (example,) = [code for code in EXAMPLES if re.search(rf"^(import|from) {package}\b", code, re.MULTILINE)]
    variables = {}
    exec(compile(example, f"docs/lake.md ({package})", "exec"), variables)
    return variables


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, tiny_checkpoint):
    """Two runs under `out`, one with dead letters, and one with more columns whose name is all digits."""
    folder = tmp_path_factory.mktemp("lake")
    (folder / "good.txt").write_text("Anna lives in Berlin\n\nnobody knows Bob\n" * 5)
    (folder / "bad.txt").write_bytes(b"Anna lives in Berlin\n\xff\xfe\n")
    for names, settings in ((["good.txt", "bad.txt"], []), (["good.txt"], ["--threshold", "0.3", "--keep-below"])):
        words = ["annotate", "--input", *(str(folder / name) for name in names), "--model", str(tiny_checkpoint)]
        words += ["--output", str(folder / ("out" if not settings else "other")), "--max-restarts", "0"]
        assert main([*words, "--no-progress", "--max-failed-fraction", "1", *settings]) == 0
    assert read_dead(folder / "out")
    shutil.copytree(run_folder(folder / "other"), folder / "out" / f"run={DIGITS}")
    return folder


@pytest.fixture
def here(outputs, monkeypatch):
    """The folder above `out`, as the one that examples run in, and the number of rows of each run."""
    monkeypatch.chdir(outputs)
    mixed = next(path for path in (outputs / "out").iterdir() if not path.name.endswith(DIGITS))
    return {mixed.name.removeprefix("run="): 16, DIGITS: 15}


def _count(runs):
    return {run: list(runs).count(run) for run in set(runs)}


def test_pyarrow_reads_every_run_and_no_dead_letter(here):
    variables = _run_example("pyarrow")
    assert _count(variables["table"].column("run").to_pylist()) == here
    assert all("/data/part-" in file for file in variables["dataset"].files)


def test_duckdb_counts_labels_by_run(here):
    counts = _run_example("duckdb")["counts"]
    assert {run for run, _, _ in counts} == set(here)
    assert (
        sum(n for _, _, n in counts)
        == _run_example("pyarrow")["table"].column("entities").combine_chunks().flatten().__len__()
    )


def test_polars_has_a_row_per_entity(here):
    found = _run_example("polars")["found"]
    assert set(found["run"]) == set(here)
    assert found.columns == ["run", "id", "start", "end", "label", "score", "text"]
    assert len(found) == sum(n for _, _, n in _run_example("duckdb")["counts"])


def test_datasets_load_every_run(here, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    annotated = _run_example("datasets")["annotated"]
    assert len(annotated) == sum(here.values())
    assert {"start", "end", "label", "score", "text"} == set(annotated.features["entities"].feature)
    assert annotated[0]["source"].endswith(".txt")


def _read_table():
    variables = _run_example("pyiceberg")
    variables["catalog"].close()
    return variables["rows"]


def test_a_published_run_is_read_back_from_its_table(outputs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyiceberg")
    monkeypatch.chdir(tmp_path)
    run = run_folder(outputs / "other")
    words = ["publish", str(run), "--table", "lake.entities", "--catalog", "local", "--no-progress"]
    words += ["--catalog-property", "uri=sqlite:///catalog.db", "warehouse=file:lake"]
    assert main(words) == 0
    assert "published    15 documents" in capsys.readouterr().out
    rows = _read_table()
    assert rows.num_rows == 15
    assert set(rows.column("run").to_pylist()) == {run.name.removeprefix("run=")}
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert _read_table().equals(rows)


def test_a_run_with_a_damaged_file_is_not_published(outputs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyiceberg")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run=0"
    shutil.copytree(run_folder(outputs / "other"), run)
    words = ["publish", str(run), "--table", "lake.entities", "--catalog", "local", "--no-progress"]
    words += ["--catalog-property", "uri=sqlite:///catalog.db", "warehouse=file:lake"]
    (file,) = (run / "data").iterdir()
    content = file.read_bytes()
    for at in (4, 100, len(content) // 2, len(content) - 100):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert main(words) == 1
        assert f"cannot read 'data/{file.name}', which a run wrote" in capsys.readouterr().err
    file.write_bytes(content)
    assert main(words) == 0
    assert _read_table().num_rows == 15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "entities"], "expected --table NAMESPACE.TABLE, found 'entities'"),
        (["--table", "lake.entities", "--catalog", "nowhere"], "cannot open --catalog 'nowhere'"),
    ],
)
def test_a_table_or_catalog_that_cannot_be_is_refused(outputs, capsys, arguments, words):
    pytest.importorskip("pyiceberg")
    assert main(["publish", str(run_folder(outputs / "other")), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_run_in_json_lines_is_refused(annotate, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Anna lives in Berlin\n")
    annotate("--output-format=jsonl", source=tmp_path / "a.txt")
    assert main(["publish", str(tmp_path / "out"), "--table", "lake.entities"]) == 2
    assert "expected a run with --output-format parquet, found jsonl" in capsys.readouterr().err
