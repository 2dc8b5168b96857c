"""Answers that are kept: asked for once, whatever happens between."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest

from schemas.errors import ConfigError, ModelError, RecordError, StorageError
from schemas.prompts import Answer, Grammar, Message, Prompt
from tests.conftest import ROOT
from tests.transforms.models.language.chat_server import fail, hold
from transforms.models.language.answer_cache import CachedModel, CachedModelConfig, dump_answer, load_answer
from transforms.models.language.endpoint import EndpointConfig
from transforms.storage.store import open_store


class CountingModel:
    """A stand-in that answers in upper case, tells one by one, and can fail."""

    max_tokens = 100

    def __init__(self, *, failures=(), broken_at=None):
        self.asked = []
        self._failures = failures
        self._broken_at = broken_at

    def count_tokens(self, messages):
        return 7

    def answer(self, prompts, *, on_answer=None):
        outcomes = []
        for at, prompt in enumerate(prompts):
            text = prompt.messages[-1].content
            if text == self._broken_at:
                raise ModelError("gone")
            self.asked.append(text)
            answer = Answer(f"{text.upper()} é☃\ud800", ("a", "b"), (-0.1, -1e-300), False, 5, 2, 3, requests=2)
            outcomes.append(RecordError("failed", "expected more") if text in self._failures else answer)
            if on_answer:
                on_answer(at, outcomes[-1])
        return outcomes


@pytest.fixture(params=["posix", "memory"])
def root(request, tmp_path):
    """Where answers are kept, on a disk and in a store of objects."""
    return str(tmp_path / "answers") if request.param == "posix" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def open_cache():
    """Puts a cache before a model."""

    def build(inner, root, *, model="m"):
        return CachedModel(inner, open_store(root), model=model, place="answers")

    return build


def test_what_was_answered_is_not_asked_again(open_cache, ask, root):
    first, second = CountingModel(), CountingModel()
    prompts = [ask("anna"), ask("bonn")]

    answers = open_cache(first, root).answer(prompts)
    again = open_cache(second, root).answer([*prompts, ask("carl")])

    assert (first.asked, second.asked) == (["anna", "bonn"], ["carl"])
    assert [answer.requests for answer in answers] == [2, 2]
    assert [answer.requests for answer in again] == [0, 0, 2]
    assert [(a.text, a.pieces, a.log_probs, a.prompt_tokens) for a in answers] == [
        (a.text, a.pieces, a.log_probs, a.prompt_tokens) for a in again[:2]
    ]


def test_a_prompt_that_comes_twice_is_asked_once(open_cache, ask, root):
    inner = CountingModel()
    heard = []

    answers = open_cache(inner, root).answer(
        [ask("anna"), ask("bonn"), ask("anna")], on_answer=lambda at, outcome: heard.append((at, outcome))
    )

    assert inner.asked == ["anna", "bonn"]
    assert [answer.requests for answer in answers] == [2, 2, 0]
    assert sorted(heard, key=lambda told: told[0]) == list(enumerate(answers))


def test_failures_are_not_kept(open_cache, ask, root):
    first, second = CountingModel(failures=["anna"]), CountingModel()

    outcomes = open_cache(first, root).answer([ask("anna"), ask("bonn"), ask("anna")])
    again = open_cache(second, root).answer([ask("anna")])

    assert [getattr(outcome, "code", "answer") for outcome in outcomes] == ["failed", "answer", "failed"]
    assert (second.asked, again[0].text[:4]) == (["anna"], "ANNA")


def test_what_came_before_the_model_broke_is_kept(open_cache, ask, root):
    prompts = [ask("anna"), ask("bonn"), ask("carl")]
    with pytest.raises(ModelError, match="gone"):
        open_cache(CountingModel(broken_at="carl"), root).answer(prompts)
    second = CountingModel()

    open_cache(second, root).answer(prompts)

    assert second.asked == ["carl"]


def test_another_model_or_prompt_has_answers_of_its_own(open_cache, root):
    message = Message("user", "anna")
    prompts = [
        Prompt((message,), 16),
        Prompt((message,), 17),
        Prompt((message,), 16, Grammar("gbnf", "root")),
        Prompt((message,), 16, Grammar("json_schema", "root")),
        Prompt((Message("system", ""), message), 16),
        Prompt((Message("assistant", "anna"),), 16),
    ]
    first, second = CountingModel(), CountingModel()

    open_cache(first, root).answer(prompts)
    open_cache(second, root, model="other").answer(prompts[:1])

    assert (len(first.asked), len(second.asked)) == (len(prompts), 1)


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", lambda content: b"[]",
                                    lambda content: content.replace(b"ANNA", b"ANNE")],
                         ids=["cut", "empty", "another value", "another text"])  # fmt: skip
def test_a_damaged_answer_is_asked_anew_and_replaced(open_cache, ask, root, damage):
    open_cache(CountingModel(), root).answer([ask("anna")])
    store = open_store(root)
    (name,) = store.walk()
    store.put(name, damage(store.read(name)))
    second, third = CountingModel(), CountingModel()

    answers = open_cache(second, root).answer([ask("anna")])
    open_cache(third, root).answer([ask("anna")])

    assert (second.asked, third.asked, answers[0].text[:4]) == (["anna"], [], "ANNA")


def test_an_answer_under_the_name_of_another_is_asked_anew(open_cache, ask, root):
    open_cache(CountingModel(), root).answer([ask("anna"), ask("bonn")])
    store = open_store(root)
    one, other = store.walk()
    store.put(one, store.read(other))
    second = CountingModel()

    open_cache(second, root).answer([ask("anna"), ask("bonn")])

    assert len(second.asked) == 1


def test_a_damaged_answer_that_cannot_be_replaced_costs_no_more_than_asking(open_cache, ask, tmp_path):
    class Unwilling:
        def read(self, name):
            return b"damaged"

        def put_if_absent(self, name, content):
            return False

        def put(self, name, content):
            raise StorageError("cannot write")

    (answer,) = CachedModel(CountingModel(), Unwilling(), model="m", place="answers").answer([ask("anna")])

    assert answer.text.startswith("ANNA")


def test_whoever_keeps_an_answer_first_keeps_it_for_all(open_cache, ask, root):
    late = CountingModel()

    class Overtaken(CountingModel):
        def answer(self, prompts, *, on_answer=None):
            open_cache(late, root).answer(prompts)
            late_answer = Answer("another", (), (), False, 1, 1, 1)
            on_answer(0, late_answer)
            return [late_answer]

    (answer,) = open_cache(Overtaken(), root).answer([ask("anna")])

    assert (answer.text[:4], answer.requests, late.asked) == ("ANNA", 1, ["anna"])


def test_an_answer_that_cannot_be_kept_stops_the_run(open_cache, ask, tmp_path):
    (tmp_path / "answers").write_text("a file where the folder would be")

    with pytest.raises(StorageError, match="cannot read answers kept at 'answers'"):
        open_cache(CountingModel(), str(tmp_path / "answers")).answer([ask("anna")])


def test_answers_lie_in_folders_by_the_first_digits_of_their_name(open_cache, ask, root):
    open_cache(CountingModel(), root).answer([ask(f"{at}") for at in range(20)])

    names = list(open_store(root).walk())
    assert len(names) == 20
    assert all(name[:2] == name[3:5] and name[2] == "/" and name.endswith(".json") for name in names)


def test_no_prompt_is_kept(open_cache, ask, root):
    open_cache(CountingModel(), root).answer([ask("where is anna", system="Find names")])

    store = open_store(root)
    assert not [name for name in store.walk() if b"Find names" in store.read(name) or b"where" in store.read(name)]


def test_an_answer_is_read_as_it_was_written():
    answer = Answer("é☃\ud800\n", ("é", "☃\ud800\n"), (-0.1, -1e300), True, 1, 2, 3, requests=4)

    again = load_answer(dump_answer(answer, "key"), "key")

    assert again == Answer("é☃\ud800\n", ("é", "☃\ud800\n"), (-0.1, -1e300), True, 1, 2, 3, requests=0)


def test_a_cache_is_told_by_its_model_alone(tmp_path):
    inner = EndpointConfig(url="http://host/v1", model="tiny", max_tokens=123)
    config = CachedModelConfig(inner, "s3://anna:secret@bucket/answers")

    assert (config.digest, config.describe()) == (inner.digest, inner.describe())
    assert "secret" not in repr(config)
    loaded = CachedModelConfig(inner, str(tmp_path)).load()
    assert (loaded.max_tokens, loaded.count_tokens([])) == (123, inner.load().count_tokens([]))


def test_a_store_in_which_two_could_win_is_refused(tmp_path):
    config = CachedModelConfig(EndpointConfig(url="http://host/v1", model="tiny"), f"dir::{tmp_path}")

    with pytest.raises(ConfigError, match="conditional writes"):
        config.load()


def test_only_what_an_endpoint_failed_is_asked_again(server, open_model, open_cache, ask, root):
    server.misbehave("1", fail(400))
    prompts = [ask(f"{at}") for at in range(4)]
    model = open_model()

    open_cache(model, root).answer(prompts)
    outcomes = open_cache(model, root).answer(prompts)

    assert [(outcome.text, outcome.requests) for outcome in outcomes] == [("0", 0), ("1", 1), ("2", 0), ("3", 0)]
    assert server.requests == {"0": 1, "1": 2, "2": 1, "3": 1}


def test_a_killed_process_is_continued_without_asking_for_what_came(server, tmp_path):
    command = [sys.executable, "-m", "tests.transforms.models.language.asking", server.url, str(tmp_path), "30"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    release = threading.Event()
    held = {"20", "21", "22"}
    for prompt in held:
        server.misbehave(prompt, hold(release))
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as killed:
        deadline = time.monotonic() + 60
        # Prompts begin in order, three at a time: the held ones take all threads once those before them are kept.
        while len(list(tmp_path.glob("??/*.json"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        while sum(server.requests.values()) < 23 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        assert (killed.wait(), killed.stdout.read()) == (-signal.SIGKILL, b"")
    release.set()

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True)

    assert done.stdout.split() == ["10", *(f"{at}" for at in range(30))]
    assert server.requests == {f"{at}": 1 + (f"{at}" in held) for at in range(30)}
