"""Two DAGs for Airflow 3: a cycle every night, and a way back for whoever needs one.

Put this file into Airflow's folder of DAGs. spanmill may live in an environment of its own, so nothing of it is
imported: SPANMILL_COMMAND says how it is called, and SPANMILL_FOLDER where `cycle.toml` lies, from which paths in that
file begin.

A cycle is one task. It goes on from where it stopped, so that a retry does only what is left, and two never work at
once. Its statuses 2 and 3 are for a person (a wrong config, a candidate that was refused): they fail without a retry.
"""

import os
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

COMMAND = shlex.split(os.environ.get("SPANMILL_COMMAND", "spanmill"))
FOLDER = Path(os.environ.get("SPANMILL_FOLDER", "/srv/ner"))
REGISTRY = "models"
FOR_A_PERSON = (2, 3)
RETRIES = {"retries": 3, "retry_delay": timedelta(minutes=10), "retry_exponential_backoff": True}


def run_spanmill(*words: str) -> None:
    """Runs a job of spanmill in its folder.

    Raises:
      AirflowFailException: a retry would end in the same way.
      RuntimeError: the job failed or was stopped, and goes on when it is tried again.
    """
    status = subprocess.run([*COMMAND, *words], cwd=FOLDER, check=False).returncode
    if status in FOR_A_PERSON:
        raise AirflowFailException(f"spanmill {words[0]} ended with status {status}; the log says why")
    if status:
        raise RuntimeError(f"spanmill {words[0]} ended with status {status}")


with DAG(
    "spanmill_cycle",
    description="Annotate what is new, measure drift, learn what was labelled, promote or refuse",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
):

    @task
    def cycle() -> None:
        """Begins a cycle, or goes on with one."""
        run_spanmill("cycle", "--config", "cycle.toml")

    cycle()


# The checkpoint is always named: without one, each retry would go back one champion further.
with DAG(
    "spanmill_rollback",
    description="Make an earlier champion champion again",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params={"checkpoint": Param(type="string", pattern="^[0-9a-f]{16,64}$", description="digest of the checkpoint")},
):

    @task
    def rollback() -> None:
        """Rolls back to the checkpoint that the run was triggered with."""
        checkpoint = get_current_context()["params"]["checkpoint"]
        run_spanmill("registry", "rollback", str(checkpoint), "--registry", REGISTRY)

    rollback()
