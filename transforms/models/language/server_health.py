"""When a server counts as gone or broken, so that a run stops in place of failing document by document."""

import logging
import threading
import time
from collections.abc import Callable

from schemas.errors import ModelError, RecordError

_LOGGER = logging.getLogger(__name__)
_BY_THEMSELVES = frozenset({"too_long", "content_filter"})


class Health:
    """What threads know together of how a server is.

    Args:
      place: what the server is called in messages.
      patience_s: seconds without reaching it after which it counts as gone.
      max_failed_in_row: prompts that fail with no answer between them before it counts as broken; 0 for never.
      clock: seconds that only go forward.
    """

    def __init__(
        self,
        place: str,
        *,
        patience_s: float,
        max_failed_in_row: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._patience_s = patience_s
        self._max_failed_in_row = max_failed_in_row
        self._clock = clock
        self._lock = threading.Lock()
        self._n_failed = 0
        self._unreached_since: float | None = None
        self._is_up = False

    @property
    def is_up(self) -> bool:
        """Whether it has answered a prompt since it was last out of reach."""
        return self._is_up

    def note_reached(self) -> None:
        """It said something."""
        with self._lock:
            self._unreached_since = None

    def note_answer(self) -> None:
        """It answered a prompt."""
        with self._lock:
            self._n_failed = 0
            self._is_up = True

    def note_unreached(self, reason: str) -> None:
        """A try did not come to it.

        Raises:
          ModelError: nor did any other for too long.
        """
        with self._lock:
            now = self._clock()
            self._is_up = False
            if self._unreached_since is None:
                self._unreached_since = now
                _LOGGER.warning("cannot reach %s: %s; trying on", self._place, reason)
            if now - self._unreached_since >= self._patience_s:
                raise ModelError(
                    f"expected a server at {self._place}, found none for {self._patience_s:g} s: {reason}; "
                    "start it, or mend the URL"
                )

    def note_failure(self, failure: RecordError) -> None:
        """A prompt has failed; one that is too long or filtered says nothing about the server.

        Raises:
          ModelError: so did too many before it.
        """
        if failure.code in _BY_THEMSELVES:
            return
        with self._lock:
            self._n_failed += 1
            if self._max_failed_in_row and self._n_failed >= self._max_failed_in_row:
                raise ModelError(
                    f"expected answers of {self._place}, found {self._n_failed} prompts that failed in a row, "
                    f"the last so: {failure.message}; see to the server"
                )
