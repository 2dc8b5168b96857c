"""`spanmill export` from its command line, and `spanmill annotate` with what it made."""

import shutil
import signal
import subprocess
import sys

import pytest

from pipelines.__main__ import main
from schemas.engines import EngineCard
from tests.conftest import ROOT, write_checkpoint
from tests.pipelines.conftest import read_rows, run_folder, snapshot

_WATCH = """
import sys
from pipelines.__main__ import main
status = main(sys.argv[1:])
found = sorted({"torch", "transformers"} & set(sys.modules))
sys.exit(f"imported {found}" if found else status)
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A text file of 60 documents."""
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    words = ("Anna", "lives", "in", "Berlin", "while", "nobody", "knows")
    path.write_text("\n".join(" ".join(words[(n + k) % 7] for k in range(1 + n % 50)) for n in range(60)))
    return path


def _export(*arguments):
    return main(["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tmp_path_factory):
    """A model folder with an engine of each backend in fp32, made by two commands."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    for backend in ("onnx", "openvino"):
        words = ("--model", tiny_checkpoint, "--backend", backend, "--parity-documents", 50, "--output", folder)
        assert _export(*words, "--no-progress") == 0
    return folder


def test_a_second_engine_is_added_to_the_folder_of_the_first(exported):
    names = sorted(path.parent.name for path in exported.glob("engines/*/engine.json"))
    assert names == ["onnx-fp32", "openvino-fp32"]
    for name in names:
        card = EngineCard.from_json((exported / "engines" / name / "engine.json").read_text())
        assert card.name == name
        assert card.parity.equal_tags == 1
        assert (card.parity.source, card.parity.documents) == ("uner-ewt-dev.parquet", 50)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_annotations_of_an_engine_are_those_of_the_checkpoint_and_need_no_pytorch(
    annotate, exported, texts, tmp_path, backend
):
    assert annotate("--backend", "torch", source=texts, model=exported, output="torch") == 0
    words = ["annotate", "--input", texts, "--output", tmp_path / backend, "--model", exported, "--no-progress"]
    command = [sys.executable, "-c", _WATCH, *map(str, words), "--backend", backend]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    spans = [
        [[(e["start"], e["end"], e["label"]) for e in row["entities"]] for row in read_rows(tmp_path / name)]
        for name in ("torch", backend)
    ]
    assert spans[0] == spans[1]
    assert sum(map(len, spans[0])) > 20
    assert run_folder(tmp_path / "torch").name != run_folder(tmp_path / backend).name


def test_an_engine_is_added_in_place_and_its_words_keep_to_themselves(tiny_checkpoint, texts, tmp_path, capfd):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    words = ("--model", model, "--output", model, "--backend", "openvino", "--precision", "int8")
    words += ("--calibration", texts, "--calibration-windows", 8, "--parity-documents", 50)
    assert _export(*words, "--max-f1-loss", 100) == 0
    out, err = capfd.readouterr()
    steps = ["reading", "tracing", "quantizing", "comparing"]
    assert list(dict.fromkeys(line.partition(",")[0] for line in err.splitlines())) == steps
    assert "F1 of agreement" in out
    assert str(model / "engines" / "openvino-int8") in out
    card = EngineCard.from_json((model / "engines/openvino-int8/engine.json").read_text())
    assert card.calibration["windows"] == 8
    assert sorted(path.name for path in model.iterdir() if path.is_dir()) == ["engines"]


def test_a_loss_above_the_limit_leaves_everything_as_it_was(texts, tmp_path, capsys):
    model = write_checkpoint(tmp_path / "model", tags=["O", "B-GENE", "I-GENE"])
    before = snapshot(tmp_path)
    words = ("--backend", "onnx", "--precision", "int8", "--no-progress", "--calibration", texts, "--max-f1-loss", 0)
    assert _export("--model", model, "--output", model, *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected onnx-int8 to lose 0 points of agreement with the checkpoint at most" in error
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "torch"], "invalid choice: 'torch'"),
        (["--backend", "onnx", "--precision", "bf16"], "expected --precision of backend onnx"),
        (["--backend", "openvino", "--precision", "int8"], "expected --calibration"),
        (["--backend", "onnx", "--calibration", "nowhere/*.txt"], "check --calibration"),
        (["--backend", "onnx", "--output", "s3://bucket/model"], "expected a folder of this machine"),
        (["--backend", "onnx", "--max-f1-loss", "-1"], "expected --max-f1-loss"),
        (["--backend", "onnx", "--parity-documents", "-1"], "expected --parity-documents"),
        (["--backend", "onnx", "--calibration-windows", "0"], "expected --calibration-windows"),
        (["--backend", "onnx", "--model", "nowhere/at/all"], "expected a model folder"),
        (["--backend", "onnx", "--gold", "README.md", "--format", "text"], "expected labelled files as --gold"),
    ],
)
def test_wrong_options_are_refused_in_one_line(tiny_checkpoint, tmp_path, capsys, arguments, message):
    assert _export("--model", tiny_checkpoint, "--output", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_calibration_files_without_text_are_refused(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "blank.txt").write_text("\n \n")
    words = ("--backend", "openvino", "--precision", "int8", "--calibration", tmp_path / "blank.txt", "--no-progress")
    assert _export("--model", tiny_checkpoint, "--output", tmp_path / "out", *words) == 2
    assert "expected text in --calibration, found none" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["blank.txt"]


@pytest.mark.parametrize(
    ("name", "content", "words", "message"),
    [
        ("a.conll", "Anna B-PER\nslept\n", [], "expected 2 columns in"),
        ("a.conll", "Anna O\n", [], "expected gold spans in --gold a.conll, found none; check --gold-column"),
        ("a.conll", "Anna B-GENE\n", [], "['LOC', 'ORG', 'PER'], found ['GENE']; set --map"),
        ("a.conll", "Anna B-PER\n", ["--ignore-labels", "PER"], "expected gold spans in --gold a.conll, found none"),
        ("a.jsonl", '{"text": "Anna", "gold": [[0, 9, "PER"]]}\n', [], "row 0: expected gold annotations at 'gold'"),
        ("a.jsonl", '{"text": "Anna", "g": []}\n', [], "expected keys ['gold'] in the first line of"),
    ],
)
def test_gold_is_read_before_any_model_is_loaded(tiny_checkpoint, tmp_path, capsys, name, content, words, message):
    (tmp_path / name).write_text(content)
    words = ["--backend", "onnx", "--gold", tmp_path / name, *words]
    assert _export("--model", tiny_checkpoint, "--output", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1, "no step was begun"


def test_a_model_without_tokenizer_and_a_folder_of_another_model_are_refused(tiny_checkpoint, tmp_path, capsys):
    bare = shutil.copytree(tiny_checkpoint, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    assert _export("--model", bare, "--backend", "onnx", "--output", tmp_path / "out") == 2
    assert "expected tokenizer.json" in capsys.readouterr().err
    other = write_checkpoint(tmp_path / "other", seed=1)
    assert _export("--model", tiny_checkpoint, "--backend", "onnx", "--output", other) == 2
    assert "expected --output to be new, empty or a copy of the model" in capsys.readouterr().err


def test_without_gold_an_engine_is_scored_on_the_corpus_that_comes_along(tmp_path):
    words = ("--backend", "onnx", "--precision", "int8", "--parity-documents", 60, "--max-f1-loss", 3, "--no-progress")
    assert _export(*words, "--output", tmp_path / "model") == 0
    card = EngineCard.from_json((tmp_path / "model/engines/onnx-int8/engine.json").read_text())
    assert (card.parity.source, card.parity.documents) == ("uner-ewt-dev.parquet", 60)
    assert card.parity.checkpoint_f1 > 50
    assert card.parity.lost_f1 == card.parity.checkpoint_f1 - card.parity.engine_f1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_engines_of_the_default_model_lose_little(tmp_path, backend, precision):
    corpus = ROOT / "assets/corpus/uner-ewt-dev.parquet"
    words = ("--backend", backend, "--precision", precision, "--gold", corpus, "--calibration", corpus)
    assert _export(*words, "--output", tmp_path / "model", "--no-progress") == 0
    card = EngineCard.from_json((tmp_path / f"model/engines/{backend}-{precision}/engine.json").read_text())
    assert card.parity.documents == 318
    assert card.parity.lost_f1 <= (0.3 if precision == "int8" else 0)
    assert card.parity.checkpoint_f1 > 60


@pytest.mark.parametrize("is_there", [False, True], ids=["a new folder", "the model's own folder"])
def test_a_signal_ends_the_export_and_leaves_nothing_behind(tiny_checkpoint, tmp_path, is_there):
    folder = tmp_path / "model"
    if is_there:
        shutil.copytree(tiny_checkpoint, folder)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "pipelines", "export", "--backend", "onnx", "--model", str(tiny_checkpoint)]
    process = subprocess.Popen(
        [*command, "--output", str(folder)], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    # The first words come when the workspace is there.
    assert process.stderr.readline() == "reading\n"
    assert sorted(tmp_path.rglob("*")) != before
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "nothing was written" in told
    assert sorted(tmp_path.rglob("*")) == before
