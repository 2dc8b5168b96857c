import json

import pytest

from schemas.errors import CheckpointError
from tests.training.recipes import make_adapter
from transforms.models.adapters.stored import CONFIG_NAME, WEIGHTS_NAME, is_adapter, read_adapter


def _edit(folder, **changes):
    path = folder / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spec", "kind", "is_folded", "virtual_tokens"),
    [
        ("bitfit", "SPANMILL_SELECTED", True, 0),
        ("adapter", "SPANMILL_BOTTLENECK", False, 0),
        ("lora", "LORA", True, 0),
        ("ia3", "IA3", True, 0),
        ("prompt:tokens=3", "PROMPT_TUNING", False, 3),
        ("prefix:tokens=4", "PREFIX_TUNING", False, 4),
    ],
)
def test_read_adapter_tells_what_it_is(base, tmp_path, spec, kind, is_folded, virtual_tokens):
    make_adapter(base, tmp_path, spec)
    adapter = read_adapter(tmp_path)
    assert (adapter.kind, adapter.is_folded, adapter.virtual_tokens) == (kind, is_folded, virtual_tokens)
    assert adapter.base == str(base)


def test_is_adapter_is_false_for_whole_models(base, tmp_path):
    make_adapter(base, tmp_path, "bitfit")
    assert is_adapter(tmp_path)
    assert not is_adapter(base)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert not is_adapter(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "VERA"}, "expected an adapter of type LORA, .* found 'VERA'"),
        ({"base_model_name_or_path": None}, "expected the name of a base model"),
        ({"rank_pattern": {"query": 2}}, r"expected the usual values of \['rank_pattern'\]"),
        ({"bias": "all"}, r"expected the usual values of \['bias'\]"),
        ({"fan_in_fan_out": True}, r"expected the usual values of \['fan_in_fan_out'\]"),
    ],
)
def test_read_adapter_refuses_what_it_cannot_run(base, tmp_path, changes, message):
    make_adapter(base, tmp_path, "lora")
    _edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_adapter(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"peft_type": "PROMPT_TUNING", "base_model_name_or_path": "x"}'])
def test_read_adapter_refuses_a_config_that_is_none(tmp_path, content):
    (tmp_path / CONFIG_NAME).write_text(content)
    with pytest.raises(CheckpointError, match=f"cannot read {CONFIG_NAME}"):
        read_adapter(tmp_path)


def test_read_adapter_refuses_a_folder_without_weights(base, tmp_path):
    make_adapter(base, tmp_path, "lora")
    (tmp_path / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match=f"expected {WEIGHTS_NAME} in adapter"):
        read_adapter(tmp_path)
