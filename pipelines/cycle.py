"""`spanmill cycle`: one command that keeps a model current, for cron or Airflow.

    annotate ──> drift ──> adapt ──> promote ──> reannotate
    what is new  beside    if labels  or refuse   if asked
                 a run     arrived

What a cycle is about is written down before anything is done, and what each step came to when it is done. A cycle that
was cut off is gone on with by the next start; where nothing is new, none begins.
"""

import contextlib
import dataclasses
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.console.options import build_parser, option
from pipelines.console.signals import stopping_on_signals
from pipelines.cycling.checks import check_config, check_inputs, check_training
from pipelines.cycling.config import CycleConfig, read_cycle_config
from pipelines.cycling.steps import CycleJob, find_stale, list_inputs, list_labels, run_step
from schemas.cycles import STEPS, Beginning, Cycle, LabelRef
from schemas.errors import ConfigError, ConflictError
from schemas.slices import FileRef
from transforms.storage.store import Store, open_named

DESCRIPTION = (
    "Keep a model current: annotate what is new, tell how far it has drifted, train where labels have arrived, promote "
    "or refuse the candidate, annotate again where that is asked for. The same command goes on after a kill and does "
    "nothing where nothing is new. Exit status: 0, or 3 where all was done and somebody should look: too many "
    "documents failed, fail-on of [drift], or a candidate that was refused; 2 for a wrong config or input."
)
EPILOG = "In a crontab, every night at three: 0 3 * * * cd /srv/ner && spanmill cycle --config cycle.toml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleOptions:
    """What a person can ask of the job; all else stands in the file."""

    abandon: str = option("give up a cycle that cannot be finished, and keep why", "", metavar="REASON")


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    parser = build_parser(CycleOptions, prog="spanmill cycle", description=DESCRIPTION, has_beam=False)
    parser.epilog = EPILOG
    given = vars(parser.parse_args(list(arguments)))
    if not given["config"]:
        raise ConfigError("expected --config FILE.toml, found none; see spanmill cycle --help")
    config = read_cycle_config(Path(given.pop("config")))
    with stopping_on_signals("the same command goes on from there"):
        return run(config, CycleOptions(**given))


def run(config: CycleConfig, options: CycleOptions) -> int:
    """Begins a cycle or goes on with one, and returns the exit status: 3 where one of its steps had it.

    Raises:
      ConfigError: the config, or what it names, is wrong; where that is seen before a cycle begins, none does.
      ConflictError: another cycle is at work on this machine, or somebody else has promoted meanwhile.
      PipelineError: a step failed; what is done stays.
    """
    store = open_named(config.settings.state, flag="state")
    with _locking(config.work):
        from training.cycles import read_cycles, record_result

        cycles = read_cycles(store)
        if options.abandon:
            return _abandon(store, cycles, options.abandon)
        cycles = _go_on(config, store, cycles)
        if not cycles:
            return 0
        for step in STEPS:
            cycle = cycles[-1]
            if step not in cycle.results:
                print(f"cycle {cycle.number}, {step}", flush=True)
                done = run_step(CycleJob(config=config, store=store, cycles=cycles), step)
                result = record_result(store, cycle.number, done)
                cycles = (*cycles[:-1], dataclasses.replace(cycle, results={**cycle.results, step: result}))
        return _conclude(cycles[-1])


def _go_on(config: CycleConfig, store: Store, cycles: tuple[Cycle, ...]) -> tuple[Cycle, ...]:
    """The cycles with one that is to be done last; none where nothing is new."""
    from training.cycles import begin_cycle

    if cycles and not cycles[-1].is_finished:
        print(f"going on with cycle {cycles[-1].number}, begun on {cycles[-1].beginning.at}")
        return cycles
    gates = check_config(config)
    files = list_inputs(config, allow_none=bool(cycles))
    labels = list_labels(config)
    beginning = _plan(config, cycles, files, labels)
    if not (beginning.inputs or beginning.labels or find_stale(config, cycles, beginning.champion)):
        since = f" since cycle {cycles[-1].number}" if cycles else ""
        print(f"nothing to do: none of {len(files):,} input files and {len(labels):,} labelled files is new{since}")
        return ()
    check_inputs(config, beginning.inputs)
    if beginning.labels:
        assert gates is not None
        check_training(config, beginning, labels, gates)
    return (*cycles, begin_cycle(store, beginning))


def _plan(
    config: CycleConfig, cycles: tuple[Cycle, ...], files: Sequence[FileRef], labels: dict[LabelRef, FileRef]
) -> Beginning:
    """What a cycle that begins now is about.

    Raises:
      ConfigError: the registry has no champion.
    """
    from schemas.slices import display_uri
    from training.cycles import find_labels, find_new_inputs
    from training.registry.history import find_champion, read_history
    from training.registry.records import read_records, tell_time

    registry = open_named(config.settings.registry, flag="registry")
    entries = read_history(registry)
    if not (champion := find_champion(entries)):
        shown = display_uri(config.settings.registry)
        raise ConfigError(f"expected a champion in registry {shown!r}, found none; promote one")
    return Beginning(
        number=len(cycles) + 1,
        champion=champion,
        entries=len(entries),
        inputs=find_new_inputs(cycles, files),
        labels=find_labels(cycles, labels, champion, read_records(registry, entries)),
        at=tell_time(),
    )


def _abandon(store: Store, cycles: tuple[Cycle, ...], reason: str) -> int:
    from training.cycles import abandon_cycle

    if not cycles or cycles[-1].is_finished:
        raise ConfigError("expected an unfinished cycle to give up, found none; leave --abandon out")
    abandon_cycle(store, cycles[-1].number, reason)
    print(f"gave up cycle {cycles[-1].number}; the next takes up what it has not annotated, and its labelled files")
    return 0


def _conclude(cycle: Cycle) -> int:
    print(f"\ncycle {cycle.number}")
    for step in STEPS:
        result = cycle.results[step]
        print(f"  {step:<12} {result.outcome}: {result.sentence}")
    return max(result.status for result in cycle.results.values())


@contextlib.contextmanager
def _locking(work: Path) -> Iterator[None]:
    """While the body runs, no other process trains in a folder; the system ends that with the process, however it ends.

    Raises:
      ConflictError: another does.
      ConfigError: the folder cannot be made.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("a")
    except OSError as error:
        raise ConfigError(f"cannot write to the work folder {str(work)!r}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"expected no other spanmill cycle at work in {str(work)!r}, found one; let it end"
            ) from None
        yield
