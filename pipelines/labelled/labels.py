"""`spanmill inspect --labels`: what to mend in labelled files before a model learns from them."""

import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.inspection import PieceCounter


def inspect_labels(patterns: Sequence[str], *, model: str, max_tokens: int, output: str, limit: int) -> int:
    """Prints what is found in labelled files, and writes it as a page; returns the exit status.

    Args:
      patterns: the files; leaks are looked for between any two.
      model: directory or hub name of the model whose pieces are counted; empty for none.
      max_tokens: most pieces in a window; 0 for those of train.
      output: folder or URL for `report.html` and `report.json`; empty for none.
      limit: most rows of a table; 0 for all.

    Raises:
      ConfigError: a file cannot be read, or there is no such model.
    """
    from rich.console import Console

    from training.inspection import inspect_files, read_labelled
    from transforms.reports.labels import print_labels

    files = read_labelled(patterns)
    report = inspect_files(files, _open_counter(model, max_tokens) if model else None)
    console = Console(highlight=False)
    print_labels(report, console, limit=limit)
    if output:
        _write(report, output, limit)
        console.print(f"\nreport       {output.rstrip('/')}/report.html", soft_wrap=True, markup=False)
    return 0


def _open_counter(model: str, max_tokens: int) -> "PieceCounter":
    import numpy as np

    from training.encoders import check_max_tokens, choose_max_tokens, open_encoder
    from training.inspection import PieceCounter
    from transforms.text.tokens import ColumnTokenizer

    encoder = open_encoder(model)
    max_tokens = max_tokens or choose_max_tokens(encoder)
    check_max_tokens(encoder, max_tokens)
    own = ColumnTokenizer(encoder.tokenizer.backend_tokenizer.to_str())
    n_special = encoder.tokenizer.num_special_tokens_to_add(pair=False)
    unknown = encoder.tokenizer.unk_token_id

    def count(texts: Sequence[str]) -> tuple[list[int], int]:
        columns = own.tokenize(texts)
        n_unknown = 0 if unknown is None else int((columns.ids == unknown).sum())
        return (np.diff(columns.bounds) + n_special).tolist(), n_unknown

    return PieceCounter(count, max_tokens, encoder.name)


def _write(report: dict[str, Any], output: str, limit: int) -> None:
    from schemas.manifest import dump_json
    from transforms.reports.labels import render_labels
    from transforms.storage.store import open_store

    store = open_store(output)
    versions = {"spanmill": importlib.metadata.version("spanmill")}
    store.put("report.json", dump_json(report))
    store.put("report.html", render_labels(report, limit=limit, versions=versions).encode())
