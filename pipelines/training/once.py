"""One training with one seed: from files to a checkpoint with its card, history and report."""

import dataclasses
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.training.data import TrainData
from pipelines.training.runs import TrainRun, describe_past, render_objectives
from schemas.checkpoints import CARD_NAME, HISTORY_NAME, CheckpointCard, Curve, FileScore, History
from schemas.specs import render_spec
from training.adapters import write_adapter
from training.augmentation.augmentations import Augmenter, render_augmentation
from training.augmentation.copies import Material
from training.checkpoints import library_versions, load_verified, weights_digest, write_model
from training.continual.continual import Continual
from training.continual.memory import Trained, write_memory
from training.continual.past import Past
from training.crf import find_crf
from training.encoders import digest_weights, find_folder, load_model, open_encoder
from training.epochs import TrainingText
from training.evaluations import compare_tags, read_score
from training.examples import LabelledFile, Window, build_bio_tags, cut_windows, split_sentences, split_words
from training.heads import is_tagger, list_tags
from training.methods.methods import METHODS
from training.reports import build_report, list_epochs, write_report
from training.scorer import Scorer
from training.scores import micro_f1
from training.states import count_weights
from training.trainer import Outcome, train
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_N_VERIFIED = 64


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A checkpoint that may become the output: the best of its seeds."""

    folder: Path
    card: CheckpointCard
    history: History

    @property
    def f1(self) -> float:
        """Mean over the dev files, and over seeds."""
        return statistics.fmean(f1 for _, f1 in self.files)

    @property
    def files(self) -> tuple[tuple[str, float], ...]:
        """Names of the dev files, and F1 on each, the mean over seeds."""
        found = [seed.f1 for seed in self.card.seeds] or [tuple(micro_f1(score.after) for score in self.card.scores)]
        means = [statistics.fmean(column) for column in zip(*found, strict=True)]
        return tuple((score.name, f1) for score, f1 in zip(self.card.scores, means, strict=True) if score.role == "dev")


def train_once(run: TrainRun, work: Path) -> Candidate:
    """Trains with one seed and writes the checkpoint within the work folder, unless it is there already."""
    aside = work / "checkpoint"
    if (aside / CARD_NAME).exists():
        return _read_candidate(aside)
    begun = time.perf_counter()
    # Opened for each training, for loading a model and naming its tags changes the config.
    config, encoder, method = run.config, open_encoder(run.options.base), METHODS[run.method]
    tokenizer, tag_set = encoder.tokenizer, build_bio_tags(run.data.labels)
    known = list_tags(encoder.config) if is_tagger(encoder.config) else ()
    plain = load_model(encoder, tag_set, dropout=config.dropout, seed=config.seed, head=config.head)
    model = method.apply(plain, run.method_config)
    if crf := find_crf(model):
        crf.requires_grad_(True)  # noqa: FBT003
    own = ColumnTokenizer(tokenizer.backend_tokenizer.to_str())
    train_files, dev_files, test_files = (
        split_words(files, own) for files in (run.data.train, run.data.dev, run.data.test)
    )
    counted = run.data.counted
    dev = Scorer(
        dev_files, tag_set, tokenizer, max_tokens=config.max_tokens, counted=counted, precision=config.precision
    )
    shown = Scorer(dev_files + test_files, tag_set, tokenizer, max_tokens=config.max_tokens, counted=counted)
    before = shown.tag_files(model)
    sentences = [sentence for file in train_files for sentence in file.sentences]
    past = Past(
        model=plain,
        known=known,
        tag_set=tag_set,
        tokenizer=tokenizer,
        max_tokens=config.max_tokens,
        sentences=sentences,
        old=[sentence for file in run.data.old for sentence in split_sentences(file.sentences, own)],
        base=find_folder(run.options.base),
        teacher=run.options.teacher or run.options.base,
        seed=config.seed,
    )
    continual = Continual(run.continual, past)
    sentences = continual.relabel(sentences)
    augmenter = Augmenter(run.augment, Material(sentences, tokenizer, own, config.seed, work))
    text = TrainingText(
        sentences, lambda epoch: [*augmenter.draw(epoch), *continual.draw(epoch)], terms=continual.terms
    )
    outcome = train(model, text, dev, config, run.objectives, work)

    # A model is good for texts as long as those it was trained on; annotate cuts its windows by this limit.
    tokenizer.model_max_length = config.max_tokens
    sample = [sentence for file in dev_files for sentence in file.sentences[:_N_VERIFIED]]
    windows = cut_windows(sample, tag_set, tokenizer, max_tokens=config.max_tokens)
    saved = _save(run, model, tokenizer, windows, aside)
    _write_memory(run, dataclasses.replace(past, model=saved, sentences=sentences), aside)
    after = shown.tag_files(saved)
    files = _compare_files(run.data, dev_files + test_files, before, after)
    added = augmenter.describe(len(outcome.epochs))
    card = _build_card(run, model, outcome, tuple(map(read_score, files)), weights_digest(aside), added)
    curve = Curve(seed=config.seed, epochs=outcome.epochs)
    history = History(files=tuple(file.name for file in dev_files), curves=(curve,))
    about = {
        "name": Path(run.options.output).absolute().name,
        "command": run.command,
        "split": run.data.split,
        "history": list_epochs(outcome.epochs, history.files),
        "seconds": time.perf_counter() - begun,
    }
    write_report(build_report(card, files, about), aside)
    _write_candidate(Candidate(aside, card, history))
    for state in work.glob("checkpoint-*"):
        shutil.rmtree(state)
    return Candidate(aside, card, history)


def _write_memory(run: TrainRun, past: Past, aside: Path) -> None:
    sentences = [sentence for file in run.data.old + run.data.train for sentence in file.sentences]
    write_memory(run.remember, Trained(past, sentences, aside))


def _write_candidate(candidate: Candidate) -> None:
    """Writes what is known of a checkpoint beside it, the card last: where one is, all is."""
    (candidate.folder / HISTORY_NAME).write_text(candidate.history.to_json(), encoding="utf-8")
    partial = candidate.folder / f"{CARD_NAME}.partial"
    partial.write_text(candidate.card.to_json(), encoding="utf-8")
    partial.rename(candidate.folder / CARD_NAME)


def _read_candidate(folder: Path) -> Candidate:
    card, history = ((folder / name).read_text(encoding="utf-8") for name in (CARD_NAME, HISTORY_NAME))
    return Candidate(folder, CheckpointCard.from_json(card), History.from_json(history))


def _save(
    run: TrainRun,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    windows: Sequence[Window],
    aside: Path,
) -> "PreTrainedModel":
    """Writes the checkpoint aside and gives what it loads to: of an adapter, the base with what was trained."""
    dtype, small = run.options.dtype, aside.parent / "adapter"
    for folder in (aside, small):
        shutil.rmtree(folder, ignore_errors=True)
    if run.method != "full":
        # What is merged is narrowed in the end, and once.
        dtype, small = ("float32", small) if run.options.merge else (dtype, aside)
        write_adapter(model, tokenizer, small, base=run.options.base, dtype=dtype)
        model = load_verified(model, tokenizer, windows, small, dtype=dtype, base=find_folder(run.options.base))
        if not run.options.merge:
            return model
        dtype = run.options.dtype
    write_model(model, tokenizer, aside, dtype=dtype)
    return load_verified(model, tokenizer, windows, aside, dtype=dtype)


def _build_card(
    run: TrainRun,
    model: "PreTrainedModel",
    outcome: Outcome,
    scores: tuple[FileScore, ...],
    digest: str,
    added: dict[str, Any],
) -> CheckpointCard:
    trained, total = count_weights(model)
    return CheckpointCard(
        base=f"registry:{run.data.pinned['base']}" if "base" in run.data.pinned else run.encoder.name,
        base_digest=digest_weights(run.options.base),
        method=run.method,
        labels=run.data.labels,
        tags=build_bio_tags(run.data.labels).tags,
        label_map=run.data.label_map,
        data=tuple(file.describe(role) for role, file in run.data.roles),
        options={
            **dataclasses.asdict(run.config),
            "method": render_spec(run.method, run.method_config),
            "merge": run.options.merge,
            "objective": render_objectives(run),
            "dtype": run.options.dtype,
            **({"split": run.data.split} if run.data.split else {}),
            **({"teacher": run.data.teacher} if run.data.teacher else {}),
            **({"registry": run.data.pinned} if run.data.pinned else {}),
            **describe_past(run),
            **_describe_copies(run.augment, added),
        },
        steps=outcome.steps,
        best_step=outcome.best_step,
        trained_parameters=trained,
        parameters=total,
        scores=scores,
        weights_digest=digest,
        versions=library_versions(),
    )


def _compare_files(
    data: TrainData, files: Sequence[LabelledFile], before: Sequence[Any], after: Sequence[Any]
) -> list[dict[str, Any]]:
    """What became of each dev and test file; `files` are those with the words that the model read."""
    roles = [role for role, _ in data.roles if role != "train"]
    rows = zip(roles, files, before, after, strict=True)
    return [{"role": role, **compare_tags(file, first, last)} for role, file, first, last in rows]


def _describe_copies(augment: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    if not augment:
        return {}
    return {"augment": [render_augmentation(name, config) for name, config in augment.items()], "augmentation": added}
