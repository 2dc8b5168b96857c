"""What training leaves for people: numbers of the run as JSON, and a page that is drawn from them.

epochs, scores, card, time and memory ──> report.json ──> report.html
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

from schemas.checkpoints import CheckpointCard, Epoch
from schemas.manifest import dump_json
from transforms.reports.training import render_training

REPORT_VERSION = 1
JSON_NAME, HTML_NAME = "report.json", "report.html"


def build_report(card: CheckpointCard, files: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> dict[str, Any]:
    """A training to its report as JSON values.

    Args:
      card: the checkpoint's card.
      files: `compare_tags` of each dev and test file, with its `role`.
      run: `name` of the checkpoint, the `command` that makes it again, `split` (empty without one), `history` as
        `list_epochs` gives it, and `seconds` of this start.
    """
    return {
        "report_version": REPORT_VERSION,
        "kind": "training",
        **run,
        **{key: getattr(card, key) for key in ("base", "method", "steps", "best_step", "label_map")},
        **{key: getattr(card, key) for key in ("parameters", "trained_parameters")},
        "labels": list(card.labels),
        "files": [dict(file) for file in files],
        "data": [vars(file) for file in card.data],
        "options": card.options,
        "memory": measure_memory(),
        "versions": {"spanmill": metadata.version("spanmill"), "python": sys.version.split()[0], **card.versions},
    }


def list_epochs(epochs: Sequence[Epoch], files: Sequence[str]) -> list[dict[str, Any]]:
    """Epochs to rows of a report, with `f1_by_file` for the dev files named and `f1`, their mean."""
    return [
        {**vars(epoch), "f1": fmean(epoch.f1), "f1_by_file": dict(zip(files, epoch.f1, strict=True))}
        for epoch in epochs
    ]


def write_report(report: Mapping[str, Any], directory: Path) -> None:
    """Writes a report and its page."""
    (directory / JSON_NAME).write_bytes(dump_json(report))
    (directory / HTML_NAME).write_text(render_training(report), encoding="utf-8")


def measure_memory() -> dict[str, int | None]:
    """The most bytes that this process held until now, and that it held on a CUDA device; None where unknown."""
    torch = sys.modules.get("torch")
    device = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_initialized() else None
    try:
        import resource
    except ImportError:
        # Windows has no such account.
        return {"process_bytes": None, "device_bytes": device}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The BSDs and Linux count in KiB, macOS in bytes.
    return {"process_bytes": peak if sys.platform == "darwin" else 1024 * peak, "device_bytes": device}
