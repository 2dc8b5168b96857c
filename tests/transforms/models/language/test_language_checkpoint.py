import json
import shutil
import sys

import huggingface_hub
import pytest

from schemas.errors import CheckpointError
from tests.transforms.models.language.models import ask, make_gguf, make_llama
from transforms.models.backends import BackendConfig
from transforms.models.language.language_checkpoint import find_language_checkpoint
from transforms.models.language.local import LocalModel


@pytest.fixture
def folder(llama, tmp_path):
    return shutil.copytree(llama, tmp_path / "model")


@pytest.fixture(scope="module")
def gguf_file(llama, tmp_path_factory):
    return make_gguf(llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _edit(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_a_causal_or_a_seq2seq_model_by_its_architecture(llama, t5):
    assert find_language_checkpoint(str(llama)).kind == "causal"
    assert find_language_checkpoint(str(t5)).kind == "seq2seq"


def test_the_limit_is_the_lesser_of_the_models_and_its_tokenizers(folder):
    _edit(folder, max_position_embeddings=100)
    assert find_language_checkpoint(str(folder)).max_tokens == 100

    _edit(folder, "tokenizer_config.json", model_max_length=50)
    assert find_language_checkpoint(str(folder)).max_tokens == 50


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "generation_config.json", "config.json"])
def test_the_digest_changes_with_what_changes_answers(folder, name):
    before = find_language_checkpoint(str(folder)).digest
    (folder / "README.md").write_text("A model")
    same = find_language_checkpoint(str(folder)).digest
    if name == "model.safetensors":
        make_llama(folder, seed=1)
    else:
        _edit(folder, name, note=1)

    assert same == before != find_language_checkpoint(str(folder)).digest


def test_a_model_that_writes_no_text_is_refused(tiny_checkpoint):
    with pytest.raises(
        CheckpointError,
        match=r"expected a language model that writes text \(.*\) in 'model', found BertForTokenClassification",
    ):
        find_language_checkpoint(str(tiny_checkpoint))


def test_a_model_without_a_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()

    with pytest.raises(CheckpointError, match=r"expected tokenizer.json in model 'model', found none"):
        find_language_checkpoint(str(folder))


def test_pickled_weights_and_remote_code_are_refused_unread(folder):
    _edit(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(CheckpointError, match="remote code"):
        find_language_checkpoint(str(folder))

    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    _edit(folder, auto_map=None)
    content = json.loads((folder / "config.json").read_text())
    del content["auto_map"]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"found \['pytorch_model.bin'\]; convert the weights to safetensors"):
        find_language_checkpoint(str(folder))


def test_an_adapter_is_refused(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somewhere/else"}')

    with pytest.raises(CheckpointError, match="expected a whole language model, found the adapter 'model'"):
        find_language_checkpoint(str(folder))


def test_missing_weights_are_told_when_they_are_loaded(folder):
    _edit(folder, num_hidden_layers=3)

    with pytest.raises(CheckpointError, match="expected every weight in model 'model', found none for"):
        find_language_checkpoint(str(folder)).load_model("float32")


def test_a_config_that_does_not_fit_the_weights_is_told_when_they_are_loaded(folder):
    _edit(folder, hidden_size=48)

    with pytest.raises(CheckpointError, match="cannot load the weights of model 'model'"):
        find_language_checkpoint(str(folder)).load_model("float32")


@pytest.mark.parametrize("reference", ["nowhere/at/all", "nowhere.gguf", "./nowhere/tiny.gguf"])
def test_what_is_not_there_is_named(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CheckpointError, match=rf"at '{reference}', found none; check the model"):
        find_language_checkpoint(reference)


def test_a_gguf_answers_as_the_model_that_it_was_made_of(llama, gguf_file):
    prompts = [ask("Anna lives in Berlin"), ask("Otto went to Rome , Mia to Oslo")]
    checkpoints = [find_language_checkpoint(str(path)) for path in (llama, gguf_file)]

    expected, found = (LocalModel(each, BackendConfig(), batch_tokens=1000).answer(prompts) for each in checkpoints)

    assert [answer.text for answer in found] == [answer.text for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert checkpoints[0].max_tokens == checkpoints[1].max_tokens
    assert checkpoints[1].kind == "causal"


def test_a_folder_with_one_gguf_is_that_file_and_nothing_beside_it_is_read(gguf_file, tmp_path):
    shutil.copy(gguf_file, tmp_path / "other-name.gguf")
    (tmp_path / "tokenizer.json").write_text("nonsense")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoConfig": "evil.Config"}}')

    checkpoint = find_language_checkpoint(str(tmp_path))

    assert checkpoint.path == tmp_path / "other-name.gguf"
    assert checkpoint.digest == find_language_checkpoint(str(gguf_file)).digest
    assert checkpoint.load_tokenizer().eos_token == "<|stop|>"


def test_of_several_ggufs_one_is_to_be_named(gguf_file, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(gguf_file, tmp_path / name)

    with pytest.raises(CheckpointError, match=r"expected one GGUF file in .*, found \['a.gguf', 'b.gguf'\]; name one"):
        find_language_checkpoint(str(tmp_path))


def test_parts_of_a_gguf_and_files_that_are_none_are_refused(gguf_file, tmp_path):
    part = shutil.copy(gguf_file, tmp_path / "tiny-00001-of-00002.gguf")
    with pytest.raises(CheckpointError, match="merge the parts with llama-gguf-split"):
        find_language_checkpoint(str(part))

    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(CheckpointError, match=r"expected a GGUF file, found another in 'page.gguf'; fetch it again"):
        find_language_checkpoint(str(tmp_path / "page.gguf"))

    (tmp_path / "cut.gguf").write_bytes(gguf_file.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"cannot load the config of model 'cut.gguf'"):
        find_language_checkpoint(str(tmp_path / "cut.gguf"))


def test_without_the_library_a_gguf_is_an_error_that_says_what_to_install(gguf_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)

    with pytest.raises(CheckpointError, match=r"pip install 'spanmill\[prompt\]'"):
        find_language_checkpoint(str(gguf_file))


def test_a_gguf_is_fetched_from_the_hub_by_repository_and_file(gguf_file, monkeypatch):
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(gguf_file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    assert find_language_checkpoint("owner/name/tiny.gguf").path == gguf_file
    assert asked == [("owner/name", "tiny.gguf")]
