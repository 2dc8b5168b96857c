"""A token classifier that answers by rule, so that what surrounds a model can be tested without one.

`RuleClassifier` is a stand-in: the token `Anna` is a person, `Berlin` a place, whatever stands around them. It can be
told to run out of memory, to fail on a token, or to answer nonsense.
"""

import numpy as np
import pytest

from tests.conftest import write_tokenizer
from transforms.models.window_tagger import WindowTagger
from transforms.tags.entities import DecodingConfig
from transforms.tags.schemes import build_tag_set
from transforms.text.tokens import ColumnTokenizer
from transforms.text.windows import WindowConfig

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


class RuleClassifier:
    def __init__(self, tokenizer, *, most_tokens=1 << 30, poison=None, answer=None):
        self.tag_set = build_tag_set(TAGS)
        self.in_flight = 2
        self.batches = []
        self._most_tokens = most_tokens
        self._poison = poison
        self._answer = answer
        self._tags = {_id(tokenizer, "Anna"): 1, _id(tokenizer, "Berlin"): 3}
        self._poison_id = _id(tokenizer, poison) if poison else None

    def submit(self, ids, lengths):
        self.batches.append(ids.shape)
        if ids.size > self._most_tokens:
            raise MemoryError
        if self._poison_id is not None and (ids == self._poison_id).any():
            raise RuntimeError("cannot digest this text")
        probabilities = np.full((*ids.shape, len(TAGS)), 0.02, dtype=np.float32)
        probabilities[..., 0] = 0.92
        for token, tag in self._tags.items():
            probabilities[ids == token] = 0.02
            probabilities[ids == token, tag] = 0.92
        if self._answer:
            probabilities = self._answer(probabilities)
        return lambda: probabilities


def _id(tokenizer, word):
    return int(tokenizer.tokenize([word]).ids[0])


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, ["Anna", "Berlin", "in", "lives", "Poison", "word"])
    return (folder / "tokenizer.json").read_text()


@pytest.fixture
def build_tagger(tokenizer_json):
    """Builds (tagger, classifier) with the classifier's misbehaviour and the tagger's options."""

    def build(*, max_tokens=16, overlap_tokens=4, batch_tokens=64, decoding=None, dedupe=False, **misbehaviour):
        tokenizer = ColumnTokenizer(tokenizer_json)
        classifier = RuleClassifier(tokenizer, **misbehaviour)
        tagger = WindowTagger(
            tokenizer,
            classifier,
            windows=WindowConfig(max_tokens=max_tokens, overlap_tokens=overlap_tokens),
            decoding=decoding or DecodingConfig(),
            batch_tokens=batch_tokens,
            dedupe=dedupe,
        )
        return tagger, classifier

    return build
