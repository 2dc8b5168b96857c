"""Engines of a tiny checkpoint answer as it does, and come into a model folder whole or not at all."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from schemas.engines import EngineCard, Parity
from schemas.errors import CheckpointError, ConfigError, PipelineError
from tests.conftest import write_checkpoint
from transforms.export.engines import (
    Target,
    build_engine,
    check_target,
    judge_parity,
    open_workspace,
    publish_engine,
)
from transforms.export.quantization import take_windows
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger, load_classifier, load_engine
from transforms.models.checkpoint import CRF_NAME, digest_folder, find_checkpoint
from transforms.models.engines import find_engines, open_engine
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig

_RANDOM = np.random.default_rng(1)
TEXTS = ["".join(map(chr, _RANDOM.integers(33, 127, n))) for n in range(5, 60)]
SHAPES = [[64], [64, 64, 64], [3], [3, 3], [17, 9, 3], [64, 3], [5] * 20]
# Mean and largest difference of a probability. A layer 32 wide averages out little of int8's rounding: single tokens
# stray where those of real models, whose F1 is what counts, do not.
TOLERANCES = {"fp32": (1e-6, 1e-5), "bf16": (3e-3, 0.03), "int8": (0.02, 0.15)}
KINDS = [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
PARITY = Parity(
    source="a.txt", documents=10, tokens=100, equal_tags=0.99, equal_entities=0.9, largest_difference=0.1,
    agreement_f1=99.5,
)  # fmt: skip


def _build(target, checkpoint, folder):
    windows = WindowConfig(max_tokens=checkpoint.max_tokens, overlap_tokens=16)
    calibration = take_windows(checkpoint, TEXTS, windows, source="a.txt", most=20)
    is_calibrated = (target.backend, target.precision) == ("openvino", "int8")
    return build_engine(target, checkpoint, folder, calibration if is_calibrated else None, lambda _: None)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, tmp_path_factory):
    """The tiny checkpoint with weights drawn less widely, as rounding is judged here, and trained ones are small."""
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification

    folder = shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("calm") / "model")
    config = AutoConfig.from_pretrained(folder)
    config.initializer_range = 0.1
    torch.manual_seed(0)
    AutoModelForTokenClassification.from_config(config).save_pretrained(folder)
    return find_checkpoint(str(folder))


@pytest.fixture(scope="module")
def engines(checkpoint, tmp_path_factory):
    """An engine of each kind; OpenVINO's in bf16 has the files of the one in fp32."""
    made = {}
    for backend, precision in KINDS:
        if precision != "bf16":
            folder = tmp_path_factory.mktemp(f"{backend}-{precision}")
            made[backend, precision] = _build(Target(backend, precision, folder), checkpoint, folder)
    whole = made["openvino", "fp32"]
    made["openvino", "bf16"] = dataclasses.replace(whole, card=dataclasses.replace(whole.card, precision="bf16"))
    return made


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_an_engine_gives_the_probabilities_of_its_checkpoint(engines, checkpoint, kind):
    torch_classifier = load_classifier(checkpoint, BackendConfig())
    classifier = load_engine(engines[kind], checkpoint)
    random = np.random.default_rng(0)
    for lengths in map(np.array, SHAPES):
        ids = random.integers(5, 100, (len(lengths), lengths.max()))
        is_real = np.arange(ids.shape[1]) < lengths[:, None]
        ids[~is_real] = 0
        expected = torch_classifier.submit(ids, lengths)()
        found = classifier.submit(ids, lengths)()
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        assert np.ptp(expected[is_real]) > 0.2
        difference = np.abs(found - expected)[is_real]
        mean, largest = TOLERANCES[kind[1]]
        assert difference.mean() < mean
        assert difference.max() < largest


def test_the_attention_of_every_layer_is_fused_for_onnx(engines):
    import onnx

    for precision, operator in (("fp32", "Attention"), ("int8", "QAttention")):
        engine = engines["onnx", precision]
        nodes = [node.op_type for node in onnx.load(engine.folder / "model.onnx").graph.node]
        assert engine.card.options["fused_attentions"] == 2
        assert nodes.count(operator) == 2
        assert "MultiHeadAttention" not in nodes


def test_an_engine_of_int8_is_smaller(engines):
    for backend, file in (("onnx", "model.onnx"), ("openvino", "model.bin")):
        sizes = [(engines[backend, precision].folder / file).stat().st_size for precision in ("int8", "fp32")]
        assert sizes[0] < sizes[1]


def test_a_card_survives_a_round_trip_and_names_every_file(engines, checkpoint):
    for engine in engines.values():
        card = dataclasses.replace(engine.card, parity=PARITY)
        assert EngineCard.from_json(card.to_json()) == card
        assert sorted(card.files) == sorted(path.name for path in engine.folder.iterdir())
        assert card.checkpoint == checkpoint.digest
    described = json.dumps(engines["openvino", "int8"].card.calibration)
    assert TEXTS[0] not in described
    assert engines["openvino", "int8"].card.calibration["windows"] == 20


def test_an_engine_is_published_with_its_checkpoint_then_beside_others_then_anew(checkpoint, engines, tmp_path):
    folder = tmp_path / "model"
    for backend, precision in (("onnx", "fp32"), ("onnx", "int8"), ("onnx", "fp32")):
        target = Target(backend, precision, folder)
        check_target(target, checkpoint)
        with open_workspace(target) as workspace:
            copy = shutil.copytree(engines[backend, precision].folder, workspace / "engine")
            publish_engine(dataclasses.replace(engines[backend, precision], folder=copy), target, checkpoint)
    assert digest_folder(folder) == checkpoint.digest
    assert [engine.card.name for engine in find_engines(find_checkpoint(str(folder)))] == ["onnx-fp32", "onnx-int8"]
    assert open_engine(find_checkpoint(str(folder)), "onnx", "fp32").card == engines["onnx", "fp32"].card
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_an_engine_is_published_into_an_empty_folder(checkpoint, engines, tmp_path):
    target = Target("onnx", "fp32", tmp_path)
    check_target(target, checkpoint)
    with open_workspace(target) as workspace:
        copy = shutil.copytree(engines["onnx", "fp32"].folder, workspace / "engine")
        publish_engine(dataclasses.replace(engines["onnx", "fp32"], folder=copy), target, checkpoint)
    assert open_engine(find_checkpoint(str(tmp_path)), "onnx", "fp32").card.name == "onnx-fp32"


def test_what_a_killed_export_left_is_removed(checkpoint, tmp_path):
    target = Target("onnx", "fp32", tmp_path / "model")
    (target.workspace / "engine").mkdir(parents=True)
    with open_workspace(target) as workspace:
        assert not list(workspace.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_another_checkpoint_is_refused(checkpoint, tmp_path):
    write_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(ConfigError, match="expected --output to be new, empty or a copy of the model"):
        check_target(Target("onnx", "fp32", tmp_path / "other"), checkpoint)


def test_a_file_in_the_place_of_the_folder_is_refused(checkpoint, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="found a file"):
        check_target(Target("onnx", "fp32", tmp_path / "file"), checkpoint)


@pytest.mark.parametrize(("backend", "precision"), [("torch", "fp32"), ("onnx", "bf16"), ("openvino", "fp16")])
def test_what_no_backend_offers_is_refused(checkpoint, tmp_path, backend, precision):
    with pytest.raises(ConfigError, match=r"expected --(backend|precision)"):
        check_target(Target(backend, precision, tmp_path), checkpoint)


def test_an_engine_that_loses_too_much_is_refused(engines):
    with pytest.raises(PipelineError, match=r"lose 0.3 points of agreement .* found 0\.50; nothing was written"):
        judge_parity(engines["onnx", "int8"], PARITY, most_lost=0.3)
    judge_parity(engines["onnx", "int8"], PARITY, most_lost=0.5)
    scored = dataclasses.replace(PARITY, checkpoint_f1=90.0, engine_f1=89.8)
    judge_parity(engines["onnx", "int8"], scored, most_lost=0.3)
    with pytest.raises(PipelineError, match=r"points of F1 at most, found 0\.20"):
        judge_parity(engines["onnx", "int8"], scored, most_lost=0.1)


def test_an_engine_in_fp32_with_another_tag_is_refused(engines):
    with pytest.raises(PipelineError, match="found 1 of 100 tokens"):
        judge_parity(engines["onnx", "fp32"], PARITY, most_lost=100)


def test_calibration_without_text_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="expected text in --calibration"):
        take_windows(checkpoint, ["", " "], WindowConfig(max_tokens=64, overlap_tokens=16), source="a.txt", most=2)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_an_engine_decodes_with_the_transitions_of_its_checkpoint(checkpoint, tmp_path, backend):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "model")
    draw = np.random.default_rng(0)
    n_tags = len(checkpoint.tag_set.tags)
    scores = {"steps": draw.normal(size=(n_tags, n_tags)), "first": draw.normal(size=n_tags), "last": np.zeros(n_tags)}
    save_file({name: 9 * score for name, score in scores.items()}, folder / CRF_NAME)
    plain, learned = checkpoint, find_checkpoint(str(folder))
    with open_workspace(target := Target(backend, "fp32", folder)) as workspace:
        (workspace / "engine").mkdir()
        engine = _build(target, learned, workspace / "engine")
        publish_engine(
            dataclasses.replace(engine, card=dataclasses.replace(engine.card, parity=PARITY)), target, learned
        )
    assert _tag(learned, backend) == _tag(learned, "torch")
    assert _tag(learned, "torch") != _tag(plain, "torch")
    (folder / CRF_NAME).unlink()
    with pytest.raises(CheckpointError, match="export it anew"):
        _tag(find_checkpoint(str(folder)), backend)


def _tag(checkpoint, backend):
    tagger = configure_tagger(
        checkpoint,
        backend=BackendConfig(backend=backend),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=512,
    )
    found = tagger.build(tagger.load()).tag(TEXTS)
    return list(
        zip(found.document.tolist(), found.start.tolist(), found.end.tolist(), found.label.tolist(), strict=True)
    )
