"""A stand-in server for each test, models that ask it without long waits, and tiny models that run here."""

import contextlib

import pytest

from schemas.prompts import Message, Prompt
from tests.transforms.models.language.chat_server import ChatServer
from tests.transforms.models.language.models import make_llama, make_t5
from transforms.models.language.endpoint import EndpointConfig, EndpointModel
from transforms.models.language.pacing import Backoff


@pytest.fixture
def server():
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def open_model(server):
    """Opens a model that asks the server, or the one at `url`; tries again after hundredths of a second."""
    with contextlib.ExitStack() as stack:

        def open_one(*, key="", backoff=None, **options):
            config = EndpointConfig(**{"url": server.url, "model": "tiny", "timeout_s": 5.0, **options})
            model = EndpointModel(config, key=key, backoff=backoff or Backoff(first_s=0.01, longest_s=0.05))
            stack.callback(model.close)
            stack.callback(server.close)  # Lets go of what hangs, before the model waits for it.
            return model

        yield open_one


@pytest.fixture
def ask():
    """Text in, the prompt that consists of it out."""

    def build(text, *, max_answer_tokens=16, grammar=None, system=""):
        messages = ((Message("system", system),) if system else ()) + (Message("user", text),)
        return Prompt(messages, max_answer_tokens, grammar)

    return build


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """The folder of a random causal model."""
    return make_llama(tmp_path_factory.mktemp("llama") / "tiny-llama")


@pytest.fixture(scope="session")
def t5(tmp_path_factory):
    """The folder of a random seq2seq model."""
    return make_t5(tmp_path_factory.mktemp("t5") / "tiny-t5")
