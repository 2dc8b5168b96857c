"""`spanmill train --method` for small checkpoints, and `spanmill annotate` with them."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

import training.adapters
from pipelines.__main__ import main
from pipelines.training.options import TrainOptions
from schemas.checkpoints import CheckpointCard
from tests.pipelines.conftest import read_rows
from tests.training.recipes import make_encoder, make_labelled_file
from training.scores import micro_f1

FAST = ("--epochs", "4", "--batch-size", "8", "--max-tokens", "24", "--patience", "4", "--map", "person=PER")
RATES = {"full": "5e-3", "bitfit": "2e-2", "ia3": "3e-2", "prompt": "3e-2", "prefix": "3e-2"}
SPECS = (
    "frozen",
    "frozen:layers=1",
    "bitfit",
    "lora:rank=4",
    "lora:rank=4,dora=true",
    "ia3",
    "adapter:size=8",
    "prompt:tokens=4",
    "prefix:tokens=4",
    "prefix:tokens=4,projection=true",
)
FOLDED = SPECS[:6]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    make_labelled_file(folder / "train.conll", n_sentences=54)
    make_labelled_file(folder / "dev.conll", n_sentences=9, shift=1)
    lines = [f"{person} went to {place} ." for person in ("anna", "otto", "mia") for place in ("rome", "oslo", "lima")]
    (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _train(base, files, output, spec, *more):
    words = ["--train", files / "train.conll", "--dev", files / "dev.conll", "--base", base, "--output", output]
    rate = RATES.get(spec.partition(":")[0], "2e-2")
    return main(["train", *map(str, words), *FAST, "--learning-rate", rate, "--method", spec, *more])


def _card(folder):
    return CheckpointCard.from_json((folder / "card.json").read_text(encoding="utf-8"))


def _entities(output):
    return [
        [(entity["start"], entity["end"], entity["label"], pytest.approx(entity["score"], abs=1e-4)) for entity in row]
        for row in (row["entities"] for row in read_rows(output))
    ]


@pytest.mark.parametrize(
    ("method", "asked", "rate"),
    [
        ("full", 0.0, 5e-5),
        ("lora:rank=4", 0.0, 1e-3),
        ("frozen", 0.0, 1e-2),
        ("frozen:layers=1", 0.0, 2e-4),
        ("prefix:projection=true", 0.0, 1e-3),
        ("lora", 3e-4, 3e-4),
    ],
)
def test_a_method_has_a_rate_of_its_own_unless_told(method, asked, rate):
    options = TrainOptions(train=("a.conll",), base="a", output="b", method=method, learning_rate=asked)
    assert options.config.learning_rate == rate


@pytest.mark.parametrize("spec", SPECS)
def test_train_writes_a_small_checkpoint_that_learned(base, files, tmp_path, spec):
    assert _train(base, files, tmp_path / "model", spec, "--epochs", "8") == 0
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "config.json", "tokenizer.json", "card.json"}
    assert not names & {"model.safetensors", ".training"}
    card = _card(tmp_path / "model")
    assert card.trained_parameters < card.parameters
    assert card.options["method"] == spec
    (score,) = card.scores
    assert micro_f1(score.after) > max(0.3, micro_f1(score.before))


@pytest.mark.parametrize("spec", FOLDED)
def test_annotate_gives_the_same_entities_from_an_adapter_as_from_the_merged_checkpoint(
    base, files, tmp_path, annotate, spec
):
    for name, more in (("adapter", ()), ("merged", ("--merge",))):
        assert _train(base, files, tmp_path / name, spec, *more) == 0
        assert annotate(source=files / "texts.txt", model=tmp_path / name, output=f"out-{name}") == 0
    assert (tmp_path / "merged" / "model.safetensors").exists()
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert _card(tmp_path / "merged").scores == _card(tmp_path / "adapter").scores
    found = _entities(tmp_path / "out-adapter")
    assert any(found)
    assert found == _entities(tmp_path / "out-merged")


@pytest.mark.parametrize("spec", ["adapter:size=8", "prompt:tokens=4", "prefix:tokens=4"])
def test_annotate_runs_adapters_that_stay_beside_their_base(base, files, tmp_path, annotate, spec):
    assert _train(base, files, tmp_path / "model", spec, "--epochs", "8") == 0
    assert annotate("--window-tokens", 512, source=files / "texts.txt", model=tmp_path / "model") == 0
    found = [{(entity["text"], entity["label"]) for entity in row["entities"]} for row in read_rows(tmp_path / "out")]
    assert sum(("anna", "PER") in row for row in found) == 3


def test_annotate_takes_a_base_that_has_moved(base, files, tmp_path, annotate, capsys):
    moved = make_encoder(tmp_path / "before")
    assert _train(moved, files, tmp_path / "model", "lora:rank=4", "--epochs", "1") == 0
    moved = moved.rename(tmp_path / "after")
    assert annotate(source=files / "texts.txt", model=tmp_path / "model") == 2
    assert "give its folder, URL or hub name as base" in capsys.readouterr().err
    assert annotate("--base", moved, source=files / "texts.txt", model=tmp_path / "model") == 0


def test_export_makes_an_engine_of_an_adapter_that_folds(base, files, tmp_path, annotate):
    assert _train(base, files, tmp_path / "model", "lora:rank=4") == 0
    words = ("--model", tmp_path / "model", "--output", tmp_path / "model", "--backend", "onnx", "--no-progress")
    assert main(["export", *map(str, words), "--parity-documents", "20"]) == 0
    for backend in ("torch", "onnx"):
        assert annotate("--backend", backend, source=files / "texts.txt", model=tmp_path / "model", output=backend) == 0
    assert any(_entities(tmp_path / "torch"))
    assert _entities(tmp_path / "onnx") == _entities(tmp_path / "torch")


def test_export_refuses_an_adapter_that_stays_beside_its_base(base, files, tmp_path, capsys):
    assert _train(base, files, tmp_path / "model", "prompt:tokens=4", "--epochs", "1") == 0
    words = ("--model", tmp_path / "model", "--output", tmp_path / "engine", "--backend", "onnx", "--no-progress")
    assert main(["export", *map(str, words)]) == 2
    assert "expected an adapter that folds into its base, found one of type PROMPT_TUNING" in capsys.readouterr().err


@pytest.mark.parametrize("spec", ["lora:rank=4", "prefix:tokens=4,projection=true", "bitfit"])
def test_train_resumes_to_the_same_weights(base, files, tmp_path, spec, monkeypatch):
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        raise KeyboardInterrupt

    assert _train(base, files, tmp_path / "whole", spec) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            _train(base, files, tmp_path / "killed", spec)
    states = list((tmp_path / "killed" / ".training").glob("seed=*/checkpoint-*/*.safetensors"))
    assert [path.name for path in states] == ["trained.safetensors"]
    assert _train(base, files, tmp_path / "killed", spec, "--resume") == 0
    whole, killed = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_train_fails_where_the_checkpoint_is_not_what_was_trained(base, files, tmp_path, monkeypatch, capsys):
    write = training.adapters._write_own

    def write_zeros(model, directory, base):
        model.classifier.weight.data.zero_()
        expected = write(model, directory, base)
        model.classifier.weight.data = torch.ones_like(model.classifier.weight)
        return expected

    monkeypatch.setattr("training.adapters._write_own", write_zeros)
    assert _train(base, files, tmp_path / "model", "bitfit", "--epochs", "1") == 1
    assert "expected logits of the saved checkpoint within" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "model").iterdir()} == {".training"}


@pytest.mark.parametrize(
    ("spec", "more", "message"),
    [
        ("prompt", ("--merge",), "expected --merge with a --method of ['bitfit', 'frozen', 'full', 'ia3', 'lora']"),
        ("prefix", ("--merge",), "found 'prefix', which stays beside"),
        ("adapter", ("--merge",), "found 'adapter', which stays beside"),
        ("prompt:tokens=20", (), "expected --max-tokens of at most 12 for 'tiny' beside 20 virtual tokens, found 24"),
        ("frozen:layers=9", (), "expected layers of --method frozen of at most 2, found 9"),
        ("lora:ranks=9", (), "did you mean 'rank'?"),
    ],
)
def test_train_refuses_a_method_before_it_begins(base, files, tmp_path, spec, more, message, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.training.once.load_model", None)
    assert _train(base, files, tmp_path / "model", spec, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_train_refuses_an_adapter_as_base(base, files, tmp_path, capsys):
    assert _train(base, files, tmp_path / "adapter", "bitfit", "--epochs", "1") == 0
    assert _train(tmp_path / "adapter", files, tmp_path / "model", "bitfit") == 2
    assert "expected a whole model as --base, found the adapter 'adapter'" in capsys.readouterr().err


def test_the_base_is_named_as_it_was_given(base, files, tmp_path, monkeypatch):
    monkeypatch.chdir(base.parent)
    assert _train(base.name, files, tmp_path / "model", "lora:rank=4", "--epochs", "1") == 0
    config = json.loads((tmp_path / "model" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "tiny"
    for path in (tmp_path / "model").iterdir():
        assert str(base.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    "spec", ["frozen", "bitfit", "lora:rank=4", "ia3", "adapter:size=8", "prompt:tokens=4", "prefix:tokens=4"]
)
def test_a_small_checkpoint_keeps_what_a_crf_learned(base, files, tmp_path, annotate, spec):
    assert _train(base, files, tmp_path / "model", spec, "--head", "crf", "--epochs", "2") == 0
    scores = load_file(tmp_path / "model" / "crf.safetensors")
    assert any(tensor.abs().max() > 0 for tensor in scores.values())
    assert not any("crf" in name for name in load_file(tmp_path / "model" / "adapter_model.safetensors"))
    assert annotate(source=files / "texts.txt", model=tmp_path / "model") == 0
    assert len(read_rows(tmp_path / "out")) == 9
