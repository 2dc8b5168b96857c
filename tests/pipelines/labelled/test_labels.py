import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import main
from tests.training.recipes import make_encoder, make_labelled_file

ROOT = Path(__file__).parents[3]


@pytest.fixture
def files(tmp_path):
    make_labelled_file(tmp_path / "train.conll", n_sentences=40)
    make_labelled_file(tmp_path / "dev.conll", n_sentences=9, shift=36)
    return [str(tmp_path / "train.conll"), str(tmp_path / "dev.conll")]


def test_inspect_labels_prints_findings_and_writes_a_page(files, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["inspect", "--labels", *files, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "also stand in" in printed
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert [file["sentences"] for file in report["files"]] == [40, 9]
    assert report["leaks"][0]["second_count"] == 9
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "also stand in" in page


def test_inspect_labels_counts_pieces_of_a_model(files, tmp_path, capsys):
    base = make_encoder(tmp_path / "tiny")
    capsys.readouterr()
    assert main(["inspect", "--labels", files[0], "--model", str(base), "--max-tokens=8"]) == 0
    printed = capsys.readouterr().out
    assert "0 over 8" in printed
    assert main(["inspect", "--labels", files[0], "--model", str(base)]) == 0
    assert "0 over 32" in capsys.readouterr().out


def test_inspect_labels_loads_neither_a_model_nor_a_runner(files, tmp_path):
    program = (
        "import sys; from pipelines.__main__ import main; main(sys.argv[1:]);"
        "print('loaded:', *sorted(sys.modules.keys() & {'apache_beam', 'matplotlib', 'torch', 'transformers'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "inspect", "--labels", *files, "--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{train}", "--labels", "{train}"], "expected RUN or --labels, found both"),
        (["--labels", "{tmp}/missing.conll"], "check --labels"),
        (["--labels", "{train}", "--below=0.5"], "expected --below with RUN only, found it without"),
        (["{train}", "--output={tmp}/out"], "expected --output with --labels only, found it without"),
        (["{train}", "--max-tokens=9"], "expected --max-tokens with --labels only"),
        (["--labels", "{train}", "--limit=-1"], "--limit of 0 or more, found -1"),
        (["--labels", "{train}", "--model={tmp}/none"], "none"),
    ],
)
def test_inspect_labels_answers_wrong_options_with_one_line(files, tmp_path, capsys, arguments, message):
    assert main(["inspect", *(word.format(train=files[0], tmp=tmp_path) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
