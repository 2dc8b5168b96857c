import dataclasses
import shutil

import pytest
import torch

from schemas.errors import ConfigError
from tests.training.continual.pasts import KNOWN, NEW, OLD, TAGS
from training.checkpoints import write_model
from training.continual.fisher import find_fisher, measure_base, measure_fisher, save_fisher, spread_fisher
from training.continual.memory import BUFFER_NAME, Trained, parse_remember, write_memory
from training.encoders import digest_weights
from training.examples import LabelledSentence, cut_windows, read_files


@pytest.fixture
def trained(past, tmp_path):
    write_model(past.model, past.tokenizer, tmp_path / "new", dtype="float32")
    return Trained(past, [*OLD, *NEW], tmp_path / "new")


def test_a_buffer_is_read_back_as_it_was(trained):
    digest = digest_weights(str(trained.folder))
    odd = LabelledSentence(("#", "x=1", '"', "-"), ((0, 2, "person"),))
    trained = dataclasses.replace(trained, sentences=[*trained.sentences, odd])
    write_memory(parse_remember(["buffer"], is_whole=True), trained)
    (file,) = read_files([str(trained.folder / BUFFER_NAME)], flag="--old")
    assert file.sentences == (*OLD, *NEW, odd)
    assert digest_weights(str(trained.folder)) == digest


@pytest.mark.parametrize("choice", ["random", "balanced", "herding"])
def test_a_buffer_is_no_larger_than_asked_for(trained, choice):
    write_memory(parse_remember([f"buffer:size=2,choice={choice}"], is_whole=True), trained)
    (file,) = read_files([str(trained.folder / BUFFER_NAME)], flag="--old")
    assert len(file.sentences) == 2
    assert set(file.sentences) <= {*OLD, *NEW}


def test_fisher_information_is_added_to_that_of_the_base(champion, trained, tmp_path):
    shutil.copytree(champion, tmp_path / "base")
    before = measure_base(trained.past, 100)
    save_fisher(before, KNOWN.tags, tmp_path / "base")
    past = dataclasses.replace(trained.past, base=tmp_path / "base")
    write_memory(parse_remember(["fisher:decay=0.5"], is_whole=True), dataclasses.replace(trained, past=past))
    tags, found = find_fisher(trained.folder)
    windows = cut_windows(NEW, TAGS, past.tokenizer, max_tokens=32)
    own = measure_fisher(past.model, windows, TAGS, past.tokenizer)
    assert tags == TAGS.tags
    for name, old in spread_fisher(before, KNOWN.tags, past).items():
        assert torch.allclose(found[name], 0.5 * old + own[name], rtol=1e-4, atol=1e-9), name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fisher:decay=2", "expected decay of --remember fisher between 0 and 1, found 2.0"),
        ("fisher:samples=0", "expected samples of --remember fisher above 0, found 0"),
        ("buffer:choice=best", "expected choice of --remember buffer to be one of"),
        ("fisher", "expected --method full or --merge with --remember fisher, found an adapter"),
    ],
)
def test_what_cannot_be_kept_is_refused(spec, message):
    with pytest.raises(ConfigError) as error:
        parse_remember([spec], is_whole=False)
    assert message in str(error.value)
