"""A trained model to a directory that any tool reads, with a card, and never a wrong one.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json  card.json  README.md

It is written aside, loaded again, compared with the model in memory, and only then moved to its place.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schemas.checkpoints import CARD_NAME, CheckpointCard, FileScore
from schemas.errors import ConfigError, ModelError
from training.encoders import hash_file
from training.examples import Window
from training.trainer import predict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float16", "float32")
WEIGHTS_NAME = "model.safetensors"
# Half precision keeps 11 bits of a weight; probabilities of a sound model then move by a few thousandths.
_TOLERANCES = {"float16": 0.05, "float32": 1e-4}
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "safetensors", "seqeval", "numpy")


def check_output(output: Path, *, work_name: str) -> None:
    """Refuses a directory that holds anything but unfinished training.

    Raises:
      ConfigError: naming what is there.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"expected --output to be a directory, found a file at {str(output)!r}")
    if output.exists() and (there := sorted(path.name for path in output.iterdir() if path.name != work_name)):
        raise ConfigError(f"expected a new or empty --output, found {there[:5]} in {str(output)!r}")


def write_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", directory: Path, *, dtype: str) -> None:
    """Writes weights, config and tokenizer; the model in memory stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if dtype == "float16":
        model.half()
    model.save_pretrained(directory)
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
) -> "PreTrainedModel":
    """Loads what was written, in single precision, once its probabilities on some windows agree with the model's.

    Raises:
      ModelError: they differ by more than the precision explains.
    """
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    again: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(
        directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    found = predict(again, windows, AutoTokenizer.from_pretrained(directory), batch_size=32)
    expected = predict(model, windows, tokenizer, batch_size=32)
    worst = float(np.abs(found - expected).max(initial=0.0))
    if not worst <= _TOLERANCES[dtype]:
        raise ModelError(
            f"expected probabilities of the saved checkpoint within {_TOLERANCES[dtype]} of the trained model's, "
            f"found a difference of {worst:.4f}; save with --dtype float32"
        )
    return again


def publish_checkpoint(aside: Path, output: Path, card: CheckpointCard, *, command: str) -> None:
    """Adds the card to a written model and moves all to its place, the weights last."""
    (aside / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
    (aside / "README.md").write_text(render_readme(card, output.absolute().name, command), encoding="utf-8")
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(aside.iterdir(), key=lambda path: (path.name == WEIGHTS_NAME, path.name)):
        shutil.move(path, output / path.name)


def weights_digest(directory: Path) -> str:
    """SHA-256 of a written model's weights, hex."""
    return hash_file(directory / WEIGHTS_NAME)


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
    rows = [
        [
            row.label,
            *map(_percent, (row.precision, row.recall, row.f1)),
            before.get(row.label, "-"),
            str(row.support),
        ]
        for row in score.after
    ]
    return _render_table(["label", "precision", "recall", "F1", "F1 before", "entities"], rows)


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
    augmented = "".join(f"\n{line}" for line in _render_augmentation(card.options.get("augmentation", {})))
    renamed = ", ".join(f"{old} → {new}" for old, new in card.label_map.items()) or "none"
    return f"""# {name}

Finds {", ".join(card.labels)} in text. A token classifier in BIO, made from `{card.base}` by spanmill
(`{card.method}`: {card.trained_parameters:,} of {card.parameters:,} weights trained, {card.steps} steps, the weights of
step {card.best_step} kept). The first piece of a word carries its tag. `card.json` says the same for machines.

## Scores

Entity precision, recall and F1 in percent, both ends and the label right (seqeval, strict, IOB2).

{scores}

## Made from

{data}

Labels renamed or, with O, dropped: {renamed}. Base model weights: SHA-256 `{card.base_digest}`.{augmented}

```
{command}
```
"""


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


def _render_counts(entities: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in entities.items())


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    is_left = [not re.match(r"-|[\d.]+$", rows[0][at]) for at in range(len(head))]
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
