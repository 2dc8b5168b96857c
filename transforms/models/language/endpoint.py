"""A language model behind any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, a provider.

    prompts ──> threads ──> pace ──> POST /chat/completions ──> answer
                  │ ^                                      ├──> refused: that prompt has failed
                  │ └── wait, double it, a few tries ──────┤
                  │                                        ├──> passing: status 429 or 5xx, time-out, lost connection
                  └── wait, until patience ends ───────────┘
                                                           └──> broken for good: the run stops

What stops the run, so that a dead server does not make dead letters of a whole corpus, and is not asked for hours:

- Status 401, 402, 403, 404 and redirects, and a quota that is used up, which no prompt can help.
- A server that cannot be reached, neither by the first try nor by any other until `patience_s` have passed, or that
  says 502, 503 or 504 for that long before its first answer. Nothing of that is a prompt's fault, so it counts as no
  attempt: a server that is started, or started anew, is waited for.
- `max_failed_in_row` prompts in a row that were refused, or failed all their attempts, with no answer between them.

What is committed and what a cache keeps stays, and the same command goes on from there. A prompt that fails by itself,
say because the server dies of it, has `max_attempts` and then is a failure of its own.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import os
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from schemas.errors import ConfigError, ModelError, RecordError
from schemas.prompts import Answer, Message, Prompt
from schemas.slices import display_text, display_uri
from transforms.models.language.chat_completions import (
    GRAMMAR_KINDS,
    GrammarStyle,
    build_request,
    explain_refusal,
    read_answer,
    read_error,
)
from transforms.models.language.language_model import OnAnswer, Outcome
from transforms.models.language.pacing import Backoff, Pace, parse_retry_after
from transforms.models.language.server_health import Health
from transforms.models.language.token_counts import bound_tokens, load_counter
from transforms.models.language.usage import Prices

_MOST_BYTES = 64 << 20
_LONGEST_PAUSE_S = 120
_LONGEST_CONNECT_S = 10.0
_PASSING = frozenset({408, 409, 425, 429})
# What a server that loads its model says, and a proxy before one that is not there.
_STARTING = frozenset({502, 503, 504})


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """Where a language model answers, and how it is asked; limits hold for each process.

    Attributes:
      url: what stands before `/chat/completions`, such as http://host:8000/v1. A user, password or query in it goes to
        the server and is shown nowhere.
      model: what the server calls the model.
      concurrency: most requests under way at a time.
      requests_per_minute: most requests that begin within any minute; 0 for no limit.
      timeout_s: seconds from a request to the last byte of its answer; with a busy server that is mostly waiting.
      max_attempts: tries of a prompt before it has failed.
      patience_s: seconds without reaching the server before it counts as gone.
      max_failed_in_row: prompts that fail with no answer between them before the server counts as broken; twice
        `concurrency` at least, as those under way fail together; 0 for any number.
      api_key_env: name of the environment variable that holds the key; without one, none is sent.
      max_tokens: most tokens of a prompt and its answer together, as the server was started. Ollama cuts off longer
        prompts and says nothing, so this must not be more than its `num_ctx`.
      tokenizer: folder or hub name of the model's tokenizer, to count tokens; without one there is an upper bound.
      grammars: how a grammar is sent: json_schema, llama.cpp, vllm, or none to leave them out.
      log_probs: whether to ask for the probabilities of tokens, which some servers refuse.
      seed: for servers that break ties at random.
      prices: what tokens cost there.
    """

    url: str = dataclasses.field(repr=False)
    model: str
    concurrency: int = 8
    requests_per_minute: int = 0
    timeout_s: float = 120.0
    max_attempts: int = 4
    patience_s: float = 60.0
    max_failed_in_row: int = 20
    api_key_env: str = "SPANMILL_API_KEY"
    max_tokens: int = 4096
    tokenizer: str = ""
    grammars: GrammarStyle = "json_schema"
    log_probs: bool = True
    seed: int = 0
    prices: Prices = dataclasses.field(default_factory=Prices)

    def __post_init__(self) -> None:
        if not _is_url(self.url):
            shown = display_uri(self.url).rpartition("@")[2].partition("?")[0]
            raise ConfigError(f"expected a URL such as http://localhost:8000/v1 of an endpoint, found {shown!r}")
        if not self.model:
            raise ConfigError(f"expected the name of a model at {self.place}, found none")
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            # What was given may be the key itself.
            raise ConfigError("expected api_key_env with the name of an environment variable, such as SPANMILL_API_KEY")
        if self.grammars not in GRAMMAR_KINDS:
            raise ConfigError(f"expected grammars to be one of {list(GRAMMAR_KINDS)}, found {self.grammars!r}")
        least = dict.fromkeys(("requests_per_minute", "patience_s", "max_failed_in_row"), 0.0)
        least |= {"concurrency": 1, "max_attempts": 1, "max_tokens": 1, "timeout_s": 0.001}
        for name, lowest in least.items():
            if not getattr(self, name) >= lowest:
                raise ConfigError(f"expected {name} of {lowest:g} or more for an endpoint, found {getattr(self, name)}")

    @property
    def place(self) -> str:
        """The URL as it may be shown."""
        return str(httpx2.URL(self.url).copy_with(userinfo=b"", query=None, fragment=None))

    @property
    def grammar_kinds(self) -> frozenset[str]:
        """Kinds of grammar that the server can be sent."""
        return GRAMMAR_KINDS[self.grammars]

    @property
    def is_remote(self) -> bool:
        """Whether a server answers: yes."""
        return True

    @property
    def digest(self) -> str:
        """SHA-256 over everything about the model that changes its answer to a prompt, hex."""
        described = {name: value for name, value in self.describe().items() if name not in ("max_tokens", "tokenizer")}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """The same by name, without secrets, and what changes how many tokens a text is thought to have."""
        return {
            "kind": "endpoint",
            "url": self.place,
            "model": self.model,
            "temperature": 0,
            "seed": self.seed,
            "grammars": self.grammars,
            "log_probs": self.log_probs,
            "max_tokens": self.max_tokens,
            "tokenizer": display_uri(self.tokenizer),
        }

    def load(self) -> "EndpointModel":
        """Reads the key and the tokenizer; the server is not asked yet.

        Raises:
          ConfigError: the key cannot be a key, or there is no such tokenizer.
        """
        key = os.environ.get(self.api_key_env, "").strip()
        if not re.fullmatch(r"[!-~]*", key):
            raise ConfigError(f"expected a key of visible ASCII characters in ${self.api_key_env}, found others")
        return EndpointModel(self, key=key)


class EndpointModel:
    """Answers prompts by asking a server; shared by the threads of a process.

    Args:
      config: where and how to ask.
      key: sent as the bearer's token; empty for none.
      backoff: waits between tries.
    """

    def __init__(self, config: EndpointConfig, *, key: str = "", backoff: Backoff | None = None) -> None:
        # At INFO the client logs every URL, password, query and all.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        url = httpx2.URL(config.url)
        self._config = config
        self._target = url.copy_with(path=f"{url.path.rstrip('/')}/chat/completions")
        self._key = key
        self._backoff = backoff or Backoff()
        self._pace = Pace(config.requests_per_minute)
        self._health = Health(
            config.place,
            patience_s=config.patience_s,
            max_failed_in_row=config.max_failed_in_row and max(config.max_failed_in_row, 2 * config.concurrency),
        )
        self._count = load_counter(config.tokenizer) if config.tokenizer else bound_tokens
        self._pool = concurrent.futures.ThreadPoolExecutor(config.concurrency, thread_name_prefix="endpoint")
        self._client = httpx2.Client(
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
            limits=httpx2.Limits(max_connections=config.concurrency),
            timeout=httpx2.Timeout(config.timeout_s, connect=min(config.timeout_s, _LONGEST_CONNECT_S), pool=None),
        )
        # A worker lets go of its model without a word.
        weakref.finalize(self, self._client.close)

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self._config.max_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt with these messages; an upper bound where there is no tokenizer."""
        return self._count(messages)

    def answer(self, prompts: Sequence[Prompt], *, on_answer: OnAnswer | None = None) -> list[Outcome]:
        """Answers each prompt, or says why it cannot be; see `LanguageModel.answer`.

        When it raises, requests that are under way go on, and `on_answer` still hears of their answers, as they are
        paid for.

        Raises:
          ModelError: the server refuses every prompt, is gone or is broken; see the module.
        """
        self._check_grammars(prompts)
        stop = threading.Event()
        errors: list[BaseException] = []

        def ask(at: int) -> Outcome:
            try:
                outcome = self._ask(prompts[at], stop)
                if on_answer:
                    on_answer(at, outcome)
            except BaseException as error:
                errors.append(error)
                stop.set()
                raise
            return outcome

        futures = [self._pool.submit(ask, at) for at in range(len(prompts))]
        try:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
        finally:
            stop.set()
            for future in futures:
                future.cancel()
        # Those that were stopped come after what stopped them.
        if errors:
            raise errors[0]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Waits for what is under way and closes the connections."""
        self._pool.shutdown()
        self._client.close()

    def _check_grammars(self, prompts: Sequence[Prompt]) -> None:
        kinds = {prompt.grammar.kind for prompt in prompts if prompt.grammar}
        if self._config.grammars != "none" and (unknown := kinds - self._config.grammar_kinds):
            raise ModelError(
                f"expected grammars of kind {sorted(self._config.grammar_kinds)} for an endpoint with grammars="
                f"{self._config.grammars}, found {sorted(unknown)}; choose llama.cpp or vllm where the server is one"
            )

    def _ask(self, prompt: Prompt, stop: threading.Event) -> Outcome:
        """Asks until there is an answer, a refusal, or no attempt left."""
        request = build_request(
            prompt,
            model=self._config.model,
            seed=self._config.seed,
            style=self._config.grammars,
            log_probs=self._config.log_probs,
        )
        body = json.dumps(request).encode()
        reasons: list[str] = []
        n_unreached = 0
        while len(reasons) < self._config.max_attempts:
            self._wait_for_turn(stop)
            try:
                answer = self._try(body)
            except _UnreachedError as error:
                self._health.note_unreached(str(error))
                n_unreached += 1
                stop.wait(self._backoff.wait_s(n_unreached))
            except _PassingError as error:
                reasons.append(str(error))
                if error.pause_s:
                    self._pace.pause(error.pause_s)
                elif len(reasons) < self._config.max_attempts:
                    stop.wait(self._backoff.wait_s(len(reasons)))
            except RecordError as error:
                self._health.note_failure(error)
                return error
            else:
                self._health.note_answer()
                return dataclasses.replace(answer, requests=len(reasons) + 1)
        failure = RecordError(
            "endpoint_failed", f"expected an answer in {len(reasons)} attempts, found {_count_words(reasons)}"
        )
        self._health.note_failure(failure)
        return failure

    def _wait_for_turn(self, stop: threading.Event) -> None:
        while not stop.is_set() and (wait_s := self._pace.take()):
            stop.wait(wait_s)
        if stop.is_set():
            raise _StoppedError

    def _try(self, body: bytes) -> Answer:
        """One request and what comes of it.

        Raises:
          RecordError: the server refuses this prompt.
          ModelError: the server refuses everybody.
        """
        status, headers, reply = self._send(body)
        if status in _STARTING and not self._health.is_up:
            raise _UnreachedError(f"status {status}")
        self._health.note_reached()
        if 200 <= status < 300:
            try:
                return read_answer(reply)
            except ValueError as error:
                raise _PassingError("a response that is no answer") from error
        if self._key:
            reply = reply.replace(self._key.encode(), b"")
        if status < 400 or status in (401, 402, 403, 404, 405, 407) or "insufficient_quota" in read_error(reply)[0]:
            raise ModelError(self._explain(status))
        if status not in _PASSING and status < 500:
            raise explain_refusal(status, reply)
        pause_s = parse_retry_after(headers.get("Retry-After"))
        if pause_s > _LONGEST_PAUSE_S:
            raise ModelError(
                f"expected {self._config.place} to ask for {_LONGEST_PAUSE_S} s of patience at most, found status "
                f"{status} and {pause_s:.0f} s; go on later"
            )
        raise _PassingError(f"status {status}", pause_s=pause_s)

    def _send(self, body: bytes) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and body of a response that came whole and in time."""
        deadline = time.monotonic() + self._config.timeout_s
        reply = bytearray()
        try:
            with self._client.stream("POST", self._target, content=body) as response:
                # The client's own limit is for each read, and some servers send blanks while they think.
                for chunk in response.iter_bytes():
                    reply += chunk
                    if time.monotonic() > deadline:
                        raise _PassingError("time-out")
                    if len(reply) > _MOST_BYTES:
                        raise _PassingError(f"a response of more than {_MOST_BYTES >> 20} MiB")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise _UnreachedError(display_text(str(error)) or type(error).__name__) from error
        except httpx2.TimeoutException as error:
            raise _PassingError("time-out") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _PassingError("a lost connection") from error
        return response.status_code, response.headers, bytes(reply)

    def _explain(self, status: int) -> str:
        """What is wrong for every prompt, and what to do about it."""
        place, model, variable = self._config.place, self._config.model, f"${self._config.api_key_env}"
        found = f"found status {status}"
        if status in (401, 407):
            has = "one that it refuses" if self._key else "none"
            return f"expected a key for {place} in {variable}, found {has} (status {status}); export it"
        if status == 403:
            return f"expected access to model {model!r} at {place}, {found}; ask for it, or see {variable}"
        if status in (402, 429):
            return f"expected credit at {place}, {found}; top it up"
        if status in (404, 405):
            return f"expected model {model!r} at {place}, {found}; see to its name, and whether the URL ends in /v1"
        return f"expected an answer of {place}, {found}; give the URL that it leads to"


class _PassingError(Exception):
    """A try that failed and may go better the next time."""

    def __init__(self, reason: str, *, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _StoppedError(Exception):
    """Another prompt of the same call has broken it off."""


class _UnreachedError(Exception):
    """A try that never came to the server, or before it was ready."""


def _is_url(url: str) -> bool:
    try:
        return httpx2.URL(url).scheme in ("http", "https") and bool(httpx2.URL(url).host)
    except httpx2.InvalidURL:
        return False


def _count_words(words: Sequence[str]) -> str:
    """Words to each of them once, with how often it was there.

    >>> _count_words(["time-out", "status 500", "time-out"])
    'time-out (2), status 500 (1)'
    """
    counts: Mapping[str, int] = Counter(words)
    return ", ".join(f"{word} ({count})" for word, count in counts.items())
