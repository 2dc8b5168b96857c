"""Documents one by one in a process of their own, so that one that kills or hangs it takes no other along."""

import contextlib
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from schemas.errors import DeviceError, ModelError, PipelineError, RecordError
from schemas.failures import describe_error
from schemas.receipts import sum_tallies
from transforms.models.annotator import AnnotatedPart, Annotator, EntityConfig
from transforms.models.tagger import TaggerConfig
from transforms.reuse.recall import RecallConfig
from transforms.workers.heartbeats import beat
from transforms.workers.subprocesses import Child, describe_status

_MOST_CRASHES_IN_A_ROW = 10
_SHARE_OF_MEMORY = 0.8


class IsolatedAnnotator:
    """Annotates documents in a child process, which is started anew for each document that it does not survive.

    Args:
      tagger: what the child builds its model from.
      entities: which entities are written.
      model: digest of the model.
      timeout_s: seconds that a document may take.
      recall: an earlier run, whose texts the model is spared.
    """

    def __init__(
        self,
        tagger: TaggerConfig,
        entities: EntityConfig,
        *,
        model: str,
        timeout_s: float,
        recall: RecallConfig | None = None,
    ) -> None:
        self._recipe = (tagger, entities, model, recall)
        self._timeout_s = timeout_s
        self._child: Child | None = None
        self._n_crashes = 0

    def annotate(self, documents: pa.Table, *, source: str) -> AnnotatedPart:
        """Documents of one file to annotations; see `Annotator.annotate`.

        A document that ends the process is a dead letter `crash`, one that takes too long `timeout`, and one that asks
        for more memory than there is `too_large`.

        Raises:
          ModelError: the model answers nonsense, does not load, or crashes on every document.
        """
        parts = [self._annotate_one(documents.take([row]), source) for row in range(documents.num_rows)]
        return AnnotatedPart(
            pa.concat_tables([part.annotations for part in parts]),
            tuple(letter for part in parts for letter in part.rejects),
            sum_tallies(part.tally for part in parts),
        )

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _annotate_one(self, document: pa.Table, source: str) -> AnnotatedPart:
        answer = self._ask(document, source, None)
        if isinstance(answer, RecordError):
            answer = self._ask(document, source, answer)
        if not isinstance(answer, AnnotatedPart):
            raise answer if isinstance(answer, ModelError) else ModelError(str(answer))
        return answer

    def _ask(self, document: pa.Table, source: str, failure: RecordError | None) -> AnnotatedPart | PipelineError:
        """What the child makes of a document, or why it made nothing of it."""
        child = self._child = self._child or self._start()
        deadline = time.monotonic() + self._timeout_s
        try:
            child.connection.send((document, source, failure))
            while not child.connection.poll(min(1.0, self._timeout_s)):
                beat()
                if time.monotonic() > deadline:
                    self.close()
                    return RecordError("timeout", f"expected an answer in {self._timeout_s:g} s, found none")
            answer: AnnotatedPart | PipelineError | str = child.connection.recv()
        except (EOFError, OSError):
            return self._crashed(describe_status(child.wait()))
        if isinstance(answer, DeviceError | str):
            child.kill()
            return self._crashed(answer if isinstance(answer, str) else "a device that failed")
        if failure is None:
            self._n_crashes = 0
        return answer

    def _start(self) -> Child:
        child = Child(serve, *self._recipe)
        try:
            while not child.connection.poll(1):
                beat()
            child.connection.recv()
        except (EOFError, OSError):
            status = describe_status(child.wait())
            raise ModelError(f"expected the model to load in a process of its own, found its end by {status}") from None
        return child

    def _crashed(self, reason: str) -> RecordError:
        self._child = None
        self._n_crashes += 1
        if self._n_crashes == _MOST_CRASHES_IN_A_ROW:
            raise ModelError(
                f"the process that annotates ended by {reason} on {self._n_crashes} documents in a row; "
                "look at the model and at the memory of this machine"
            )
        return RecordError("crash", f"the process that annotated it ended by {reason}")


def serve(
    connection: Connection, tagger: TaggerConfig, entities: EntityConfig, model: str, recall: RecallConfig | None
) -> None:
    """What the child does: loads the model, says so, and answers until nobody asks any more, or says what ends it."""
    earlier = recall.open() if recall else None
    annotator = Annotator(tagger.build(tagger.load()), entities, model=model, recall=earlier)
    _limit_memory()
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            document, source, failure = connection.recv()
            answer: AnnotatedPart | PipelineError | str
            try:
                known = {} if failure is None else {0: failure}
                answer = annotator.annotate(document, source=source, failures=known)
            except MemoryError:
                answer = RecordError("too_large", "expected a document that fits in memory, found one that does not")
            except PipelineError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - whatever it is, no other document is to meet what it left
                answer = describe_error(error)
            connection.send(answer)


def _limit_memory() -> None:
    """Makes a document that takes too much memory an error here, before the system ends some process for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return  # A driver reserves far more addresses than it uses.
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(facts["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = used + int(free * _SHARE_OF_MEMORY)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
