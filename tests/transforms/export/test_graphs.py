"""Every architecture is traced right, whether its attention is fused or not."""

import numpy as np
import pytest

from tests.conftest import TAGS
from transforms.export.fusion import fuse_attention
from transforms.export.graphs import trace_onnx, trace_openvino
from transforms.models.openvino_classifier import import_openvino
from transforms.models.torch_classifier import load_model

_SIZES = {
    "vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 66, "initializer_range": 0.5,
}  # fmt: skip
_DISTILBERT = {
    "vocab_size": 200, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 66,
    "initializer_range": 0.5,
}  # fmt: skip
ARCHITECTURES = {
    "roberta": ({**_SIZES, "pad_token_id": 1}, 2),
    "distilbert": (_DISTILBERT, 2),
    "electra": ({**_SIZES, "embedding_size": 16}, 2),
    # Half of its layers see their neighbourhood only, so that its attention is left as it is.
    "modernbert": ({**_SIZES, "global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0}, 0),
}
SHAPES = [(1, 3), (3, 17), (2, 64)]


def _write(folder, name):
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification

    config = AutoConfig.for_model(name, **ARCHITECTURES[name][0], id2label=dict(enumerate(TAGS)))
    torch.manual_seed(0)
    AutoModelForTokenClassification.from_config(config).save_pretrained(folder)
    return folder


def _batches(padding):
    random = np.random.default_rng(0)
    for n_windows, length in SHAPES:
        ids = random.integers(5, 200, (n_windows, length))
        mask = np.ones_like(ids)
        mask[-1, 3:] = 0
        yield np.where(mask, ids, padding), mask


def _check(folder, run):
    import torch

    model = load_model(folder, torch.float32).eval()
    for ids, mask in _batches(model.config.pad_token_id or 0):
        with torch.inference_mode():
            logits = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
        expected = logits.softmax(-1).numpy()
        found = run({"input_ids": ids, "attention_mask": mask})
        assert found[mask > 0] == pytest.approx(expected[mask > 0], abs=1e-4)


@pytest.mark.parametrize(
    "name",
    ["roberta", *(pytest.param(name, marks=pytest.mark.slow) for name in ("distilbert", "electra", "modernbert"))],
)
def test_a_graph_answers_as_the_model_it_was_traced_from(tmp_path, name):
    import onnxruntime

    folder = _write(tmp_path / "model", name)
    path = tmp_path / "model.onnx"
    trace_onnx(folder, path)
    assert fuse_attention(path) == ARCHITECTURES[name][1]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _check(folder, lambda inputs: session.run(None, inputs)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_openvino_model_answers_as_the_model_it_was_traced_from(tmp_path, name):
    folder = _write(tmp_path / "model", name)
    model = import_openvino().Core().compile_model(trace_openvino(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    _check(folder, lambda inputs: model(inputs)[0])
