"""`spanmill train`: fine-tune a tagger on labelled text."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.console.options import parse_options
from pipelines.console.signals import stopping_on_signals
from pipelines.taggers.pinning import pin_folders
from pipelines.training.data import describe_split, read_data
from pipelines.training.once import Candidate, train_once
from pipelines.training.options import TrainOptions
from pipelines.training.runs import TrainRun, configure, describe_training, vary
from schemas.checkpoints import CARD_NAME, HISTORY_NAME, UNFINISHED, CheckpointCard, SeedScore
from training.checkpoints import check_output, is_publishing, publish_checkpoint, render_scores, render_seeds
from training.encoders import open_encoder
from training.reports import JSON_NAME as REPORT_NAME
from training.scores import micro_f1
from training.search import TRIALS_NAME, Search, Trial, find_best, read_search, run_trials, trial_folder
from training.trainer import STATE_NAME, prepare_work
from transforms.reports.training import find_notices

_LOG = logging.getLogger("training.search")


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        TrainOptions,
        arguments,
        prog="spanmill train",
        description="Fine-tune a tagger on labelled text.",
        has_beam=False,
    )
    with stopping_on_signals("the same command with --resume goes on from the last whole epoch"):
        return run(options)


def run(options: TrainOptions, teacher: Mapping[str, Any] | None = None) -> int:
    """Trains a tagger, writes its checkpoint and prints its scores; returns the exit status.

    Args:
      options: what a person asked for.
      teacher: who labelled the training files, where that was a tagger; the card tells.

    Raises:
      ConfigError: options or files are wrong; no weights have been loaded then.
    """
    output, work = Path(options.output), Path(options.output) / UNFINISHED
    search = read_search(Path(options.search)) if options.search else None
    check_output(output, work_name=UNFINISHED)
    options, pinned = pin_bases(options)
    data = dataclasses.replace(read_data(options), teacher=dict(teacher or {}), pinned=pinned)
    run = configure(options, data, open_encoder(options.base))
    for values in search.samples() if search else ():
        vary(run, values)
    is_begun = (work / STATE_NAME).exists()
    prepare_work(work, describe_training(run) | ({"search": repr(search)} if search else {}), is_resumed=options.resume)
    if options.resume and not is_begun:
        print(f"nothing to resume in {options.output!r}, beginning")
    if run.data.split:
        print(describe_split(run.data))
    _show_progress()
    card = _search(run, search, work) if search else _publish(_train_seeds(run, work), run, work)
    for score in card.scores:
        print(f"\n{score.name} ({score.role})\n{render_scores(score)}")
    if card.seeds:
        print(f"\n{len(card.seeds)} seeds\n{render_seeds([score.name for score in card.scores], card.seeds)}")
    notices = list(find_notices(json.loads((output / REPORT_NAME).read_text(encoding="utf-8"))))
    print("\n" + "\n".join([*notices, f"checkpoint: {output}"]))
    return 0


def pin_bases(options: TrainOptions) -> tuple[TrainOptions, dict[str, str]]:
    """Options to the same with folders in place of references to a registry, and the checkpoints' digests by option.

    Raises:
      ConfigError: there is no registry, no champion or no such checkpoint, or a registry nobody asks for.
      CheckpointError: the files of a checkpoint are not what they were.
    """
    found = pin_folders({"--base": options.base, "--teacher": options.teacher}, options.registry)
    base, teacher = (
        found[flag].folder if flag in found else given
        for flag, given in (("--base", options.base), ("--teacher", options.teacher))
    )
    digests = {flag.removeprefix("--"): one.digest for flag, one in found.items()}
    return dataclasses.replace(options, base=base, teacher=teacher), digests


def check(options: TrainOptions) -> None:
    """Looks at options and files as `run` does before it loads any weights, and does nothing else.

    Raises:
      ConfigError: options or files are wrong.
    """
    if options.search:
        read_search(Path(options.search))
    pinned, _ = pin_bases(options)
    configure(pinned, read_data(pinned), open_encoder(pinned.base))


def is_trained(output: Path) -> bool:
    """Whether a training of before has written all of its checkpoint to a folder."""
    return (output / CARD_NAME).exists() and not is_publishing(output / UNFINISHED)


def _search(run: TrainRun, search: Search, work: Path) -> CheckpointCard:
    """Trains with many options and publishes what does best."""

    def train_trial(number: int, values: dict[str, Any], folder: Path) -> Trial:
        candidate = _train_seeds(vary(run, values), folder)
        trial = Trial(
            number=number,
            options=values,
            f1=candidate.f1,
            files=dict(candidate.files),
            steps=candidate.card.steps,
            seconds=sum(epoch.seconds for curve in candidate.history.curves for epoch in curve.epochs),
        )
        _LOG.info("trial %d, mean F1 %.2f: %s", number, 100 * trial.f1, values)
        return trial

    trials = run_trials(search, train_trial, work)
    best = find_best(trials)
    chosen = vary(run, best.options)
    candidate = _train_seeds(chosen, trial_folder(work, best.number))
    card = dataclasses.replace(candidate.card, trials=len(trials))
    lines = {TRIALS_NAME: (work / TRIALS_NAME).read_text(encoding="utf-8")}
    return _publish(dataclasses.replace(candidate, card=card), chosen, work, lines)


def _train_seeds(run: TrainRun, work: Path) -> Candidate:
    """Trains once per seed, and takes the one that does best on the dev files."""
    found = []
    for seed in run.seeds:
        config = dataclasses.replace(run.config, seed=seed)
        found.append(train_once(dataclasses.replace(run, config=config), work / f"seed={seed}"))
    best = max(found, key=lambda candidate: candidate.f1)
    if len(found) == 1:
        return best
    seeds = tuple(
        SeedScore(seed=seed, f1=tuple(micro_f1(score.after) for score in one.card.scores))
        for seed, one in zip(run.seeds, found, strict=True)
    )
    history = dataclasses.replace(best.history, curves=tuple(one.history.curves[0] for one in found))
    return dataclasses.replace(best, card=dataclasses.replace(best.card, seeds=seeds), history=history)


def _publish(candidate: Candidate, run: TrainRun, work: Path, texts: Mapping[str, str] | None = None) -> CheckpointCard:
    texts = {HISTORY_NAME: candidate.history.to_json(), **(texts or {})}
    publish_checkpoint(candidate.folder, work, candidate.card, command=run.command, texts=texts)
    return candidate.card


def _show_progress() -> None:
    """One line per epoch, and no bars."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
