import pytest

from schemas.costs import Prices
from schemas.errors import ConfigError
from tests.transforms.reports.conftest import RUN
from tests.transforms.reports.test_costs import USED
from transforms.lake.metrics import check_metrics, write_metrics
from transforms.reports.annotation import build_report

parser = pytest.importorskip("prometheus_client.parser")

REPORT = build_report(USED, run=RUN | {"prices": Prices(worker=3.6)})


def _read(path):
    families = list(parser.text_string_to_metric_families(path.read_text()))
    samples = {
        (s.name, *(value for name, value in s.labels.items() if name != "output")): s.value
        for family in families
        for s in family.samples
    }
    return families, samples


def test_metrics_of_a_run_are_what_its_report_says(tmp_path):
    write_metrics(str(tmp_path / "a.prom"), REPORT, output="out", status=0, ended=1.5e9)
    _, samples = _read(tmp_path / "a.prom")
    assert samples["spanmill_last_run_success",] == 1
    assert samples["spanmill_last_run_end_timestamp_seconds",] == 1.5e9
    assert samples["spanmill_documents",] == 900
    assert samples["spanmill_dead_letters", "TokenizationError"] == 4
    assert samples["spanmill_entities", "PER"] == 1500
    assert samples["spanmill_stage_seconds", "forward"] == 75
    assert samples["spanmill_used_seconds", "core"] == 180
    assert samples["spanmill_cost",] == pytest.approx(0.1)
    assert samples["spanmill_run_info", "3f9ac2417be0d51c"] == 1


def test_every_metric_says_what_it_is_and_whose(tmp_path):
    write_metrics(str(tmp_path / "a.prom"), REPORT, output="out", status=0, ended=0.0)
    families, _ = _read(tmp_path / "a.prom")
    assert all(family.type == "gauge" and family.documentation for family in families)
    assert {sample.labels["output"] for family in families for sample in family.samples} == {"out"}


def test_names_of_labels_cannot_break_the_file(tmp_path):
    hostile = {**REPORT, "entities_by_label": {'a"b\nc\\d': 7}}
    write_metrics(str(tmp_path / "a.prom"), hostile, output="o", status=0, ended=0.0)
    assert _read(tmp_path / "a.prom")[1]["spanmill_entities", 'a"b\nc\\d'] == 7


def test_a_run_that_failed_tells_so_and_keeps_no_old_counts(tmp_path):
    write_metrics(str(tmp_path / "a.prom"), REPORT, output="out", status=0, ended=0.0)
    write_metrics(str(tmp_path / "a.prom"), None, output="out", status=1, ended=9.0)
    _, samples = _read(tmp_path / "a.prom")
    assert samples == {
        ("spanmill_last_run_success",): 0,
        ("spanmill_last_run_exit_status",): 1,
        ("spanmill_last_run_end_timestamp_seconds",): 9.0,
    }


def test_the_file_is_replaced_whole_and_nothing_lies_beside_it(tmp_path):
    write_metrics(str(tmp_path / "a.prom"), REPORT, output="out", status=0, ended=0.0)
    first = (tmp_path / "a.prom").read_text()
    with (tmp_path / "a.prom").open() as before:
        write_metrics(str(tmp_path / "a.prom"), None, output="out", status=1, ended=9.0)
        assert before.read() == first
    assert [path.name for path in tmp_path.iterdir()] == ["a.prom"]


@pytest.mark.parametrize(("name", "words"), [("a.txt", "FILE.prom"), ("none/a.prom", "expected a folder")])
def test_a_file_that_no_collector_would_read_is_refused(tmp_path, name, words):
    with pytest.raises(ConfigError, match=words):
        check_metrics(str(tmp_path / name))
