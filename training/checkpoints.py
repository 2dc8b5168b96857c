"""A trained model to a directory that any tool reads, with a card, and never a wrong one.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json  card.json  README.md

It is written aside, loaded again, compared with the model in memory, and only then moved to its place.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.checkpoints import CARD_NAME, CheckpointCard, FileScore, SeedScore
from schemas.errors import CheckpointError, ConfigError, DivergenceError, ModelError
from training.crf import add_crf, find_crf, load_crf, save_crf, without_crf
from training.encoders import digest_weights
from training.examples import Window
from training.scorer import predict_logits
from transforms.models.checkpoint import CRF_NAME
from transforms.models.torch_classifier import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float16", "float32")
_PUBLISHING = "publishing"
# Shares of the largest logit. Half precision keeps 11 bits of a weight; logits then move by a few thousandths.
_TOLERANCES = {"float16": 0.05, "float32": 1e-4}
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors", "seqeval", "numpy")


def check_output(output: Path, *, work_name: str) -> None:
    """Refuses a directory that holds anything but unfinished training, or what that had begun to publish.

    Raises:
      ConfigError: naming what is there.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"expected --output to be a directory, found a file at {str(output)!r}")
    if not output.exists() or is_publishing(output / work_name):
        return
    if there := sorted(path.name for path in output.iterdir() if path.name != work_name):
        raise ConfigError(f"expected a new or empty --output, found {there[:5]} in {str(output)!r}")


def write_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", directory: Path, *, dtype: str) -> None:
    """Writes weights, config and tokenizer; the model in memory stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if crf := find_crf(model):
        save_crf(crf, directory)
    if dtype == "float16":
        model.half()
    model.save_pretrained(directory, state_dict=without_crf(model.state_dict()))
    model.float()
    model.load_state_dict(whole)
    tokenizer.save_pretrained(directory)


def load_verified(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    windows: Sequence[Window],
    directory: Path,
    *,
    dtype: str,
    base: Path | None = None,
) -> "PreTrainedModel":
    """Loads what was written, in single precision, once its logits on some windows agree with the model's.

    Args:
      model: the model that was written.
      tokenizer: its tokenizer.
      windows: what to compare on.
      directory: where it was written.
      dtype: the precision it was written in.
      base: the base, where an adapter was written.

    Raises:
      ModelError: it does not load, or they differ by more than the precision explains.
    """
    import torch
    from transformers import AutoTokenizer

    try:
        again: PreTrainedModel = load_model(directory, torch.float32, base=base).to(model.device)
    except CheckpointError as error:
        raise ModelError(f"expected the saved checkpoint to load, found that it does not: {error}") from error
    if (directory / CRF_NAME).exists():
        load_crf(add_crf(again, len(again.config.id2label or {})), directory)
    found = predict_logits(again, windows, AutoTokenizer.from_pretrained(directory))
    expected = predict_logits(model, windows, tokenizer)
    if not np.isfinite(expected).all():
        raise DivergenceError("answers that are no numbers")
    worst = float(np.abs(found - expected).max(initial=0.0))
    allowed = _TOLERANCES[dtype] * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not worst <= allowed:
        remedy = "; save with --dtype float32" if dtype != "float32" else ""
        raise ModelError(
            f"expected logits of the saved checkpoint within {allowed:.4g} of the trained model's, "
            f"found a difference of {worst:.4g}{remedy}"
        )
    return again


def publish_checkpoint(
    aside: Path, work: Path, card: CheckpointCard, *, command: str, texts: Mapping[str, str] | None = None
) -> None:
    """Copies a model that was written within a work folder to the folder around that, with its card.

    The weights come last, and the work folder goes when all is there; until then it can be published again.

    Args:
      aside: the model.
      work: the work folder.
      card: what is known of it.
      command: the command that makes it again.
      texts: what else to write, by file name.
    """
    output = work.parent
    readme = render_readme(card, output.absolute().name, command)
    written = {**(texts or {}), CARD_NAME: card.to_json(), "README.md": readme}
    (work / _PUBLISHING).touch()
    for name, text in written.items():
        (output / name).write_text(text, encoding="utf-8")
    files = [path for path in aside.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.suffix == ".safetensors", path)):
        target = output / path.relative_to(aside)
        if path.name not in written:
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
    shutil.rmtree(work)


def is_publishing(work: Path) -> bool:
    """Whether a model was begun to be copied from a work folder, and may not all be there yet."""
    return (work / _PUBLISHING).exists()


def weights_digest(directory: Path) -> str:
    """SHA-256 of a written model's weights, hex; of their digests where there are several files."""
    return digest_weights(str(directory))


def library_versions() -> dict[str, str]:
    """Versions of what training rests on."""
    return {name: metadata.version(name) for name in _LIBRARIES}


def render_scores(score: FileScore) -> str:
    """Scores of a file as a table in Markdown, percent.

    >>> from schemas.scores import LabelScore
    >>> row = LabelScore(label="micro", precision=0.5, recall=1.0, f1=2 / 3, support=1)
    >>> print(render_scores(FileScore(role="dev", name="a.conll", before=(), after=(row,))))
    | label | precision | recall | F1   | F1 before | entities |
    |:------|----------:|-------:|-----:|----------:|---------:|
    | micro |      50.0 |  100.0 | 66.7 |         - |        1 |
    """
    before = {row.label: _percent(row.f1) for row in score.before}
    has_intervals = bool(score.intervals)
    rows = []
    for row in score.after:
        interval = [_render_interval(score.intervals.get(row.label))] if has_intervals else []
        shares = [_percent(share) for share in (row.precision, row.recall, row.f1)]
        rows.append([row.label, *shares, *interval, before.get(row.label, "-"), str(row.support)])
    head = ["label", "precision", "recall", "F1", *(["95 % of F1"] if has_intervals else []), "F1 before", "entities"]
    return _render_table(head, rows)


def render_seeds(names: Sequence[str], seeds: Sequence[SeedScore]) -> str:
    """F1 by file over seeds as a table in Markdown, percent: mean, sample standard deviation, and each seed's.

    >>> print(render_seeds(["a.conll"], [SeedScore(seed=0, f1=(0.5,)), SeedScore(seed=1, f1=(0.52,))]))
    | file      | mean F1 | deviation | seed 0 | seed 1 |
    |:----------|--------:|----------:|-------:|-------:|
    | `a.conll` |    51.0 |       1.4 |   50.0 |   52.0 |
    """
    rows = []
    for name, *found in zip(names, *(seed.f1 for seed in seeds), strict=True):
        numbers = (float(np.mean(found)), float(np.std(found, ddof=1)), *found)
        rows.append([f"`{name}`", *map(_percent, numbers)])
    return _render_table(["file", "mean F1", "deviation", *(f"seed {seed.seed}" for seed in seeds)], rows)


def render_readme(card: CheckpointCard, name: str, command: str) -> str:
    """A model card for people."""
    scores = "\n\n".join(f"`{score.name}` ({score.role}):\n\n{render_scores(score)}" for score in card.scores)
    data = _render_table(
        ["file", "role", "sentences", "words", "entities"],
        [
            [f"`{file.name}`", file.role, str(file.sentences), str(file.words), _render_counts(file.entities)]
            for file in card.data
        ],
    )
    intervals = ""
    if any(score.intervals for score in card.scores):
        intervals = (
            " F1 lies within the interval with a\n"
            "chance of 95 % (bootstrap over documents, or over sentences where no documents are marked)."
        )
    beside = ""
    if card.method != "full" and not card.options.get("merge"):
        beside = (
            "\n\nAn adapter: it holds what was trained, and runs with the weights of its base.\n"
            "`spanmill annotate --base` says where that is, when it is not where it was."
        )
    chosen = f" It is the best of {card.trials} trials by the dev files (`trials.jsonl`)." if card.trials else ""
    kept = "Over seeds, of which the best by the dev files was kept:"
    spreads = render_seeds([score.name for score in card.scores], card.seeds) if card.seeds else ""
    seeds = f"\n{kept}\n\n{spreads}\n" if card.seeds else ""
    crf = f" A conditional random field chooses tags (`{CRF_NAME}`)." if card.options.get("head") == "crf" else ""
    taught = "".join(f"\n{line}" for line in _render_teacher(card.options.get("teacher", {})))
    taught += "".join(f"\n{line}" for line in _render_past(card.options.get("past", {})))
    augmented = "".join(f"\n{line}" for line in _render_augmentation(card.options.get("augmentation", {})))
    renamed = ", ".join(f"{old} → {new}" for old, new in card.label_map.items()) or "none"
    return f"""# {name}

Finds {", ".join(card.labels)} in text. A token classifier in BIO, made from `{card.base}` by spanmill
(`{card.method}`: {card.trained_parameters:,} of {card.parameters:,} weights trained, {card.steps} steps, the weights of
step {card.best_step} kept).{chosen} The first piece of a word carries its tag.{crf}
`card.json` says the same for machines; `report.html`, where there is one, shows how training went and where the model
errs.{beside}

## Scores

Entity precision, recall and F1 in percent, both ends and the label right (seqeval, strict, IOB2).{intervals}

{scores}
{seeds}
## Made from

{data}

Labels renamed or, with O, dropped: {renamed}. Base model weights: SHA-256 `{card.base_digest}`.{taught}{augmented}

```
{command}
```
"""


def _render_teacher(teacher: Mapping[str, Any]) -> list[str]:
    """Who labelled the training text, and how sure it had to be."""
    if not teacher:
        return []
    left_out = teacher["doubtful"] == "leave-out"
    doubts = "of which no span\nscored under" if left_out else "whose spans are\ntext where they score under"
    return [
        "",
        f"Training text was labelled by a tagger, not by people: `{teacher['run']}` of spanmill, model SHA-256",
        f"`{teacher['model']}`, in {teacher['documents']:,} documents {doubts} {teacher['confidence']:g}.",
    ]


def _render_past(past: Mapping[str, Any]) -> list[str]:
    """What was done for the sake of what the base knew, and what is kept for the next training."""
    lines = []
    if ways := past.get("continual"):
        lines += ["", f"Trained so as not to forget what the base knew: {', '.join(f'`{way}`' for way in ways)}."]
    if kept := past.get("remember"):
        lines += ["", f"For the next training there is a folder `memory`: {', '.join(f'`{one}`' for one in kept)}."]
    if any(one.startswith("buffer") for one in kept or ()):
        lines += ["It holds sentences of the training files; pass it on only where these may be."]
    return lines


def _render_augmentation(added: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line for each augmentation: what it added to a pass, and its own counts in brackets."""
    if not added:
        return []
    lines = ["", "Changed copies of training sentences, on average of each pass:", ""]
    for name, counts in added.items():
        own = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items() if what != "per_pass")
        lines.append(f"- {name}: {counts['per_pass']:.1f}" + (f" ({own})" if own else ""))
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _render_interval(interval: tuple[float, float] | None) -> str:
    return "-".join(map(_percent, interval)) if interval else "-"


def _render_counts(entities: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in entities.items())


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    is_left = [not re.match(r"-|[\d.]+(-[\d.]+)?$", rows[0][at]) for at in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)) + " |"]
    lines.append("|" + "|".join(_rule(width, is_left[at]) for at, width in enumerate(widths)) + "|")
    for row in rows:
        cells = [
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, is_left, strict=True)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rule(width: int, is_left: bool) -> str:  # noqa: FBT001
    return ":" + "-" * (width + 1) if is_left else "-" * (width + 1) + ":"
