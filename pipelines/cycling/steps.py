"""The steps of a cycle: each runs a job that a person could run, and tells what came of it.

Each may be cut off anywhere and done again: the jobs see what they did before. What a step depends on is in the
beginning of its cycle, in the results of the steps before it, or in the registry.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import annotate, drift, registry, train
from pipelines.cycling.config import ALL, FIRST, LATEST, NONE, PREVIOUS, CycleConfig
from pipelines.labelled.gating import digest_gates
from pipelines.training.options import TrainOptions
from schemas.cycles import (
    ADAPT,
    ANNOTATE,
    DONE,
    DRIFT,
    PROMOTE,
    PROMOTED,
    REANNOTATE,
    REFUSED,
    SKIPPED,
    Beginning,
    Cycle,
    LabelRef,
    StepResult,
)
from schemas.errors import ConfigError, FileError, StorageError
from schemas.registry import PROMOTION
from schemas.slices import FileRef, display_uri

if TYPE_CHECKING:
    from transforms.storage.store import Store

REFERENCE = "reference"
_SHOWN = 16
_NOT_TRAINED_ON = ("parquet", "jsonl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleJob:
    """A cycle that is under way.

    Attributes:
      config: what the file says.
      store: the store of the state.
      cycles: all cycles; the last is the one under way.
    """

    config: CycleConfig
    store: "Store"
    cycles: tuple[Cycle, ...]

    @property
    def cycle(self) -> Cycle:
        """The cycle under way."""
        return self.cycles[-1]

    @property
    def beginning(self) -> Beginning:
        """What it is about."""
        return self.cycle.beginning


def run_step(job: CycleJob, step: str) -> StepResult:
    """Does a step, or what is left of it.

    Raises:
      ConfigError: the config, or what it names, is wrong.
      PipelineError: the job failed.
    """
    return _STEPS[step](job)


def list_inputs(config: CycleConfig, *, allow_none: bool) -> list[FileRef]:
    """The input files as they are now, without what cycles wrote."""
    from transforms.corpora.files import list_files

    output = config.annotate.output.rstrip("/")
    root = output if "://" in output else str(Path(output).absolute())
    files = list_files(config.annotate.input, flag="input of [annotate]", allow_none=allow_none)
    return [file for file in files if not file.uri.startswith(f"{root}/cycle=")]


def list_labels(config: CycleConfig) -> dict[LabelRef, FileRef]:
    """The labelled files as they are now; those of other formats, as `spanmill import` writes them too, are left out.

    Raises:
      ConfigError: one cannot be read.
    """
    from transforms.corpora.compression import suffix_of
    from transforms.corpora.files import digest_file, list_files
    from transforms.corpora.formats import SUFFIXES

    files = list_files(config.labels, flag="labels of [adapt]", allow_none=True)
    found = {}
    for file in files:
        if SUFFIXES.get(suffix_of(file.uri)) in _NOT_TRAINED_ON:
            continue
        try:
            found[LabelRef(file.source, digest_file(file))] = file
        except (FileError, StorageError) as error:
            raise ConfigError(f"cannot read labelled file {file.source!r}: {error}; mend or remove it") from error
    return found


def configure_training(config: CycleConfig, beginning: Beginning, files: Mapping[LabelRef, FileRef]) -> TrainOptions:
    """How a cycle trains.

    Args:
      config: what the file says.
      beginning: what the cycle is about.
      files: the labelled files as they are now.

    Raises:
      ConfigError: a labelled file of the cycle is gone or changed, or its champion is not there any more.
    """
    if missing := [label.source for label in beginning.labels if label not in files]:
        raise ConfigError(_describe_missing("labelled file", missing, beginning))
    return TrainOptions(
        **config.train,
        train=tuple(files[label].uri for label in beginning.labels),
        base=f"registry:{beginning.champion}",
        registry=config.settings.registry,
        output=str(config.work / _name_folder(beginning.number)),
        resume=True,
    )


def configure_drift(config: CycleConfig, *, run_a: str, run_b: str = "", output: str = "") -> drift.DriftOptions:
    """How a cycle compares two runs."""
    settings = config.drift
    assert settings is not None
    return drift.DriftOptions(
        run_a=run_a,
        run_b=run_b,
        output=output,
        threshold=settings.threshold,
        fail_on=settings.fail_on,
        replicates=settings.replicates,
    )


def find_stale(config: CycleConfig, cycles: tuple[Cycle, ...], champion: str) -> list[Cycle]:
    """The cycles to annotate again: those whose input another model than the champion annotated last."""
    from training.cycles import find_models

    models = find_models(cycles)
    annotated = [cycle for cycle in cycles if cycle.number in models]
    chosen = {NONE: [], LATEST: annotated[-1:], ALL: annotated}[config.settings.reannotate]
    return [cycle for cycle in chosen if models[cycle.number] != champion]


def _annotate_new(job: CycleJob) -> StepResult:
    beginning = job.beginning
    if not beginning.inputs:
        return _skip(ANNOTATE, "no new input")
    files = _find_listed(job.config, beginning)
    if missing := [file.source for file in beginning.inputs if file not in files]:
        raise ConfigError(_describe_missing("input", missing, beginning))
    done = _annotate(job.config, beginning, [files[file].uri for file in beginning.inputs], beginning.champion)
    sentence = f"{len(beginning.inputs):,} new files by {beginning.champion[:_SHOWN]} in {display_uri(done.root)}"
    return _finish(ANNOTATE, sentence, done.status, {"run": done.root, "model": beginning.champion})


def _measure_drift(job: CycleJob) -> StepResult:
    settings = job.config.drift
    if settings is None:
        return _skip(DRIFT, "the config has no [drift]")
    if not job.cycle.run:
        return _skip(DRIFT, "nothing was annotated")
    reference = settings.reference
    if reference in (FIRST, PREVIOUS):
        runs = [cycle.run for cycle in job.cycles[:-1] if cycle.run]
        if not runs:
            return _skip(DRIFT, "there is no earlier run to compare with")
        reference = runs[0 if reference == FIRST else -1]
    folder = f"{_folder(job)}/drift"
    output = f"{job.config.settings.state.rstrip('/')}/{folder}"
    options = configure_drift(job.config, run_a=reference, run_b=job.cycle.run, output=output)
    # Where the earlier run is gone, its key is named.
    drift.check(options, flag=job.config.name_key(REFERENCE, "drift"))
    status = drift.run(options)
    verdict = json.loads(job.store.read(f"{folder}/drift.json"))["verdict"]
    sentence = f"{verdict}, beside {display_uri(reference)}"
    return _finish(DRIFT, sentence, status, {"verdict": verdict, "reference": display_uri(reference)})


def _adapt(job: CycleJob) -> StepResult:
    from training.registry.checkpoints import add_checkpoint
    from transforms.storage.store import open_store

    if not job.beginning.labels:
        return _skip(ADAPT, "no labelled file has arrived")
    folder = job.config.work / _name_folder(job.cycle.number)
    if not train.is_trained(folder):
        train.run(configure_training(job.config, job.beginning, list_labels(job.config)))
    options = registry.AddOptions(registry=job.config.settings.registry, model=str(folder))
    command = registry.render_command("add", options)
    candidate = add_checkpoint(open_store(options.registry), options.model, command=command).digest
    sentence = f"{candidate[:_SHOWN]} from {job.beginning.champion[:_SHOWN]}, on {len(job.beginning.labels):,} files"
    return _finish(ADAPT, sentence, 0, {"candidate": candidate})


def _promote(job: CycleJob) -> StepResult:
    from transforms.storage.store import open_store

    settings, candidate = job.config.promote, job.cycle.candidate
    if not candidate:
        return _skip(PROMOTE, "there is no candidate")
    if settings is None:
        raise ConfigError("expected a table [promote] for the candidate of this cycle, found none; bring it back")
    place = job.config.settings.registry
    store = open_store(place)
    # Who was judged before a kill is not judged again: somebody may have rolled back, and speeds are never the same.
    decided = _find_entry(job, store) or _find_refusal(store, candidate, settings.gates)
    if decided is None:
        status = registry.run_promote(
            registry.PromoteOptions(
                registry=place,
                checkpoint=candidate,
                gates=settings.gates,
                device=settings.device,
                progress=job.config.annotate.progress,
            )
        )
        decided = _find_refusal(store, candidate) if status == registry.REFUSED else _find_entry(job, store)
    return decided or _skip(PROMOTE, f"{candidate[:_SHOWN]} is champion already")


def _find_entry(job: CycleJob, store: "Store") -> StepResult | None:
    """The promotion of the candidate since its cycle began; None for none."""
    from training.registry.history import read_history

    candidate = job.cycle.candidate
    for entry in read_history(store)[job.beginning.entries :]:
        if entry.kind == PROMOTION and entry.champion == candidate:
            command = registry.render_command(
                "rollback", registry.RollbackOptions(registry=job.config.settings.registry, checkpoint=entry.replaces)
            )
            sentence = f"{candidate[:_SHOWN]} is champion, by entry {entry.number}; this goes back: {command}"
            return _finish(PROMOTE, sentence, 0, {"champion": candidate}, PROMOTED)
    return None


def _find_refusal(store: "Store", candidate: str, gates: str = "") -> StepResult | None:
    """The latest refusal of a candidate, beside the present champion by a file of gates where one is named."""
    from training.registry.history import find_champion, read_history
    from training.registry.records import read_refusals

    found = [refusal for refusal in read_refusals(store) if refusal.digest == candidate]
    if gates:
        wanted = (find_champion(read_history(store)), digest_gates(gates))
        found = [one for one in found if (one.verdict.champion, one.verdict.gates_digest) == wanted]
    if not found:
        return None
    champion = found[-1].verdict.champion
    failed = ", ".join(gate.name for gate in found[-1].verdict.failed)
    sentence = f"{candidate[:_SHOWN]} was refused (refusal {found[-1].number}): {failed}; {champion[:_SHOWN]} stays"
    return _finish(PROMOTE, sentence, registry.REFUSED, {"champion": champion}, REFUSED)


def _reannotate(job: CycleJob) -> StepResult:
    from training.registry.history import find_champion, read_history
    from transforms.storage.store import open_store

    champion = job.cycle.promoted or job.beginning.champion
    if job.config.settings.reannotate == NONE:
        return _skip(REANNOTATE, "nobody asked for it")
    if (now := find_champion(read_history(open_store(job.config.settings.registry)))) != champion:
        return _skip(REANNOTATE, f"{now[:_SHOWN]} is champion by now")
    runs, status, n_gone = {}, 0, 0
    for cycle in find_stale(job.config, job.cycles, champion):
        files = _find_listed(job.config, cycle.beginning)
        n_gone += len(cycle.beginning.inputs) - len(files)
        runs[str(cycle.number)] = ""
        if files:
            uris = [file.uri for file in files.values()]
            done = _annotate(job.config, cycle.beginning, uris, champion, allow_removed_inputs=True)
            runs[str(cycle.number)] = done.root
            status = max(status, done.status)
    if not runs:
        return _skip(REANNOTATE, "the model is the same")
    gone = f", without {n_gone:,} files that are gone or changed" if n_gone else ""
    sentence = f"the input of {len(runs):,} cycles by {champion[:_SHOWN]}{gone}"
    return _finish(REANNOTATE, sentence, status, {"runs": runs, "model": champion})


_STEPS: dict[str, Callable[[CycleJob], StepResult]] = {
    ANNOTATE: _annotate_new,
    DRIFT: _measure_drift,
    ADAPT: _adapt,
    PROMOTE: _promote,
    REANNOTATE: _reannotate,
}


def _annotate(
    config: CycleConfig, beginning: Beginning, uris: list[str], model: str, **more: Any
) -> "annotate.Annotated":
    """Annotates files of a cycle with a checkpoint of the registry; each cycle has a folder for its runs."""
    options = dataclasses.replace(
        config.annotate,
        input=tuple(uris),
        output=f"{config.annotate.output.rstrip('/')}/{_name_folder(beginning.number)}",
        model=f"registry:{model}",
        registry=config.settings.registry,
        **more,
    )
    return annotate.annotate_corpus(options, config.beam_flags)


def _find_listed(config: CycleConfig, beginning: Beginning) -> dict[FileRef, FileRef]:
    """The input files of a cycle that are as they were, as they are listed now."""
    listed = {file.without_secret(): file for file in list_inputs(config, allow_none=True)}
    return {file: listed[file] for file in beginning.inputs if file in listed}


def _describe_missing(what: str, sources: list[str], beginning: Beginning) -> str:
    return (
        f"expected {what} {sources[0]!r} as cycle {beginning.number} found it, found it gone or changed "
        f"({len(sources)} in all); bring it back, or give the cycle up with --abandon REASON"
    )


def _finish(step: str, sentence: str, status: int, values: Mapping[str, Any], outcome: str = DONE) -> StepResult:
    from training.registry.records import tell_time

    return StepResult(step=step, outcome=outcome, status=status, sentence=sentence, at=tell_time(), values=dict(values))


def _skip(step: str, why: str) -> StepResult:
    return _finish(step, why, 0, {}, SKIPPED)


def _folder(job: CycleJob) -> str:
    from training.cycles import CYCLES, name_cycle

    return f"{CYCLES}/{name_cycle(job.cycle.number)}"


def _name_folder(number: int) -> str:
    from training.cycles import name_cycle

    return f"cycle={name_cycle(number)}"
