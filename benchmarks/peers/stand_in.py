"""`spanmill annotate` with a stand-in for the model, so that what surrounds a model is what is measured.

    python -m benchmarks.peers.stand_in --input ... --output ...      any flag of `spanmill annotate`

Runs of two words with capital letters are its entities. No score of it means anything.
"""

import re
import sys
import time
from unittest import mock

import numpy as np

from schemas.labels import TagSet
from transforms.models import catalog
from transforms.models.tagger import Tagging

_NAME = re.compile(r"[A-Z]\w+ [A-Z]\w+")


class StandIn:
    """Tags texts by a pattern."""

    def __init__(self, labels):
        self.labels = labels
        self.names = ("",)

    def begin(self, texts):
        """Puts off until it is waited for what takes no time to begin."""
        return lambda: self.tag(texts)

    def tag(self, texts):
        """Texts in, entities out; every word counts as a token."""
        started = time.perf_counter()
        spans = [(at, *match.span()) for at, text in enumerate(texts) for match in _NAME.finditer(text)]
        document, start, end = np.array(spans, dtype=np.int64).reshape(-1, 3).T
        tokens = np.array([text.count(" ") + 1 for text in texts], dtype=np.int64)
        return Tagging(
            document=document,
            start=start,
            end=end,
            label=np.zeros(len(spans), dtype=np.int64),
            score=np.full(len(spans), 0.5, dtype=np.float32),
            tokens=tokens,
            windows=np.ones(len(texts), dtype=np.int64),
            failures={},
            computed_tokens=int(tokens.sum()),
            seconds={"forward": time.perf_counter() - started},
        )


class StandInConfig(catalog.CheckpointTaggerConfig):
    """What travels to the workers in place of nothing."""

    def load(self):
        """A tagger with the labels of the model that it stands in for."""
        return StandIn(TagSet(self.tags, self.scheme).labels)

    def build(self, shared):
        """The same for every thread, since it remembers nothing."""
        return shared


def main(arguments):
    """Runs the job and returns its exit status."""
    from pipelines.__main__ import main as run_job

    configure = catalog.configure_tagger

    def configure_stand_in(*args, **options):
        # A digest of its own keeps its runs apart from the model's.
        return StandInConfig(**{**vars(configure(*args, **options)), "digest": "stand-in"})

    with mock.patch.object(catalog, "configure_tagger", configure_stand_in):
        return run_job(["annotate", "--batch-tokens", "1024", *arguments])


if __name__ == "__main__":
    # Workers look the class up under this name, and not under __main__.
    from benchmarks.peers import stand_in

    sys.exit(stand_in.main(sys.argv[1:]))
