"""When the next request may go out: a rate that threads share, pauses that a server asks for, waits between tries."""

import dataclasses
import datetime
import email.utils
import math
import random
import threading
import time
from collections.abc import Callable


class Pace:
    """Spaces requests so that no minute holds more than were allowed; shared by threads.

    Args:
      per_minute: most requests that begin within any minute; 0 for as many as come.
      clock: seconds that only go forward.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._next = -math.inf

    def take(self) -> float:
        """Takes a turn; 0 when it was there to take, else the seconds after which to ask again."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                return self._next - now
            self._next = now + self._interval_s
            return 0.0

    def pause(self, seconds: float) -> None:
        """Gives no turn for some seconds, to nobody."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


@dataclasses.dataclass(frozen=True)
class Backoff:
    """Waits that double from one try to the next, each cut at random by up to a half.

    The chance keeps threads that failed together from coming back together.

    Attributes:
      first_s: the first wait at its longest.
      longest_s: what no wait is longer than.
    """

    first_s: float = 1.0
    longest_s: float = 30.0

    def wait_s(self, n_failed: int) -> float:
        """Seconds to wait after so many failed tries, 1 or more."""
        # Beyond 64 doublings any wait is the longest, and a float would overflow.
        longest = min(self.first_s * 2.0 ** min(n_failed - 1, 64), self.longest_s)
        return longest * random.uniform(0.5, 1)


def parse_retry_after(value: str | None) -> float:
    """Seconds that a `Retry-After` header asks for; 0 where there is none or it cannot be read.

    >>> parse_retry_after("7"), parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), parse_retry_after("soon")
    (7.0, 0.0, 0.0)
    """
    try:
        seconds = float(value or 0)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value or "")
        except ValueError:
            return 0.0
        seconds = (date - datetime.datetime.now(date.tzinfo)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
