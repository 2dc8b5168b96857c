import json

from schemas.checkpoints import Epoch
from tests.transforms.reports.trainings import make_training
from training.reports import list_epochs, measure_memory, write_report
from transforms.reports.training import render_training


def test_list_epochs_names_the_files_and_takes_their_mean():
    epoch = Epoch(epoch=2, step=14, loss=0.5, learning_rate=1e-5, f1=(0.25, 0.75), seconds=3.0)
    assert list_epochs([epoch], ["a", "b"]) == [
        {
            "epoch": 2,
            "step": 14,
            "loss": 0.5,
            "learning_rate": 1e-5,
            "f1": 0.5,
            "f1_by_file": {"a": 0.25, "b": 0.75},
            "seconds": 3.0,
        }
    ]


def test_write_report_writes_the_numbers_and_their_page(tmp_path):
    report = make_training()
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_training(report)


def test_measure_memory_counts_bytes_of_this_process():
    block = bytearray(1 << 20)
    peak = measure_memory()["process_bytes"]
    assert peak is not None
    assert peak > len(block)
