"""What each epoch of a training brought, from the log that transformers' Trainer keeps.

step 120  loss 0.31  learning rate 3e-5    ─┐
step 120  F1 0.84  by file  after 12.5 s   ─┴─ epoch 1.0  step 120  loss  learning rate  F1  by file  seconds
"""

from collections.abc import Iterable, Mapping
from typing import Any

_NAMES = {
    "epoch": "epoch",
    "loss": "loss",
    "learning_rate": "learning_rate",
    "eval_f1": "f1",
    "eval_f1_by_file": "f1_by_file",
    "eval_seconds": "seconds",
}


def read_history(log: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The Trainer's log to a row per epoch, in order.

    A row has `step`, `epoch`, `loss` (mean of the epoch), `learning_rate` (of its last step), `f1` (mean over the dev
    files), `f1_by_file` and `seconds` (scoring included); what was not logged has no key.

    >>> read_history([{"loss": 0.5, "epoch": 1.0, "step": 3}, {"eval_f1": 0.25, "epoch": 1.0, "step": 3}])
    [{'step': 3, 'loss': 0.5, 'epoch': 1.0, 'f1': 0.25}]
    """
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        if "loss" in entry or "eval_f1" in entry:
            row = rows.setdefault(entry["step"], {"step": entry["step"]})
            row.update({_NAMES[key]: value for key, value in entry.items() if key in _NAMES})
    return [rows[step] for step in sorted(rows)]
