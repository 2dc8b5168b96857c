"""Answers kept by what was asked, so that neither a rerun nor a crash pays twice.

    prompt ──> SHA-256 over it and the model's digest ──> root/ab/abcdef....json ──> answer
                                                              └──> none: ask the model, keep the answer, then give it

An answer is durable before anyone hears of it, each by itself and not with its batch: what a killed process had
received is there for the next. Whoever keeps an answer first keeps it for all, so that the same prompt has one answer
in every slice, worker and rerun. Failures are not kept. The files hold what models said, which quotes the texts that
they were asked about, and no prompts.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import StorageError
from schemas.prompts import Answer, Message, Prompt
from schemas.slices import display_uri
from transforms.models.language.language_model import LanguageModel, LanguageModelConfig, OnAnswer, Outcome
from transforms.storage.store import Store, open_store

_READERS = 8


@dataclasses.dataclass(frozen=True)
class CachedModelConfig:
    """A language model whose answers are kept.

    Attributes:
      inner: the model.
      root: folder or URL where answers are kept; models, runs and workers may share it.
    """

    inner: LanguageModelConfig
    root: str = dataclasses.field(repr=False)

    @property
    def digest(self) -> str:
        """That of the model, since a kept answer is what it would say."""
        return self.inner.digest

    @property
    def is_remote(self) -> bool:
        """That of the model."""
        return self.inner.is_remote

    def describe(self) -> dict[str, Any]:
        """The model; where its answers are kept changes nothing."""
        return self.inner.describe()

    def load(self) -> "CachedModel":
        """Loads the model and opens the store.

        Raises:
          ConfigError: the store cannot put a file if absent.
        """
        return CachedModel(self.inner.load(), open_store(self.root), model=self.digest, place=display_uri(self.root))


class CachedModel:
    """Answers prompts from what is kept, and asks a model for the rest; shared by the threads of a process.

    Args:
      inner: the model.
      store: where answers are kept.
      model: digest of the model.
      place: what the store is called in messages.
    """

    def __init__(self, inner: LanguageModel, store: Store, *, model: str, place: str) -> None:
        self._inner = inner
        self._store = store
        self._model = model
        self._place = place
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS, thread_name_prefix="kept-answers")

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self._inner.max_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt with these messages; see the model."""
        return self._inner.count_tokens(messages)

    def answer(self, prompts: Sequence[Prompt], *, on_answer: OnAnswer | None = None) -> list[Outcome]:
        """Answers each prompt, or says why it cannot be; see `LanguageModel.answer`.

        A kept answer, and one to a prompt that came before among these, has 0 requests.

        Raises:
          ModelError: the model is broken for good; its answers so far are kept.
          StorageError: answers cannot be read, or a new one cannot be kept.
        """
        places: dict[str, list[int]] = {}
        for at, prompt in enumerate(prompts):
            places.setdefault(self._key(prompt), []).append(at)
        outcomes: dict[int, Outcome] = {}

        def give(key: str, outcome: Outcome) -> None:
            again = dataclasses.replace(outcome, requests=0) if isinstance(outcome, Answer) else outcome
            for nth, at in enumerate(places[key]):
                outcomes[at] = again if nth else outcome
                if on_answer:
                    on_answer(at, outcomes[at])

        kept = dict(zip(places, self._readers.map(self._read, places), strict=True))
        missing = [key for key, answer in kept.items() if answer is None]
        for key, answer in kept.items():
            if answer:
                give(key, answer)

        def keep(at: int, outcome: Outcome) -> None:
            key = missing[at]
            give(key, self._keep(key, outcome) if isinstance(outcome, Answer) else outcome)

        if missing:
            self._inner.answer([prompts[places[key][0]] for key in missing], on_answer=keep)
        return [outcomes[at] for at in range(len(prompts))]

    def _key(self, prompt: Prompt) -> str:
        """SHA-256 over the model and a prompt, hex."""
        asked = json.dumps([self._model, dataclasses.asdict(prompt)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _read(self, key: str) -> Answer | None:
        """The answer that is kept; None where there is none or it is damaged."""
        try:
            return load_answer(self._store.read(_name(key)), key)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StorageError(f"cannot read answers kept at {self._place!r}: {reason}") from error

    def _keep(self, key: str, answer: Answer) -> Answer:
        """Keeps an answer, and gives the one that is kept now: this, or another's who was faster."""
        name, content = _name(key), dump_answer(answer, key)
        if self._store.put_if_absent(name, content):
            return answer
        if there := self._read(key):
            return dataclasses.replace(there, requests=answer.requests)
        with contextlib.suppress(OSError, StorageError):
            # It is damaged; where it cannot be replaced either, it is asked for anew each time.
            self._store.put(name, content)
        return answer


def dump_answer(answer: Answer, key: str) -> bytes:
    """An answer to the content of its file, with a digest that tells when it is damaged or lies under another key."""
    fields = {name: value for name, value in dataclasses.asdict(answer).items() if name != "requests"}
    return json.dumps({"answer": fields, "digest": _digest(key, fields)}).encode()


def load_answer(content: bytes, key: str) -> Answer | None:
    """The inverse of `dump_answer`, of an answer that took no request; None where the content is damaged."""
    try:
        value = json.loads(content)
        fields = value["answer"]
        if value["digest"] != _digest(key, fields):
            return None
        lists = {name: tuple(fields[name]) for name in ("pieces", "log_probs")}
        return Answer(**{**fields, **lists, "requests": 0})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _digest(key: str, fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{key} {json.dumps(fields, sort_keys=True)}".encode()).hexdigest()


def _name(key: str) -> str:
    """Where an answer lies; folders by the first digits, as one with a million files is slow."""
    return f"{key[:2]}/{key}.json"
