"""Which engine `auto` stands for, and cards that cannot be read."""

import shutil
from types import SimpleNamespace

import pytest

from schemas.engines import EngineCard
from schemas.errors import CheckpointError, ConfigError
from transforms.models import engines
from transforms.models.checkpoint import find_checkpoint
from transforms.models.engines import choose_backend, find_engines, open_engine

VNNI, PLAIN = {"avx2", "avx512_vnni"}, {"avx2"}


@pytest.fixture
def choose(tiny_checkpoint, monkeypatch):
    """Engines that are there, flags of the processor and the wanted precision in, the chosen backend out."""

    def run(found, flags, precision="auto", device="cpu"):
        names = [name.split("-") for name in found]
        cards = [EngineCard(backend=name[0], precision=name[1], checkpoint="", files={}) for name in names]
        monkeypatch.setattr(engines, "find_engines", lambda _: [SimpleNamespace(card=card) for card in cards])
        monkeypatch.setattr(engines, "read_flags", lambda: flags)
        return choose_backend(find_checkpoint(str(tiny_checkpoint)), device=device, precision=precision)

    return run


@pytest.mark.parametrize(
    ("found", "flags", "precision", "backend"),
    [
        ([], PLAIN, "auto", "torch"),
        (["onnx-int8"], PLAIN, "auto", "torch"),
        (["onnx-fp32", "openvino-fp32"], PLAIN, "auto", "onnx"),
        (["onnx-fp32", "openvino-fp32"], VNNI, "auto", "openvino"),
        (["openvino-fp32"], PLAIN, "fp32", "openvino"),
        (["onnx-int8", "openvino-int8"], PLAIN, "int8", "onnx"),
        (["onnx-int8", "openvino-int8"], VNNI, "int8", "openvino"),
        (["onnx-int8", "openvino-int8"], set(), "int8", "openvino"),
    ],
)
def test_auto_takes_the_engine_of_the_wanted_precision_that_suits_the_processor(
    choose, found, flags, precision, backend
):
    assert choose(found, flags, precision) == backend


def test_auto_takes_pytorch_on_a_gpu(choose):
    assert choose(["onnx-fp32"], PLAIN, device="cuda") == "torch"


def test_a_precision_that_nothing_has_names_the_export_to_make(choose):
    with pytest.raises(ConfigError, match="spanmill export --backend onnx --precision int8"):
        choose(["onnx-fp32"], PLAIN, "int8")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "expected an engine card, found no JSON from character 1 on"),
        (b"{}", "expected an engine card, found other JSON"),
        (b"\xff", "'utf-8' codec"),
    ],
)
def test_a_damaged_card_is_named(tiny_checkpoint, tmp_path, content, problem):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    (folder / "engines/onnx-int8").mkdir(parents=True)
    (folder / "engines/onnx-int8/engine.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        find_engines(find_checkpoint(str(folder)))
    assert str(caught.value).startswith(f"cannot read engines/onnx-int8/engine.json of model 'model': {problem}")
    assert str(caught.value).endswith("; export it anew")


def test_an_engine_that_the_default_model_lacks_is_made_in_a_folder_of_ones_own():
    message = "in the default model, found none; make one with .* --output DIR, and name DIR as the model"
    with pytest.raises(CheckpointError, match=message):
        open_engine(find_checkpoint("default"), "onnx", "int8")
