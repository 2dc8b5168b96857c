"""The DAGs for Airflow, read by Airflow's own loader; `make test-airflow` has an environment for that."""

import importlib.util
import sys

import pytest

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        importlib.util.find_spec("airflow") is None, reason="Airflow needs an environment of its own; make test-airflow"
    ),
    # What the library and those below it warn of when they are imported.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """What the loader makes of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        yield DagBag(dag_folder=ROOT / "deploy" / "spanmill_dag.py", bundle_name="deploy")


def test_the_loader_finds_two_dags_and_nothing_wrong(bag):
    assert bag.import_errors == {}
    assert {name: dag.task_ids for name, dag in bag.dags.items()} == {
        "spanmill_cycle": ["cycle"],
        "spanmill_rollback": ["rollback"],
    }


def test_cycles_come_one_after_another_and_are_tried_again(bag):
    dag = bag.dags["spanmill_cycle"]
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert dag.get_task("cycle").retries == 3


def test_a_rollback_names_its_checkpoint(bag):
    params = bag.dags["spanmill_rollback"].params
    params["checkpoint"] = "0123456789abcdef"
    for wrong in ("", "champion", None):
        with pytest.raises(Exception, match=r"checkpoint|valid|None"):
            params["checkpoint"] = wrong


@pytest.mark.parametrize(("status", "is_final"), [(1, False), (2, True), (3, True), (143, False)])
def test_only_what_may_end_in_another_way_is_tried_again(call, status, is_final):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises((AirflowFailException, RuntimeError), match=f"with status {status}") as caught:
        call(status)
    assert isinstance(caught.value, AirflowFailException) is is_final


def test_the_task_runs_the_command_in_its_folder(call, tmp_path):
    call(0)
    assert (tmp_path / "words").read_text() == "cycle --config cycle.toml"


@pytest.fixture
def call(bag, tmp_path, monkeypatch):
    """Runs the task with a command that writes down its words and ends with a status."""
    function = bag.dags["spanmill_cycle"].get_task("cycle").python_callable

    def run(status):
        script = f"import sys; open('words', 'w').write(' '.join(sys.argv[1:])); sys.exit({status})"
        monkeypatch.setitem(function.__globals__, "COMMAND", [sys.executable, "-c", script])
        monkeypatch.setitem(function.__globals__, "FOLDER", tmp_path)
        function()

    return run
