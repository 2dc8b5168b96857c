"""What Beam's flags say about the runner, and a job server that does not answer."""

import socket

import pytest

from pipelines.workers.runners import await_job_server, check_runner
from schemas.errors import ConfigError, PipelineError

PORTABLE = ["--runner=PortableRunner"]
SERVED = [*PORTABLE, "--job_endpoint=localhost:8099"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (PORTABLE, "a job server's --job_endpoint HOST:PORT with --runner=PortableRunner, found none"),
        ([*PORTABLE, "--job_endpoint=flink"], "found 'flink'"),
        (SERVED, "found none, which asks for Docker; say so if it is meant"),
        ([*SERVED, "--environment_type=LOOPBAK"], "LOOPBACK, PROCESS .*, found 'LOOPBAK'"),
        ([*SERVED, "--environment_type=EXTERNAL"], "a worker pool's --environment_config HOST:PORT .*, found none"),
        ([*SERVED, "--environment_type=EXTERNAL", "--environment_config=pool"], "found 'pool'"),
    ],
)
def test_a_portable_runner_needs_a_job_server_and_workers(flags, message):
    with pytest.raises(ConfigError, match=message):
        check_runner(flags)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--runner=FnApiRunner"],
        ["--runner", "FlinkRunner", "--flink_master=auto"],
        [*PORTABLE, "--job_endpoint=embed", "--environment_type=beam:env:embedded_python:v1"],
        ["--runner", "PortableRunner", "--job_endpoint", "[::1]:8099", "--environment_type", "LOOPBACK"],
        [*SERVED, "--environment_type=EXTERNAL", "--environment_config=localhost:50000"],
        [*SERVED, "--environment_type=EXTERNAL", "--environment_options=external_service_address=localhost:50000"],
        [*SERVED, "--environment_type=DOCKER"],
    ],
)
def test_flags_that_say_where_workers_are_pass(flags):
    check_runner(flags)


def test_a_job_server_that_does_not_answer_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            PipelineError, match=f"expected a job server at --job_endpoint {endpoint}, found none within"
        ):
            await_job_server([*PORTABLE, f"--job_endpoint={endpoint}", "--job_server_timeout=1"])


@pytest.mark.parametrize("flags", [[], ["--job_endpoint=embed"]])
def test_nobody_waits_for_a_job_server_of_this_process(flags):
    await_job_server(flags)
