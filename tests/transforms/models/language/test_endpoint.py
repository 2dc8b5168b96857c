"""Asking a server that misbehaves in every way that servers do: each prompt ends answered or failed, once.

The server is a stand-in that speaks the protocol over real sockets; `test_llama_cpp` asks a real one.
"""

import json
import logging
import pickle
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, ModelError, RecordError
from schemas.prompts import Answer, Grammar, Message
from tests.conftest import write_tokenizer
from tests.transforms.models.language.chat_server import (
    ChatServer,
    completion,
    cut_body,
    drip,
    fail,
    hang,
    hold,
    reset,
    say,
)
from transforms.models.language.endpoint import EndpointConfig, EndpointModel
from transforms.models.language.pacing import Backoff
from transforms.models.language.usage import Prices

KEY = "sk-Very.Secret-0123456789"
PASSING = {
    "429": fail(429),
    "429 with Retry-After": fail(429, Retry_After="0.05"),
    "408": fail(408),
    "409": fail(409),
    "500": fail(500),
    "503": fail(503, Retry_After="0.05"),
    "reset": reset,
    "cut body": cut_body,
    "no JSON": say(b"<html>Bad gateway</html>"),
    "no choices": say(b'{"choices": []}'),
    "error with status 200": say(b'{"error": {"message": "overloaded"}}'),
    "text in parts": say(completion([{"type": "text", "text": "A"}])),
    "deep JSON": say(b"[" * 100_000),
}


@pytest.mark.parametrize("action", PASSING.values(), ids=PASSING)
def test_a_passing_failure_is_tried_again(server, open_model, ask, action):
    server.misbehave("Anna", action, action)
    model = open_model(max_attempts=3)
    model.answer([ask("first")])  # From now on the server is not one that only starts.

    (answer,) = model.answer([ask("Anna")])

    assert (answer.text, answer.requests, server.requests["Anna"]) == ("ANNA", 3, 3)


@pytest.mark.parametrize("action", [hang, drip], ids=["silence", "blanks without end"])
def test_an_answer_that_takes_too_long_is_asked_for_again(server, open_model, ask, action):
    server.misbehave("Anna", action)

    (answer,) = open_model(timeout_s=0.3).answer([ask("Anna")])

    assert (answer.text, answer.requests) == ("ANNA", 2)


@pytest.mark.parametrize(("action", "found"), [(fail(500), "status 500"), (reset, "a lost connection")])
def test_a_prompt_that_fails_every_attempt_is_a_failure_of_its_own(server, open_model, ask, action, found):
    server.misbehave("Poison", *[action] * 3)

    outcomes = open_model(max_attempts=3).answer([ask("Anna"), ask("Poison"), ask("Bonn")])

    assert [getattr(outcome, "text", None) for outcome in outcomes] == ["ANNA", None, "BONN"]
    assert (outcomes[1].code, outcomes[1].message) == (
        "endpoint_failed",
        f"expected an answer in 3 attempts, found {found} (3)",
    )
    assert server.requests == {"Anna": 1, "Poison": 3, "Bonn": 1}


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (fail(400, code="context_length_exceeded"), "too_long"),
        (fail(400, message="This model's maximum context length is 2048 tokens"), "too_long"),
        (fail(400, code="content_filter"), "content_filter"),
        (fail(400, code="invalid_request"), "prompt_refused"),
        (fail(413), "prompt_refused"),
        (fail(422), "prompt_refused"),
        (say(completion(None, refusal="I would rather not")), "content_filter"),
        (say(completion("", finish="content_filter")), "content_filter"),
    ],
)
def test_a_refused_prompt_fails_alone_and_at_once(server, open_model, ask, action, code):
    server.misbehave("Poison", action)

    outcomes = open_model().answer([ask("Anna"), ask("Poison")])

    assert (outcomes[0].text, outcomes[1].code) == ("ANNA", code)
    assert server.requests["Poison"] == 1


def test_what_a_server_says_of_an_error_is_not_passed_on(server, open_model, ask):
    server.misbehave("Anna of Bonn", fail(400, code="bad_thing", message="invalid: 'Anna of Bonn'"))

    (failure,) = open_model().answer([ask("Anna of Bonn")])

    assert failure.message.startswith("expected an answer, found status 400 (bad_thing, error)")
    assert "Anna" not in failure.message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (301, "give the URL that it leads to"),
        (401, "expected a key for .* in \\$SPANMILL_API_KEY, found none \\(status 401\\); export it"),
        (402, "expected credit"),
        (403, "expected access to model 'tiny'"),
        (404, "expected model 'tiny' at .*, found status 404; see to its name, and whether the URL ends in /v1"),
    ],
)
def test_what_breaks_every_prompt_stops_the_run(server, open_model, ask, status, message):
    server.always(fail(status))

    with pytest.raises(ModelError, match=message):
        open_model(concurrency=1).answer([ask(f"{at}") for at in range(50)])
    assert sum(server.requests.values()) < 5


def test_a_quota_that_is_used_up_stops_the_run(server, open_model, ask):
    server.always(fail(429, code="insufficient_quota"))

    with pytest.raises(ModelError, match="expected credit at"):
        open_model().answer([ask("Anna")])


def test_a_pause_that_is_too_long_to_wait_stops_the_run(server, open_model, ask):
    server.always(fail(429, Retry_After="3600"))

    with pytest.raises(ModelError, match="found status 429 and 3600 s; go on later"):
        open_model().answer([ask("Anna")])


def test_a_server_that_is_not_there_stops_the_run_and_no_prompt_fails(open_model, ask):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        heard = []

        with pytest.raises(ModelError, match=rf"expected a server at {url}, found none for 0.2 s: .*refused"):
            open_model(url=url, patience_s=0.2).answer(
                [ask("Anna"), ask("Bonn")], on_answer=lambda at, outcome: heard.append(at)
            )
    assert heard == []


def test_a_server_that_is_started_anew_is_waited_for_without_using_up_attempts(server, open_model, ask):
    port = server._server.server_port
    model = open_model(patience_s=10, max_attempts=1, backoff=Backoff(first_s=0.05, longest_s=0.05))
    outcomes = []
    server.close()
    asking = threading.Thread(target=lambda: outcomes.extend(model.answer([ask("Anna")])))
    asking.start()
    time.sleep(0.3)

    again = ChatServer(port=port)
    asking.join(10)
    model.close()
    again.close()

    assert [(outcome.text, outcome.requests) for outcome in outcomes] == [("ANNA", 1)]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_starting_is_waited_for_without_using_up_attempts(server, open_model, ask, status):
    server.misbehave("Anna", *[fail(status)] * 5)

    (answer,) = open_model(max_attempts=1).answer([ask("Anna")])

    assert (answer.text, answer.requests, server.requests["Anna"]) == ("ANNA", 1, 6)


def test_a_server_that_never_starts_stops_the_run(server, open_model, ask):
    server.always(fail(503))

    with pytest.raises(ModelError, match=r"found none for 0.2 s: status 503; start it"):
        open_model(patience_s=0.2).answer([ask("Anna")])


@pytest.mark.parametrize("action", [fail(500), fail(429), fail(400), say(b"nonsense")])
def test_prompts_that_fail_in_a_row_stop_the_run(server, open_model, ask, action):
    server.always(action)

    with pytest.raises(ModelError, match="found 5 prompts that failed in a row, the last so: expected an answer"):
        open_model(max_failed_in_row=5, concurrency=2, max_attempts=2).answer([ask(f"{at}") for at in range(50)])
    assert len(server.requests) < 10


def test_those_under_way_together_may_fail_together(server, open_model, ask):
    for at in range(8):
        server.misbehave(f"{at}", fail(400))

    outcomes = open_model(max_failed_in_row=2, concurrency=5).answer([ask(f"{at}") for at in range(12)])

    assert sum(isinstance(outcome, RecordError) for outcome in outcomes) == 8


def test_an_answer_between_failures_keeps_the_run_going(server, open_model, ask):
    prompts = [ask(f"{at}") for at in range(12)]
    for at in range(12):
        if at % 3:
            server.misbehave(f"{at}", fail(400))

    outcomes = open_model(max_failed_in_row=3, concurrency=1).answer(prompts)

    assert [isinstance(outcome, Answer) for outcome in outcomes] == [at % 3 == 0 for at in range(12)]


def test_prompts_that_are_too_long_say_nothing_about_the_server(server, open_model, ask):
    server.always(fail(400, code="context_length_exceeded"))

    outcomes = open_model(max_failed_in_row=3).answer([ask(f"{at}") for at in range(12)])

    assert {outcome.code for outcome in outcomes} == {"too_long"}


def test_any_number_of_failures_goes_where_there_is_no_limit(server, open_model, ask):
    server.always(fail(400))

    assert len(open_model(max_failed_in_row=0).answer([ask(f"{at}") for at in range(30)])) == 30


ACTIONS = st.sampled_from(
    [fail(429), fail(500), fail(400), reset, cut_body, say(b"{"), say(completion("cut", finish="length"))]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=st.lists(st.lists(ACTIONS, max_size=4), max_size=12), concurrency=st.integers(1, 6))
def test_every_prompt_is_answered_or_failed_once(ask, plans, concurrency):
    server = ChatServer()
    for at, plan in enumerate(plans):
        server.misbehave(f"{at}", *plan)
    config = EndpointConfig(url=server.url, model="tiny", concurrency=concurrency, max_attempts=3, max_failed_in_row=0)
    model = EndpointModel(config, backoff=Backoff(first_s=0.001, longest_s=0.001))
    heard = []

    outcomes = model.answer([ask(f"{at}") for at in range(len(plans))], on_answer=lambda *told: heard.append(told))
    model.close()
    server.close()

    assert all(isinstance(outcome, Answer | RecordError) for outcome in outcomes)
    assert sorted(heard, key=lambda told: told[0]) == list(enumerate(outcomes))
    assert all(server.requests[f"{at}"] <= 3 for at in range(len(plans)))
    assert server.most_at_once <= concurrency
    assert all(
        outcome.text == ("cut" if outcome.is_cut else f"{at}")
        for at, outcome in enumerate(outcomes)
        if isinstance(outcome, Answer)
    )


def test_requests_go_out_together_up_to_the_limit_shared_by_all_threads(server, open_model, ask):
    release = threading.Event()
    server.always(hold(release))
    model = open_model(concurrency=3)
    callers = [
        threading.Thread(target=model.answer, args=([ask(f"{caller} {at}") for at in range(5)],)) for caller in range(2)
    ]
    for caller in callers:
        caller.start()
    deadline = time.monotonic() + 5
    while server.most_at_once < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # Time in which a fourth could come.
    release.set()
    for caller in callers:
        caller.join()

    assert server.most_at_once == 3
    assert sum(server.requests.values()) == 10


def test_requests_keep_to_the_rate_tries_included(server, open_model, ask):
    server.misbehave("1", fail(500), fail(500))
    started = time.monotonic()

    open_model(requests_per_minute=1200, concurrency=6).answer([ask(f"{at}") for at in range(6)])

    assert sum(server.requests.values()) == 8
    assert time.monotonic() - started >= 7 * 60 / 1200


def test_a_pause_that_the_server_asks_for_holds_for_everybody(server, open_model, ask):
    server.misbehave("0", fail(429, Retry_After="0.5"))

    open_model(concurrency=1).answer([ask("0"), ask("1")])

    assert server.starts[1] - server.starts[0] >= 0.5


def test_answers_are_told_as_they_come(server, open_model, ask):
    release = threading.Event()
    server.misbehave("slow", hold(release))
    heard = []

    def hear(at, outcome):
        heard.append((at, outcome.text))
        if at == 1:
            release.set()

    open_model(concurrency=2).answer([ask("slow"), ask("fast")], on_answer=hear)

    assert heard == [(1, "FAST"), (0, "SLOW")]


def test_an_error_while_an_answer_is_told_reaches_the_caller(server, open_model, ask):
    def hear(at, outcome):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        open_model(concurrency=1).answer([ask(f"{at}") for at in range(50)], on_answer=hear)
    assert sum(server.requests.values()) < 50


def test_answers_under_way_are_told_though_the_run_stops(server, open_model, ask):
    release, told = threading.Event(), threading.Event()
    server.misbehave("paid", hold(release))
    server.misbehave("bad", fail(404))
    heard = []

    def hear(at, outcome):
        heard.append(outcome.text)
        told.set()

    with pytest.raises(ModelError):
        open_model(concurrency=2).answer([ask("paid"), ask("bad")], on_answer=hear)
    release.set()

    assert told.wait(5)
    assert heard == ["PAID"]


def test_an_answer_has_its_text_pieces_and_counts(server, open_model, ask):
    tokens = [
        {"token": "<|think|>", "bytes": [], "logprob": -9.0},
        {"token": "Z", "bytes": [90], "logprob": -0.5},
        {"token": "\\xc3", "bytes": [0xC3], "logprob": -0.25},
        {"token": "\\xbc", "bytes": [0xBC], "logprob": -0.125},
        {"token": "rich", "bytes": None, "logprob": 0.0},
    ]
    server.misbehave("Where?", say(completion("Zürich", log_probs=tokens, finish="length")))

    (answer,) = open_model().answer([ask("Where?")])

    assert answer == Answer("Zürich", ("Z", "ü", "rich"), (-0.5, -0.375, 0.0), True, 7, 5, 3, requests=1)


@pytest.mark.parametrize(
    ("tokens", "text", "pieces"),
    [
        (["```json\n", "{", "}", "\n```"], "{}", ("{", "}")),
        ([" Anna", " of", " Bonn "], "Anna of Bonn", ("Anna", " of", " Bonn")),
        (["a", "b", "a"], "a", ()),
        (["a", "b"], "c", ()),
        (["a"], "", ()),
        ([], "a", ()),
    ],
    ids=["a fence is off", "blanks are off", "it may be either", "it is another text", "no text", "no tokens"],
)
def test_pieces_are_those_of_the_text_or_none(server, open_model, ask, tokens, text, pieces):
    log_probs = [{"token": token, "bytes": list(token.encode()), "logprob": -1.0} for token in tokens]
    server.misbehave("Where?", say(completion(text, log_probs=log_probs)))

    (answer,) = open_model().answer([ask("Where?")])

    assert (answer.text, answer.pieces, answer.log_probs) == (text, pieces, (-1.0,) * len(pieces))


@pytest.mark.parametrize(
    "token",
    [
        {"token": "A"},
        {"token": "A", "logprob": "x"},
        {"token": "A", "bytes": [999], "logprob": -1},
        {"token": "A", "bytes": [65], "logprob": float("nan")},
        7,
        None,
    ],
)
def test_pieces_that_make_no_sense_are_left_out(server, open_model, ask, token):
    server.misbehave("Where?", say(completion("A", log_probs=[token])))

    (answer,) = open_model().answer([ask("Where?")])

    assert (answer.text, answer.pieces, answer.log_probs) == ("A", (), ())


def test_an_answer_without_counts_has_none(server, open_model, ask):
    server.misbehave("Where?", say(json.dumps({"choices": [{"message": {"content": "A"}}], "usage": None}).encode()))

    assert open_model().answer([ask("Where?")]) == [Answer("A", (), (), False, 0, 0, 0)]


def test_a_request_asks_for_the_most_probable_tokens(server, open_model, ask):
    open_model().answer([ask("Anna", system="Find names.")])

    assert server.bodies == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Find names."}, {"role": "user", "content": "Anna"}],
            "max_tokens": 16,
            "temperature": 0,
            "top_p": 1,
            "seed": 0,
            "logprobs": True,
            "top_logprobs": 1,
        }
    ]
    assert server.paths == ["/v1/chat/completions"]


SCHEMA, GBNF = Grammar("json_schema", '{"type": "object"}'), Grammar("gbnf", 'root ::= "yes"')
AS_SCHEMA = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
    }
}


@pytest.mark.parametrize(
    ("style", "grammar", "sent"),
    [
        ("json_schema", SCHEMA, AS_SCHEMA),
        ("llama.cpp", SCHEMA, AS_SCHEMA),
        ("vllm", SCHEMA, AS_SCHEMA),
        ("llama.cpp", GBNF, {"grammar": 'root ::= "yes"'}),
        ("vllm", GBNF, {"structured_outputs": {"grammar": 'root ::= "yes"'}}),
        ("none", SCHEMA, {}),
        ("none", GBNF, {}),
    ],
)
def test_a_grammar_is_sent_in_the_style_of_the_server(server, open_model, ask, style, grammar, sent):
    open_model(grammars=style).answer([ask("Anna", grammar=grammar)])

    body = server.bodies[0]
    assert {name: body[name] for name in body if name in ("response_format", "grammar", "structured_outputs")} == sent


def test_a_grammar_that_the_style_does_not_know_is_refused_before_anything_is_asked(server, open_model, ask):
    with pytest.raises(ModelError, match=r"found \['gbnf'\]; choose llama.cpp or vllm"):
        open_model().answer([ask("Bonn"), ask("Anna", grammar=GBNF)])
    assert not server.requests


def test_tokens_are_counted_at_most_without_a_tokenizer(open_model):
    model = open_model()
    messages = [Message("system", "Find names."), Message("user", "Zürich \ud800")]

    assert model.count_tokens(messages) >= len("Find names.Zürich ".encode())
    assert model.count_tokens(messages[1:]) < model.count_tokens(messages)
    assert model.max_tokens == 4096


FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}


def test_tokens_are_counted_in_the_chat_template_with_a_tokenizer(open_model, tmp_path):
    write_tokenizer(tmp_path, ["Anna", "Bonn", "user"])
    template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**FAST, "chat_template": template}))

    assert open_model(tokenizer=str(tmp_path)).count_tokens([Message("user", "Anna Bonn")]) == 3  # "user Anna Bonn"


def test_tokens_are_counted_with_a_tokenizer_that_has_no_template(open_model, tmp_path):
    write_tokenizer(tmp_path, ["Anna", "Bonn"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(FAST))
    model = open_model(tokenizer=str(tmp_path))

    few, more = (model.count_tokens([Message("user", text)]) for text in ("Anna", "Anna Bonn Bonn"))
    assert more - few == 2


def test_a_tokenizer_that_is_not_there_is_an_error_of_one_line(server, tmp_path):
    config = EndpointConfig(url=server.url, model="tiny", tokenizer=str(tmp_path / "none"))

    with pytest.raises(ConfigError, match=r"expected a tokenizer at .*none'"):
        config.load()


SECRET_URL = f"http://anna:{KEY}@127.0.0.1:1/v1?key={KEY}"


def test_the_key_goes_to_the_server_and_nowhere_else(server, ask, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LLM_KEY", f" {KEY}\n")
    config = EndpointConfig(url=server.url, model="tiny", api_key_env="LLM_KEY")
    model = config.load()
    server.misbehave("Poison", fail(400, code=KEY, message=f"bad key {KEY}"))
    server.misbehave("Denied", fail(401, code=KEY, message=f"bad key {KEY}"))

    _, failure = model.answer([ask("Anna"), ask("Poison")])
    with pytest.raises(ModelError, match=r"in \$LLM_KEY, found one that it refuses") as caught:
        model.answer([ask("Denied")])
    model.close()

    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    shown = [repr(config), repr(model), str(config.describe()), config.digest, str(failure), str(caught.value)]
    assert not [text for text in [*shown, caplog.text, pickle.dumps(config).decode("latin1")] if KEY in text]


def test_a_model_with_a_key_cannot_be_pickled(open_model):
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(open_model(key=KEY))


def test_no_key_is_sent_where_there_is_none(server, open_model, ask, monkeypatch):
    monkeypatch.delenv("SPANMILL_API_KEY", raising=False)
    open_model().answer([ask("Anna")])

    assert "Authorization" not in server.headers[0]


def test_a_password_and_a_query_in_the_url_go_to_the_server_and_are_not_shown(server, open_model, ask, caplog):
    caplog.set_level(logging.DEBUG)
    url = server.url.replace("://", f"://anna:{KEY}@") + f"?api-version=2&key={KEY}"
    server.misbehave("Denied", fail(403))
    model = open_model(url=url)

    model.answer([ask("Anna")])
    with pytest.raises(ModelError) as caught:
        model.answer([ask("Denied")])

    assert server.paths[0] == f"/v1/chat/completions?api-version=2&key={KEY}"
    assert server.headers[0]["Authorization"].startswith("Basic ")
    config = EndpointConfig(url=url, model="tiny")
    assert (config.place, config.describe()["url"]) == (server.url, server.url)
    assert KEY not in f"{config!r} {caught.value} {caplog.text}"


def test_a_server_that_is_gone_is_named_without_its_password(open_model, ask, caplog):
    with pytest.raises(ModelError) as caught:
        open_model(url=SECRET_URL, patience_s=0).answer([ask("Anna")])

    assert "http://127.0.0.1:1/v1," in str(caught.value)
    assert KEY not in f"{caught.value} {caplog.text}"


def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(server, monkeypatch):
    monkeypatch.setenv("SPANMILL_API_KEY", "geheim\nnis")

    with pytest.raises(ConfigError, match=r"visible ASCII characters in \$SPANMILL_API_KEY") as caught:
        EndpointConfig(url=server.url, model="tiny").load()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "expected a URL such as"),
        ({"url": f"ftp://anna:{KEY}@host/v1"}, "found 'ftp://host/v1'"),
        ({"url": f"http://anna:{KEY}/x@host/v1?key={KEY}"}, "expected a URL such as"),
        ({"url": f"anna:{KEY}@host"}, "found 'host'"),
        ({"model": ""}, "expected the name of a model at http://host/v1, found none"),
        ({"api_key_env": KEY}, "expected api_key_env with the name of an environment variable"),
        ({"grammars": "regex"}, "expected grammars to be one of"),
        ({"concurrency": 0}, "expected concurrency of 1 or more for an endpoint, found 0"),
        ({"max_attempts": 0}, "expected max_attempts of 1"),
        ({"timeout_s": float("nan")}, "expected timeout_s of"),
        ({"requests_per_minute": -1}, "expected requests_per_minute of 0"),
        ({"patience_s": -1}, "expected patience_s of 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        EndpointConfig(**{"url": "http://host/v1", "model": "tiny", **options})
    assert KEY not in str(caught.value)


def test_the_digest_changes_with_what_changes_answers_and_with_nothing_else():
    def digest(**options):
        return EndpointConfig(**{"url": "http://host/v1", "model": "tiny", **options}).digest

    same = [{"url": "HTTP://anna:pw@host/v1?key=1"}, {"concurrency": 2}, {"requests_per_minute": 9}, {"timeout_s": 3.0}]
    same += [{"api_key_env": "OTHER"}, {"max_attempts": 9}, {"max_tokens": 9}, {"tokenizer": "x"}, {"patience_s": 1.0}]
    same += [{"prices": Prices(prompt=2.5)}, {"max_failed_in_row": 0}]
    other = [{"url": "http://host2/v1"}, {"model": "big"}, {"grammars": "none"}, {"seed": 1}, {"log_probs": False}]

    assert {digest(**options) for options in same} == {digest()}
    assert len({digest(), *(digest(**options) for options in other)}) == 1 + len(other)
