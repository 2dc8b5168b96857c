"""`spanmill registry`: checkpoints kept, a candidate promoted or refused, rolled back, thrown away."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options
from pipelines.console.signals import stopping_on_signals
from schemas.errors import ConfigError, suggest

if TYPE_CHECKING:
    from schemas.registry import Verdict
    from training.registry.garbage import RegistryState
    from transforms.storage.store import Store

REFUSED = 3
"""Exit status for a candidate that does not pass."""

_USAGE = "usage: spanmill registry VERB [options]\n\n{verbs}\n\nspanmill registry VERB --help lists its options."


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistryOptions:
    """What every verb has to know."""

    registry: str = option("folder or URL of the registry", metavar="DIR")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListOptions(RegistryOptions):
    """What a person can ask of the list."""

    json: bool = option("print JSON", default=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowOptions(RegistryOptions):
    """What a person can ask of one checkpoint."""

    checkpoint: str = option(
        "beginning of its digest; none for the champion", "", metavar="CHECKPOINT", is_positional=True
    )
    json: bool = option("print JSON", default=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddOptions(RegistryOptions):
    """What a person can add."""

    model: str = option("model folder, URL or hub name", metavar="MODEL", is_positional=True)
    base: str = option("base model of an adapter, where it is not where it was at training", "", metavar="MODEL")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromoteOptions(RegistryOptions):
    """What a person can ask of a promotion."""

    checkpoint: str = option("beginning of the candidate's digest", metavar="CHECKPOINT", is_positional=True)
    gates: str = option("file of gates and test sets", "", metavar="FILE.toml")
    force: str = option("promote whatever the gates say, and keep why", "", metavar="REASON")
    device: str = option("cpu or cuda, to run candidate and champion on", "cpu")
    progress: bool = option("show progress", default=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RollbackOptions(RegistryOptions):
    """What a person can ask of a rollback."""

    checkpoint: str = option(
        "beginning of the digest of an earlier champion; none for the one before",
        "",
        metavar="CHECKPOINT",
        is_positional=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GcOptions(RegistryOptions):
    """What a person can ask of throwing away."""

    keep_entries: int = option("keep the champions of so many of the latest promotions and rollbacks", 5)
    keep_days: float = option("keep what was added or refused less than so many days ago", 30.0, metavar="DAYS")
    dry_run: bool = option("only say what would go", default=False)


def main(arguments: Sequence[str]) -> int:
    """Runs a verb and returns the exit status: 3 for a candidate that was refused."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, VERBS))
        print(_USAGE.format(verbs="\n".join(f"  {name:<{width}}  {verb.text}" for name, verb in VERBS.items())))
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise ConfigError(f"expected a verb of {sorted(VERBS)}, found {name!r}{suggest(name, VERBS)}")
    verb = VERBS[name]
    options, _ = parse_options(
        verb.options, rest, prog=f"spanmill registry {name}", description=f"{verb.text.capitalize()}.", has_beam=False
    )
    with stopping_on_signals("the registry is whole; give the command again"):
        return verb.run(options)


def run_list(options: ListOptions) -> int:
    """Shows what is there."""
    from transforms.reports.registry import print_registry

    _, state = _read(options)
    if options.json:
        _print_json(_describe(state))
        return 0
    print_registry(state.records, state.entries, state.refusals, _console())
    return 0


def run_show(options: ShowOptions) -> int:
    """Shows one checkpoint.

    Raises:
      ConfigError: there is none.
    """
    from training.registry.history import find_champion
    from training.registry.records import find_record
    from transforms.reports.registry import describe_state, print_checkpoint

    _, state = _read(options)
    wanted = options.checkpoint or find_champion(state.entries)
    if not wanted:
        raise ConfigError("expected a champion in the registry, found none; name a checkpoint")
    record = find_record(state.records, wanted)
    if options.json:
        own = {
            "state": describe_state(record.digest, state.entries, state.refusals),
            "history": [dataclasses.asdict(entry) for entry in state.entries if entry.champion == record.digest],
            "refusals": [dataclasses.asdict(one) for one in state.refusals if one.digest == record.digest],
        }
        _print_json({**dataclasses.asdict(record), **own})
        return 0
    print_checkpoint(record, state.entries, state.refusals, _console())
    return 0


def run_add(options: AddOptions) -> int:
    """Adds a checkpoint and prints its digest."""
    from training.registry.checkpoints import add_checkpoint

    store = _open(options)
    print(add_checkpoint(store, options.model, base=options.base, command=render_command("add", options)).digest)
    return 0


def run_promote(options: PromoteOptions) -> int:
    """Judges a candidate, and promotes or refuses it.

    Raises:
      ConfigError: there is no such candidate, or the gates or test sets are wrong.
      ConflictError: another was promoted meanwhile.
    """
    from training.registry.history import Promotion, find_champion, promote_checkpoint
    from training.registry.records import find_record
    from training.registry.refusals import refuse_checkpoint

    if not options.gates and not options.force:
        raise ConfigError("expected --gates to judge the candidate by, found none; give a file, or --force REASON")
    store, state = _read(options)
    digest = find_record(state.records, options.checkpoint).digest
    champion = find_champion(state.entries)
    if champion == digest:
        print(f"nothing to do: {digest[:16]} is champion")
        return 0
    verdict = _judge(options, store, state, digest)
    passed = verdict is not None and verdict.passed
    command = render_command("promote", options)
    if verdict and not passed and not options.force:
        refusal = refuse_checkpoint(store, digest, verdict, command=command)
        failed = ", ".join(gate.name for gate in verdict.failed)
        print(f"spanmill: refused {digest[:16]} (refusal {refusal.number}): {failed}", file=sys.stderr)
        return REFUSED
    forced = "" if passed else options.force
    entry = promote_checkpoint(
        store, digest, Promotion(replaces=champion, command=command, verdict=verdict, forced=forced)
    )
    if entry.forced:
        print(f"spanmill: PROMOTED BY FORCE, past its gates: {entry.forced}", file=sys.stderr)
    print(f"{digest[:16]} is champion, by entry {entry.number}")
    return 0


def run_rollback(options: RollbackOptions) -> int:
    """Makes an earlier champion champion again.

    Raises:
      ConfigError: there is none.
      ConflictError: another was promoted meanwhile.
    """
    from training.registry.history import find_champion, find_predecessor, roll_back
    from training.registry.records import find_record

    store, state = _read(options)
    wanted = options.checkpoint
    digest = find_record(state.records, wanted).digest if wanted else find_predecessor(state.entries)
    command = render_command("rollback", options)
    entry = roll_back(store, digest, replaces=find_champion(state.entries), command=command)
    print(f"{digest[:16]} is champion, by entry {entry.number}")
    return 0


def run_gc(options: GcOptions) -> int:
    """Throws away what nobody needs and says what it was."""
    from training.registry.garbage import Keeping, collect_garbage

    keeping = Keeping(entries=options.keep_entries, days=options.keep_days)
    names = collect_garbage(_open(options), keeping, command=render_command("gc", options), dry_run=options.dry_run)
    for name in names:
        print(name)
    print(f"{'would remove' if options.dry_run else 'removed'} {len(names):,} checkpoints", file=sys.stderr)
    return 0


def render_command(verb: str, options: Any) -> str:
    """Options as a person would give them, without passwords in URLs."""
    from schemas.slices import display_uri

    words = ["spanmill", "registry", verb]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value == field.default:
            continue
        flag = [] if field.metadata["is_positional"] else ["--" + field.name.replace("_", "-")]
        if value is False:
            flag = ["--no-" + field.name.replace("_", "-")]
        words += flag if isinstance(value, bool) else [*flag, display_uri(str(value))]
    return shlex.join(words)


@dataclasses.dataclass(frozen=True)
class _Verb:
    options: type[Any]
    run: Callable[[Any], int]
    text: str


VERBS = {
    "list": _Verb(ListOptions, run_list, "show checkpoints and the history of champions"),
    "show": _Verb(ShowOptions, run_show, "show one checkpoint, its card and how it was judged"),
    "add": _Verb(AddOptions, run_add, "copy a checkpoint into the registry, and with an adapter its base"),
    "promote": _Verb(PromoteOptions, run_promote, "make a candidate champion if it passes its gates"),
    "rollback": _Verb(RollbackOptions, run_rollback, "make an earlier champion champion again"),
    "gc": _Verb(GcOptions, run_gc, "remove checkpoints that nobody needs"),
}


def _open(options: RegistryOptions) -> "Store":
    from transforms.storage.store import open_named

    return open_named(options.registry, flag="--registry")


def _read(options: RegistryOptions) -> tuple["Store", "RegistryState"]:
    """The store and all that it holds.

    Raises:
      ConfigError: it holds nothing.
    """
    from schemas.slices import display_uri
    from training.registry.garbage import read_state

    store = _open(options)
    state = read_state(store)
    if not state.records and not state.entries:
        raise ConfigError(
            f"expected a registry at {display_uri(options.registry)!r}, found no checkpoint; check --registry, or "
            "begin one with spanmill registry add"
        )
    return store, state


def _judge(options: PromoteOptions, store: "Store", state: "RegistryState", digest: str) -> "Verdict | None":
    """How the candidate does, which is shown; None without gates, when it is only looked at."""
    from pipelines.labelled.gating import check_unseen, judge_candidate, read_gates
    from training.registry.history import find_champion
    from training.registry.references import pin_checkpoint
    from transforms.reports.registry import print_verdict

    file = read_gates(options.gates) if options.gates else None
    if file:
        check_unseen(file, state.records[digest])
    candidate = pin_checkpoint(options.registry, store, digest)
    if file is None:
        return None
    champion = find_champion(state.entries)
    verdict = judge_candidate(
        file,
        candidate,
        pin_checkpoint(options.registry, store, champion) if champion else None,
        device=options.device,
        tell=lambda text: print(text, file=sys.stderr, flush=True) if options.progress else None,
    )
    print_verdict(verdict, _console())
    return verdict


def _describe(state: "RegistryState") -> dict[str, Any]:
    from training.registry.history import find_champion
    from transforms.reports.registry import describe_state

    checkpoints = [
        {**dataclasses.asdict(record), "state": describe_state(digest, state.entries, state.refusals)}
        for digest, record in sorted(state.records.items())
    ]
    return {
        "champion": find_champion(state.entries),
        "checkpoints": checkpoints,
        "history": [dataclasses.asdict(entry) for entry in state.entries],
        "refusals": [dataclasses.asdict(refusal) for refusal in state.refusals],
    }


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True))


def _console() -> Any:
    from rich.console import Console

    # What is piped on is not folded.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
