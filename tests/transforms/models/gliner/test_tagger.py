"""Texts through windows to entities, with a network that answers by rule; and GLiNER itself with random weights."""

import importlib.util
import itertools
import json
import pickle
import re
import shutil

import pytest

from schemas.errors import CheckpointError, ConfigError, ModelError
from tests.conftest import write_tokenizer
from transforms.models.backends import BackendConfig
from transforms.models.gliner.network import Word
from transforms.models.gliner.options import GlinerOptions
from transforms.models.gliner.tagger import GlinerTagger, configure_gliner
from transforms.models.gliner.windows import WordSpan

needs_gliner = pytest.mark.skipif(
    importlib.util.find_spec("gliner") is None, reason="gliner needs an environment of its own; make test-gliner"
)
# What the library warns of when it is imported, and when any bi-encoder is loaded.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:DeprecationWarning", "ignore:Resizing embeddings is not supported"
)
LABELS = {"PER": "name of a person", "LOC": ""}


class RuleNetwork:
    """Every word that begins with a capital is a PER, of two such words one; each letter is a token."""

    prompt_tokens = 4

    def __init__(self, *, most_windows=99):
        self.windows = []
        self._most_windows = most_windows

    def split(self, text):
        return [Word(match.group(), *match.span()) for match in re.finditer(r"\w+|[^\w\s]", text.replace("§", " "))]

    def count_tokens(self, words):
        return list(map(len, words))

    def find(self, windows):
        if len(windows) > self._most_windows:
            raise MemoryError
        for words in windows:
            if "Poison" in words:
                raise RuntimeError("cannot digest this text")
            if "Nonsense" in words:
                raise ModelError("expected scores that are numbers, found NaN")
        self.windows += windows
        return list(map(self._spans, windows)), sum(map(len, windows))

    def _spans(self, words):
        spans, at = [], 0
        while at < len(words):
            first = at
            while at < len(words) and at - first < 2 and words[at][0].isupper():
                at += 1
            if at > first:
                spans.append(WordSpan(first, at, 0, 0.5 + 0.1 * (at - first)))
            at += at == first
        return spans


def _build(network, *, max_words=100, max_tokens=400, **options):
    return GlinerTagger(network, ("PER", "LOC"), GlinerOptions(**options), max_words=max_words, max_tokens=max_tokens)


def _surfaces(texts, found):
    return [texts[at][a:b] for at, a, b in zip(found.document, found.start, found.end, strict=True)]


def test_texts_in_entities_out():
    texts = ["Anna Berg lives in Berlin.", "", "nobody"]
    found = _build(RuleNetwork()).begin(texts)()
    assert _surfaces(texts, found) == ["Anna Berg", "Berlin"]
    assert found.score.tolist() == pytest.approx([0.7, 0.6])
    assert found.windows.tolist() == [1, 0, 1]
    assert found.tokens.tolist() == [22, 0, 6]
    assert not found.failures


def test_no_texts_give_no_entities():
    assert len(_build(RuleNetwork()).tag([]).document) == 0


def test_a_long_text_is_read_to_its_end_and_its_entities_found_once_and_whole():
    text = "one two Anna Berg three " * 40
    network = RuleNetwork()
    found = _build(network, window_words=10, overlap_words=4).tag([text])
    assert _surfaces([text], found) == ["Anna Berg"] * 40
    assert found.windows[0] == len(network.windows) > 20
    assert max(map(len, network.windows)) == 10


def test_a_model_that_reads_less_is_given_less():
    network = RuleNetwork()
    _build(network, max_words=8).tag(["word " * 40])
    assert max(map(len, network.windows)) == 8
    network = RuleNetwork()
    _build(network, max_tokens=24).tag(["word " * 40])
    assert max(map(len, network.windows)) == 5


def test_a_word_too_long_for_a_window_is_read_in_pieces():
    text = f"Anna {'x' * 99} Berg"
    network = RuleNetwork()
    found = _build(network, max_tokens=44).tag([text])
    assert _surfaces([text], found) == ["Anna", "Berg"]
    assert not found.failures
    read = {word for words in network.windows for word in words}
    assert read == {"Anna", "Berg", "xxxxx", "xxxx"}


def test_windows_of_about_one_length_run_together():
    network = RuleNetwork()
    _build(network, batch_windows=2).tag(["a b c", "a", "a b", "a b c d"])
    assert list(map(len, network.windows)) == [1, 2, 3, 4]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_text_that_fails_costs_its_neighbours_nothing(batch):
    texts = ["Anna", "Poison here", "Berg", "Cora", "secret Poison"]
    found = _build(RuleNetwork(), batch_windows=batch).tag(texts)
    assert _surfaces(texts, found) == ["Anna", "Berg", "Cora"]
    assert sorted(found.failures) == [1, 4]
    assert found.failures[4].code == "inference_failed"
    assert "secret" not in str(found.failures[4])


def test_a_batch_that_does_not_fit_is_halved():
    texts = ["Anna"] * 7
    found = _build(RuleNetwork(most_windows=2)).tag(texts)
    assert len(found.document) == 7
    assert _build(RuleNetwork(most_windows=0)).tag(["Anna"]).failures[0].code == "too_large"


def test_a_letter_that_is_in_no_word_fails_its_text():
    texts = ["Anna §", "Berg"]
    assert not _build(RuleNetwork()).tag(texts).failures
    network = RuleNetwork()
    network.split = lambda text: [Word("Berg", 0, 4)]
    found = _build(network).tag(["Anna Berg", "Berg"])
    assert found.failures[0].code == "uncovered"
    assert _surfaces(["", "Berg"], found) == ["Berg"]


def test_a_broken_model_stops_the_run():
    with pytest.raises(ModelError, match="found NaN"):
        _build(RuleNetwork()).tag(["Anna", "Nonsense"])


def test_labels_that_leave_no_room_are_refused():
    with pytest.raises(ConfigError, match="that leave 16 of 19 tokens to the text, found labels of 4 tokens"):
        _build(RuleNetwork(), max_tokens=19)


@pytest.mark.parametrize(
    "options", [{"floor": 0}, {"floor": 1}, {"window_words": 7}, {"overlap_words": 200}, {"batch_windows": 0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="of gliner"):
        GlinerOptions(**options)


def _configure(folder, labels=LABELS, **options):
    return configure_gliner(GlinerOptions(model=str(folder), **options), labels, backend=BackendConfig(threads=1))


@pytest.fixture
def folder(tmp_path):
    """What is no more than a checkpoint's files, for what is refused before anything is loaded."""
    import safetensors.numpy

    folder = tmp_path / "model"
    write_tokenizer(folder, ["Anna"])
    (folder / "tokenizer_config.json").write_text("{}")
    safetensors.numpy.save_file({}, folder / "model.safetensors")
    _write_config(folder, encoder_config={"max_position_embeddings": 64})
    return folder


def _write_config(folder, **config):
    (folder / "gliner_config.json").write_text(json.dumps(config))


def _refusal(folder, labels=LABELS):
    with pytest.raises(ConfigError) as refusal:
        _configure(folder, labels)
    return str(refusal.value)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "expected *.safetensors in model 'model', found ['pytorch_model.bin']" in _refusal(folder)


def test_weights_of_another_name_beside_pickled_ones_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert "expected model.safetensors in model 'model'" in _refusal(folder)


def test_remote_code_of_an_encoder_is_refused(folder):
    _write_config(folder, encoder_config={"auto_map": {"AutoModel": "code.Model"}})
    assert "asks for remote code" in _refusal(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "found none of ['gliner_config.json encoder_config']; load it with gliner and save it"),
        ({"encoder_config": {}, "labels_encoder": "x"}, "gliner_config.json labels_encoder_config"),
        ({"encoder_config": {}, "labels_decoder": "x"}, "found one with ['labels_decoder']"),
        ({"encoder_config": {}, "words_splitter_type": "stanza"}, "which is fetched from elsewhere"),
        ({"encoder_config": {}, "max_len": "7"}, "expected max_len in gliner_config.json of model 'model', found '7'"),
    ],
)
def test_a_checkpoint_that_is_not_whole_or_of_another_kind_is_refused(folder, config, message):
    _write_config(folder, **config)
    assert message in _refusal(folder)


def test_a_checkpoint_without_tokenizer_or_config_is_refused(folder):
    (folder / "tokenizer_config.json").unlink()
    assert "tokenizer_config.json" in _refusal(folder)
    (folder / "gliner_config.json").unlink()
    assert "is it a GLiNER checkpoint?" in _refusal(folder)
    assert "set --model" in _refusal("")


def test_labels_must_be_there_and_differ(folder):
    assert "set --labels" in _refusal(folder, {})
    assert "found ['person'] twice" in _refusal(folder, {"PER": "person", "person": ""})


@pytest.mark.skipif(importlib.util.find_spec("gliner") is not None, reason="gliner is installed")
def test_without_the_library_a_person_is_told_how_to_get_it(folder):
    assert "pip install 'spanmill[gliner]', in an environment of its own" in _refusal(folder)


def _write_gliner(folder, kind):
    """A GLiNER of some architecture with random weights, which reads 20 words and 64 tokens at once."""
    import torch
    import transformers
    from gliner import GLiNER, GLiNERConfig

    encoder = folder / "encoder"
    write_tokenizer(encoder, ["Anna", "Berlin", "lives", "in"])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(encoder / "tokenizer.json"),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    tokenizer.save_pretrained(encoder)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    bert = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape)
    torch.manual_seed(0)
    transformers.BertModel(bert).save_pretrained(encoder)
    config = {
        "span": {},
        "token": {"span_mode": "token_level"},
        "bi-encoder": {"labels_encoder": str(encoder), "labels_encoder_config": bert.to_dict()},
    }[kind]
    settings = GLiNERConfig(
        model_name=str(encoder), encoder_config=bert.to_dict(), hidden_size=32, max_width=4, max_len=20, **config
    )
    model = GLiNER.from_config(settings, backbone_from_pretrained=False)
    model.save_pretrained(folder / "saved", safe_serialization=True)
    shutil.rmtree(encoder)  # So that nothing is read but what was saved.
    return folder / "saved"


@pytest.fixture(scope="module", params=["span", "token", "bi-encoder"])
def checkpoint(request, tmp_path_factory):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _write_gliner(tmp_path_factory.mktemp("gliner"), request.param)


@needs_gliner
def test_gliner_finds_what_its_own_inference_finds(checkpoint):
    from gliner import GLiNER

    config = pickle.loads(pickle.dumps(_configure(checkpoint, floor=0.4)))
    texts = ["Anna lives in Berlin.", "", "Anna, Berlin"]
    found = config.build(config.load()).tag(texts)
    prompts = {"PER": "name of a person", "LOC": "LOC"}
    wanted = GLiNER.from_pretrained(str(checkpoint), local_files_only=True).inference(texts, prompts, threshold=0.4)
    rows = zip(found.document, found.start, found.end, found.label, found.score, strict=True)
    assert [(at, start, end, config.labels[label]) for at, start, end, label, _ in rows] == [
        (at, span["start"], span["end"], span["label"]) for at, spans in enumerate(wanted) for span in spans
    ]
    assert found.score.tolist() == pytest.approx([span["score"] for spans in wanted for span in spans], abs=1e-5)
    assert len(found.document) > 3


@needs_gliner
@pytest.mark.filterwarnings("error:.*truncated")
def test_gliner_reads_long_texts_in_windows_without_cutting_them(checkpoint):
    config = _configure(checkpoint, floor=0.3, overlap_words=4)
    text = "Anna lives in Berlin, " * 60
    found = config.build(config.load()).tag([text, "unusually " * 60])
    assert found.windows.min() > 15
    assert not found.failures
    assert found.end[found.document == 0].max() > len(text) - 10
    spans = list(zip(found.document, found.start, found.end, strict=True))
    assert all(one[0] < next_[0] or one[2] <= next_[1] for one, next_ in itertools.pairwise(spans))


@needs_gliner
def test_no_window_is_longer_than_the_tokenizer_reads(checkpoint, monkeypatch):
    config = _configure(checkpoint)
    loaded = config.load()
    shapes = []
    run = loaded.network._model.run_batch
    monkeypatch.setattr(
        loaded.network._model,
        "run_batch",
        lambda batch, **options: shapes.append(batch["input_ids"].shape) or run(batch, **options),
    )
    words = ["Anna", "unusually", "in", "x"] * 30
    tagger = config.build(loaded)
    tagger.tag([" ".join(words)])
    least = sum(loaded.network.count_tokens(words)) + loaded.network.prompt_tokens
    assert max(columns for _, columns in shapes) <= 64
    assert sum(rows * columns for rows, columns in shapes) >= least


@needs_gliner
def test_the_digest_is_that_of_checkpoint_labels_and_options(checkpoint):
    one = _configure(checkpoint)
    others = [
        _configure(checkpoint, {"LOC": "", "PER": "name of a person"}),
        _configure(checkpoint, {**LABELS, "LOC": "a place"}),
        _configure(checkpoint, floor=0.2),
        _configure(checkpoint, window_words=16, overlap_words=2),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    assert _configure(checkpoint, batch_windows=1).digest == one.digest
    assert one.describe()["tagger"] == "gliner"
    assert one.labels == ("PER", "LOC")


@needs_gliner
def test_a_checkpoint_that_changed_since_the_run_was_planned_is_refused(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    config = _configure(copy)
    settings = json.loads((copy / "gliner_config.json").read_text())
    (copy / "gliner_config.json").write_text(json.dumps({**settings, "max_len": 19}))
    with pytest.raises(CheckpointError, match="it changed since the run was planned"):
        config.load()


@needs_gliner
def test_a_checkpoint_without_some_of_its_weights_is_refused(checkpoint, tmp_path):
    import safetensors.torch

    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    lost = sorted(weights)[-1]
    safetensors.torch.save_file(
        {**{name: tensor for name, tensor in weights.items() if name != lost}, "unknown": weights[lost]},
        copy / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match=f"expected every weight in GLiNER model 'copy', found none for .*{lost}"):
        _configure(copy).load()


@needs_gliner
def test_damaged_weights_stop_the_run(checkpoint, tmp_path):
    import safetensors.torch
    import torch

    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}
    safetensors.torch.save_file(broken, copy / "model.safetensors")
    config = _configure(copy)
    with pytest.raises(ModelError, match="found NaN"):
        config.build(config.load()).tag(["Anna"])
