"""What an edited hundredth costs, on a corpus of a few documents."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import reuse


def test_only_edited_documents_meet_the_model(tmp_path, tiny_checkpoint, monkeypatch, capfd):
    texts = [f"Anna lives in Berlin {at}." for at in range(60)]
    pq.write_table(pa.table({"text": [*texts, texts[0], ""]}), tmp_path / "documents.parquet")
    options = ["--input", tmp_path / "documents.parquet", "--model", tiny_checkpoint, "--documents", 50]
    monkeypatch.setattr(sys, "argv", ["reuse", *map(str, options), "--share", "0.1", "--markdown"])
    reuse.main()
    out = capfd.readouterr().out
    assert "50 documents, 5 edited, 45 copied" in out
    rows = dict(line.split(" | ", 1) for line in out.splitlines() if line.startswith("| "))
    every, again, share = rows["| tokens computed, with padding"].removesuffix(" |").split(" | ")
    assert float(share.rstrip("%")) == pytest.approx(100 * float(again) / float(every.replace(",", "")), abs=0.01)
    assert 0 < float(share.rstrip("%")) < 40
