"""A real server, llama.cpp's, asked directly and through one that spoils what it says.

Needs the library xllamacpp, which holds that server, and a model: SPANMILL_TEST_GGUF names its file.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys

import pytest

from schemas.prompts import Answer, Grammar
from tests.transforms.models.language.chat_server import ChatServer, cut_body, fail, hang, reset, say
from transforms.models.language.answer_cache import CachedModel
from transforms.models.language.endpoint import EndpointConfig, EndpointModel
from transforms.models.language.pacing import Backoff
from transforms.storage.store import open_store

GGUF = os.environ.get("SPANMILL_TEST_GGUF", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="needs xllamacpp, llama.cpp's server"),
    pytest.mark.skipif(not GGUF, reason="needs a model in SPANMILL_TEST_GGUF"),
]

SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.cpuparams.n_threads = sys.argv[1], 2048, 2, 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

NAMES = Grammar(
    "json_schema",
    json.dumps(
        {
            "type": "object",
            "properties": {"PER": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 2}},
            "required": ["PER"],
            "additionalProperties": False,
        }
    ),
)
SENTENCES = ["Anna lives in Bonn.", "Peter Müller met Angela.", "Nobody was there.", "Tokyo won.", "Élise left."]


@pytest.fixture(scope="module")
def llama_cpp():
    """Base URL of a running llama.cpp server with 1,024 tokens for each of two prompts at a time."""
    command = [sys.executable, "-c", SERVE, GGUF]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        yield f"{server.stdout.readline().strip()}/v1"
        server.kill()


@pytest.fixture
def open_real(llama_cpp):
    """Opens a model that asks it, or what stands at `url`."""
    models = []

    def build(**options):
        options = {"url": llama_cpp, "model": "smol", "concurrency": 2, "grammars": "llama.cpp", **options}
        models.append(EndpointModel(EndpointConfig(**options), backoff=Backoff(first_s=0.05, longest_s=0.2)))
        return models[-1]

    yield build
    for model in models:
        model.close()


def test_it_answers_with_pieces_that_make_up_the_text(open_real, ask):
    (answer,) = open_real().answer([ask("Name the capital of France.", max_answer_tokens=12)])

    assert answer.text
    assert "".join(answer.pieces) == answer.text
    assert len(answer.log_probs) == len(answer.pieces)
    assert all(-math.inf < log_prob <= 0 for log_prob in answer.log_probs)
    assert 0 < answer.answer_tokens <= 12
    assert answer.prompt_tokens > 5


def test_it_says_when_an_answer_is_cut(open_real, ask):
    (answer,) = open_real().answer([ask("Count from one to a hundred.", max_answer_tokens=5)])

    assert (answer.is_cut, answer.answer_tokens) == (True, 5)


def test_it_keeps_to_a_schema(open_real, ask):
    prompts = [ask(f"List persons: {text}", max_answer_tokens=80, grammar=NAMES) for text in SENTENCES]

    answers = open_real().answer(prompts)

    assert [list(json.loads(answer.text)) for answer in answers] == [["PER"]] * len(prompts)
    assert all("".join(answer.pieces) == answer.text for answer in answers)


def test_it_keeps_to_a_gbnf_grammar(open_real, ask):
    grammar = Grammar("gbnf", 'root ::= "é☃🙂" ("yes" | "no")')

    (answer,) = open_real().answer([ask("Is Anna a person?", grammar=grammar)])

    assert answer.text in ("é☃🙂yes", "é☃🙂no")
    assert "".join(answer.pieces) == answer.text


def test_it_computes_a_shared_beginning_once(open_real, ask):
    system = "Find the persons in a text and list them, each in the words of the text. " * 8
    prompts = [ask(text, system=system, max_answer_tokens=4) for text in SENTENCES]

    answers = open_real(concurrency=1).answer(prompts)

    assert answers[-1].cached_tokens > answers[-1].prompt_tokens / 2


def test_a_prompt_that_does_not_fit_fails_alone(open_real, ask):
    outcomes = open_real().answer([ask("Anna", max_answer_tokens=4), ask("word " * 4000)])

    assert (isinstance(outcomes[0], Answer), outcomes[1].code) == (True, "too_long")


def test_every_prompt_is_answered_or_failed_once_while_everything_goes_wrong(llama_cpp, open_real, ask, tmp_path):
    prompts = [ask(text, max_answer_tokens=40, grammar=NAMES) for text in SENTENCES]
    wanted = [answer.text for answer in open_real().answer(prompts)]
    server = ChatServer(upstream=llama_cpp)
    server.misbehave(SENTENCES[0], fail(429, Retry_After="0.2"), cut_body)
    server.misbehave(SENTENCES[1], *[fail(500)] * 4)
    server.misbehave(SENTENCES[2], reset, say(b"<html>"))
    server.misbehave(SENTENCES[3], hang)

    def run():
        model = open_real(url=server.url, timeout_s=60.0)
        return CachedModel(model, open_store(str(tmp_path)), model="smol", place="answers").answer(prompts)

    outcomes = run()
    requests = dict(server.requests)
    again = run()
    server.close()

    answered = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Answer)]
    assert answered == [0, 2, 3, 4]
    assert outcomes[1].code == "endpoint_failed"
    assert [outcomes[at].text for at in answered] == [wanted[at] for at in answered]
    # A slow machine may need more than were spoilt.
    assert all(outcomes[at].requests >= least for at, least in zip(answered, (3, 3, 2, 1), strict=True))
    counts = [outcomes[at].requests if at in answered else 4 for at in range(len(SENTENCES))]
    assert requests == dict(zip(SENTENCES, counts, strict=True))
    assert [outcome.text for outcome in again] == wanted
    assert [at for at, outcome in enumerate(again) if outcome.requests] == [1]
    assert [at for at, text in enumerate(SENTENCES) if server.requests[text] > requests[text]] == [1]
