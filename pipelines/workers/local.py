"""What options and Beam's flags say about the workers on this machine.

Beam's own worker processes and threads listen for each other on every interface, so a local runner is given none of
them: the number that is asked for is that of our own processes, each with a runner for itself.
"""

import os
from collections.abc import Sequence

from pipelines.console.options import LOCAL_WORKER_FLAGS
from pipelines.workers.runners import flag_value, is_local
from pipelines.workers.supervision import Supervision
from schemas.errors import ConfigError


def choose_supervision(supervision: Supervision, beam_flags: Sequence[str], uris: Sequence[str]) -> Supervision | None:
    """How workers on this machine are watched, or None where a runner works without them.

    Args:
      supervision: what a person asked for.
      beam_flags: Beam's own flags; its number of local workers stands for ours.
      uris: where input is read and output written, since no other process sees this one's memory.

    Raises:
      ConfigError: a number is out of its range, or both were given and differ.
    """
    for flag, value, least in (
        ("--workers", supervision.workers, 1),
        ("--max-restarts", supervision.max_restarts, 0),
    ):
        if value < least:
            raise ConfigError(f"expected {flag} of {least} or more, found {value}")
    if not supervision.timeout_s >= 1:
        raise ConfigError(f"expected --timeout-per-document of 1 second or more, found {supervision.timeout_s:g}")
    if not is_local(beam_flags):
        if supervision.workers > 1:
            raise ConfigError("expected a local runner for --workers; the runner's own flags say how many it has")
        return None
    given = flag_value(beam_flags, "--direct_num_workers", "")
    n_workers = (int(given) or n_cores()) if given else supervision.workers
    if given and supervision.workers not in (1, n_workers):
        raise ConfigError(
            f"expected one of --workers and --direct_num_workers, found {supervision.workers} and {given}"
        )
    is_shared = not any(uri.startswith("memory://") for uri in uris)
    if n_workers > 1 and not is_shared:
        raise ConfigError(f"expected one worker for memory://, which other processes do not see, found {n_workers}")
    if not is_shared or (n_workers == 1 and not supervision.max_restarts):
        return None
    return Supervision(workers=n_workers, max_restarts=supervision.max_restarts, timeout_s=supervision.timeout_s)


def count_workers(beam_flags: Sequence[str]) -> int:
    """The most workers that flags give a runner, by the names of Dataflow, Flink and Spark; 1 where none tells."""
    flags = ("--max_num_workers", "--num_workers", "--parallelism", "--num_executors")
    values = [flag_value(beam_flags, name, "") for name in flags]
    return max([1, *(int(value) for value in values if value.isdecimal())])


def without_local_workers(beam_flags: Sequence[str]) -> list[str]:
    """Beam's flags without those that ask a local runner for workers."""
    kept: list[str] = []
    is_value = False
    for flag in beam_flags:
        name, _, value = flag.partition("=")
        if name in LOCAL_WORKER_FLAGS:
            is_value = not value
        elif not is_value or name.startswith("--"):
            kept.append(flag)
            is_value = False
        else:
            is_value = False
    return kept


def share_threads(n_workers: int) -> int:
    """Threads of the model in one of several workers, which share the cores; 0, all of them, for one."""
    return max(1, n_cores() // n_workers) if n_workers > 1 else 0


def n_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
