"""Adapters of one base in one process."""

import numpy as np
import pytest

from tests.training.recipes import make_adapter
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.models.members import load_members
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig

TEXTS = ["anna went to rome .", "otto saw the river ."]


def _configure(folder):
    return configure_tagger(
        find_checkpoint(str(folder)),
        backend=BackendConfig(),
        windows=WindowConfig(max_tokens=24, overlap_tokens=4),
        decoding=DecodingConfig(),
        batch_tokens=256,
    )


def _tag(config, loaded):
    found = config.build(loaded).tag(TEXTS)
    return [found.document.tolist(), found.start.tolist(), found.label.tolist(), found.score]


@pytest.mark.parametrize("spec", ["lora:rank=2,targets=query+value", "adapter:size=4"])
def test_what_they_have_alike_of_the_base_is_held_once_and_answers_stay(base, tmp_path, spec):
    for at, name in enumerate("ab"):
        make_adapter(base, tmp_path / name, spec, seed=at)
    configs = {name: _configure(tmp_path / name) for name in "ab"}
    alone = {name: _tag(config, config.load()) for name, config in configs.items()}

    loaded = load_members(configs.items())

    weights = [loaded[name].classifier._model.list_weights() for name in "ab"]
    assert weights[0].keys() == weights[1].keys()
    shared = {name for name, own in weights[0].items() if own.data_ptr() == weights[1][name].data_ptr()}
    sizes = {name: own.numel() for name, own in weights[0].items()}
    assert sum(sizes[name] for name in shared) > 0.5 * sum(sizes.values())
    assert not any(name in shared for name in sizes if "head" in name or "classifier" in name)
    for name, config in configs.items():
        found = _tag(config, loaded[name])
        assert found[:3] == alone[name][:3]
        assert np.array_equal(found[3], alone[name][3])
