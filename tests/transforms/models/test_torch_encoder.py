"""The encoder written here against transformers' models of the same weights, family by family."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file, save_file

from schemas.errors import CheckpointError, ConfigError
from tests.conftest import ROOT, TAGS
from transforms.models.backends import BackendConfig
from transforms.models.checkpoint import find_checkpoint
from transforms.models.torch_classifier import TorchClassifier, TransformersNetwork, load_network, restore_shape
from transforms.models.torch_encoder import load_encoder, read_shape
from transforms.models.torch_networks import (
    UnpaddedNetwork,
    attend_by_length,
    attend_padded,
    attend_varlen,
    round_shape,
)
from transforms.text.packing import padding_mask

CPU = torch.device("cpu")
LABELS = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: index for index, tag in enumerate(TAGS)}}
BERT_LIKE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
DISTILBERT = {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "initializer_range": 0.5}
FAMILIES = {
    "bert": BERT_LIKE,
    "roberta": BERT_LIKE,
    "xlm-roberta": BERT_LIKE | {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "camembert": BERT_LIKE,
    "electra": BERT_LIKE | {"embedding_size": 32},
    "distilbert": DISTILBERT,
}


def write_model(folder, family, dtype=torch.float32, **options):
    import transformers

    config = transformers.AutoConfig.for_model(family, **{**FAMILIES[family], **LABELS, **options})
    torch.manual_seed(0)
    model = transformers.AutoModelForTokenClassification.from_config(config)
    for name, weight in model.named_parameters():
        # Biases begin as zeros and norms as ones, where a mix-up would not show.
        if weight.ndim == 1:
            torch.nn.init.normal_(weight, mean=float("LayerNorm.weight" in name or "norm.weight" in name), std=0.2)
    model.to(dtype).save_pretrained(folder)
    return folder


def make_batch(lengths, *, highest=50, seed=0):
    lengths = np.array(lengths)
    ids = np.random.default_rng(seed).integers(2, highest, (len(lengths), lengths.max()))
    return np.where(padding_mask(lengths, lengths.max()) == 1, ids, 1), lengths


def run(network, ids, lengths):
    """Probabilities of the real tokens, (n_tokens, n_tags)."""
    with torch.inference_mode():
        probabilities = network.forward(ids, lengths).float().softmax(-1).numpy()
    return restore_shape(probabilities, lengths, ids.shape[1])[padding_mask(lengths, ids.shape[1]) == 1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("bert"), "bert")


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("network", ["unpadded", "bucketed"])
def test_probabilities_equal_those_of_transformers(tmp_path, family, network, stored):
    write_model(tmp_path, family, stored)
    ids, lengths = make_batch([30, 30, 17, 9, 9, 9, 2])
    expected = run(load_network(tmp_path, torch.float32, CPU, "transformers"), ids, lengths)
    found = run(load_network(tmp_path, torch.float32, CPU, network), ids, lengths)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found.argmax(-1) == expected.argmax(-1)).all()
    assert expected.std(axis=0).max() > 0.05


@pytest.mark.parametrize("network", ["unpadded", "bucketed"])
def test_a_padding_token_in_the_text_is_counted_as_transformers_counts_it(tmp_path, network):
    write_model(tmp_path, "roberta")
    ids, lengths = make_batch([12, 8])
    ids[0, 5] = ids[1, 0] = 1
    expected = run(load_network(tmp_path, torch.float32, CPU, "transformers"), ids, lengths)
    found = run(load_network(tmp_path, torch.float32, CPU, network), ids, lengths)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_full_precision(bert, dtype):
    ids, lengths = make_batch([30, 17, 9])
    full = run(load_network(bert, torch.float32, CPU), ids, lengths)
    half = run(load_network(bert, dtype, CPU), ids, lengths)
    theirs = run(load_network(bert, dtype, CPU, "transformers"), ids, lengths)
    assert np.abs(half - full).mean() < 1.5 * np.abs(theirs - full).mean() + 1e-4


def test_the_default_model_gives_the_tags_of_transformers_without_importing_it():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from transforms.models.backends import BackendConfig\n"
        "from transforms.models.catalog import load_classifier\n"
        "from transforms.models.checkpoint import find_checkpoint\n"
        "classifier = load_classifier(find_checkpoint('default'), BackendConfig())\n"
        "classifier.submit(np.array([[101, 2198, 102]]), np.array([3]))()\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    ids, lengths = make_batch([120, 64, 64, 31, 7], highest=30000)
    model = ROOT / "assets/model"
    expected = run(load_network(model, torch.float32, CPU, "transformers"), ids, lengths)
    found = run(load_network(model, torch.float32, CPU), ids, lengths)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"position_embedding_type": "relative_key"},
        {"hidden_act": "gelu_new"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"pruned_heads": {"0": [1]}},
        {"quantization_config": {"bits": 4}},
        {"model_type": "deberta-v2"},
        {"layer_norm_eps": None},
        {"num_attention_heads": 5},
        {"num_hidden_layers": "2"},
        {"hidden_size": 64},
        {"type_vocab_size": 1},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"id2label": {"0": "O"}},
    ],
)
def test_a_config_that_is_not_known_to_the_letter_is_left_to_transformers(bert, tmp_path, changes):
    config = json.loads((bert / "config.json").read_text())
    assert load_encoder(bert, torch.float32, CPU) is not None
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    (tmp_path / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes())
    assert load_encoder(tmp_path, torch.float32, CPU) is None


@pytest.mark.parametrize("option", ["num_hidden_layers", "vocab_size", "id2label", "layer_norm_eps", "pad_token_id"])
def test_an_option_that_is_missing_is_left_to_transformers(tmp_path, option):
    config = json.loads((write_model(tmp_path, "roberta") / "config.json").read_text())
    assert read_shape(config) is not None
    del config[option]
    assert read_shape(config) is None


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("classifier.bias", None),
        ("bert.encoder.layer.1.output.dense.weight", None),
        ("bert.encoder.layer.0.attention.self.distance_embedding.weight", torch.zeros(79, 8)),
        ("classifier.bias", torch.zeros(len(TAGS), dtype=torch.int8)),
        ("classifier.bias", torch.zeros(len(TAGS) + 1)),
    ],
)
def test_weights_that_do_not_fit_are_left_to_transformers(bert, tmp_path, name, weight):
    weights = load_file(bert / "model.safetensors")
    weights = {key: value for key, value in weights.items() if key != name} | ({} if weight is None else {name: weight})
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    assert load_encoder(tmp_path, torch.float32, CPU) is None


def test_a_pooler_is_of_no_use_and_no_hindrance(bert, tmp_path):
    weights = load_file(bert / "model.safetensors")
    weights |= {"bert.pooler.dense.weight": torch.zeros(32, 32), "bert.pooler.dense.bias": torch.zeros(32)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    assert isinstance(load_network(tmp_path, torch.float32, CPU), UnpaddedNetwork)


def test_an_architecture_that_is_not_known_runs_through_transformers(tmp_path):
    write_model(tmp_path, "bert", hidden_act="relu")
    assert isinstance(load_network(tmp_path, torch.float32, CPU), TransformersNetwork)
    with pytest.raises(ConfigError, match="leave network at auto"):
        load_network(tmp_path, torch.float32, CPU, "bucketed")
    with pytest.raises(ConfigError, match="expected network"):
        load_network(tmp_path, torch.float32, CPU, "padded")


def test_a_weight_that_is_missing_is_the_error_of_transformers(bert, tmp_path):
    weights = load_file(bert / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"classifier\.weight"):
        load_network(tmp_path, torch.float32, CPU)


@pytest.fixture(scope="module")
def networks(bert):
    return [load_network(bert, torch.float32, CPU, name) for name in ("unpadded", "bucketed")]


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_windows_do_not_see_each_other_or_their_padding(networks, lengths, seed):
    ids, lengths = make_batch(lengths, seed=seed)
    alone = [
        run(networks[0], ids[row : row + 1, :length], lengths[row : row + 1]) for row, length in enumerate(lengths)
    ]
    for network in networks:
        np.testing.assert_allclose(run(network, ids, lengths), np.concatenate(alone), atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 33), min_size=1, max_size=8))
def test_attention_end_to_end_equals_attention_over_padding(lengths):
    real = torch.from_numpy(padding_mask(np.array(lengths), max(lengths)).astype(bool))
    padded = torch.randn(*real.shape, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    expected = attend_padded(real)(padded.flatten(0, 1)).unflatten(0, tuple(real.shape))[real]
    found = attend_by_length(np.array(lengths))(padded[real])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_variable_length_kernel_is_called_as_torch_declares_it():
    from torch._subclasses.fake_tensor import FakeTensorMode

    # The kernel exists on CUDA only; torch's own description of it checks types and shapes anywhere.
    attend = attend_varlen(np.array([4, 3]), CPU)
    with FakeTensorMode(allow_non_fake_inputs=True):
        heads = torch.empty(7, 3, 2, 16, dtype=torch.bfloat16)
        mixed = attend(heads)
    assert (mixed.shape, mixed.dtype) == ((7, 2, 16), torch.bfloat16)


@given(n_windows=st.integers(1, 5000), longest=st.integers(1, 5000), most_tokens=st.integers(16, 5000))
def test_a_bucket_holds_the_batch_and_wastes_little(n_windows, longest, most_tokens):
    rows, length = round_shape(n_windows, longest, most_tokens=most_tokens)
    assert n_windows <= rows <= max(1.5 * n_windows, 1)
    assert longest <= length <= max(longest, most_tokens)
    assert length <= max(32, 1.5 * longest, longest + 128)


def test_buckets_are_few():
    shapes = {round_shape(max(1, 2048 // n), n, most_tokens=512) for n in range(1, 513)}
    assert len(shapes) <= 4 * 8
    assert {length for _, length in shapes} == {32, 64, 96, 128, 192, 256, 384, 512}


def test_shapes_in_turn_do_not_mix(bert):
    network = load_network(bert, torch.float32, CPU, "bucketed")
    batches = [make_batch(lengths, seed=seed) for seed, lengths in enumerate([[9, 5], [40, 33], [8, 8], [9, 5]])]
    expected = [run(load_network(bert, torch.float32, CPU), *batch) for batch in batches]
    for _ in range(2):
        for batch, answer in zip(batches, expected, strict=True):
            np.testing.assert_allclose(run(network, *batch), answer, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("network", ["unpadded", "bucketed", "transformers"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.1), ("fp16", 0.02)])
def test_networks_on_cuda_answer_as_the_cpu_does(precision, tolerance, network):
    checkpoint = find_checkpoint("default")
    on_cpu = TorchClassifier(checkpoint.folder, checkpoint.tag_set, BackendConfig())
    config = BackendConfig(device="cuda", precision=precision)
    on_gpu = TorchClassifier(checkpoint.folder, checkpoint.tag_set, config, network=network)
    batches = [make_batch(lengths, highest=30000) for lengths in ([200, 120, 120, 7], [64, 40], [200, 9, 9, 9])]
    fetches = [on_gpu.submit(*batch) for batch in [*batches, *batches]]
    for (ids, lengths), fetch in zip([*batches, *batches], fetches, strict=True):
        real = padding_mask(lengths, ids.shape[1]) == 1
        np.testing.assert_allclose(fetch()[real], on_cpu.submit(ids, lengths)()[real], atol=tolerance)
