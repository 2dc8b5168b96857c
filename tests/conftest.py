"""Fixtures that several test folders share: small checkpoints made here, the model that comes along, and stores.

`tiny_checkpoint` has random weights and reads any text; use it where only plumbing counts. `DEFAULT_MODEL` is the
real one; use it where answers count.
"""

import json
import os
import socket
import uuid
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
TAGS = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]

# Threads of a tiny model wait for each other longer than they work, here and in processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What `make fuzz` asks for; the usual profile tries a hundred examples.
settings.register_profile("fuzz", max_examples=3000)


def write_tokenizer(folder: Path, words: list[str]) -> None:
    """Saves a BERT-like tokenizer whose vocabulary is some words, single characters and their continuations."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    characters = [chr(code) for code in range(33, 127)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = [*special, *characters, *(f"##{c}" for c in characters), *words]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 64, "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_checkpoint(folder: Path, *, tags: list[str] = TAGS, seed: int = 0) -> Path:
    """Saves a two-layer BERT tagger with random weights, 64 tokens at most."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    write_tokenizer(folder, ["Anna", "Berlin", "in", "lives"])
    n_words = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=n_words,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label=dict(enumerate(tags)),
        label2id={tag: index for index, tag in enumerate(tags)},
    )
    BertForTokenClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A random encoder of two layers, to train from."""
    from tests.training.recipes import make_encoder

    return make_encoder(tmp_path_factory.mktemp("base") / "tiny")


KEYS = {"key": "testing", "secret": "testing"}


def _set_s3(monkeypatch, endpoint: str) -> None:
    import s3fs

    # A client keeps the address it was made with.
    s3fs.S3FileSystem.clear_instance_cache()
    for key, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(f"AWS_{key}", value)


@pytest.fixture(scope="session")
def s3_endpoint():
    """A real server that speaks S3, on a port of its own."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3fs.S3FileSystem(**KEYS, endpoint_url=endpoint).mkdir("bucket")
    yield endpoint
    server.stop()


@pytest.fixture
def dead_s3(monkeypatch):
    """The address of an S3 server that does not answer, as a person would have set it."""
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    _set_s3(monkeypatch, endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield endpoint
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def live_s3(s3_endpoint, monkeypatch):
    """The address of an S3 server with one bucket, `bucket`, as a person would have set it."""
    _set_s3(monkeypatch, s3_endpoint)
    return s3_endpoint


@pytest.fixture
def posix_store(tmp_path):
    from transforms.storage.posix import PosixStore

    return PosixStore(str(tmp_path / "run"))


@pytest.fixture
def memory_store():
    import fsspec

    from transforms.storage.objects import ObjectStore

    fs = fsspec.filesystem("memory")
    root = f"/runs-{uuid.uuid4().hex}/run"
    yield ObjectStore(fs, root)
    if fs.exists(root):
        fs.rm(root, recursive=True)


@pytest.fixture
def s3_store(s3_endpoint):
    import s3fs

    from transforms.storage.objects import ObjectStore

    return ObjectStore(s3fs.S3FileSystem(**KEYS, endpoint_url=s3_endpoint), f"bucket/{uuid.uuid4().hex}/run")


@pytest.fixture(params=["posix", "memory", "s3"])
def store(request):
    """Each store in turn."""
    return request.getfixturevalue(f"{request.param}_store")
