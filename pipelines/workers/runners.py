"""What Beam's flags say about the runner: where it works, who waits for it, what its workers must have."""

import re
from collections.abc import Mapping, Sequence

from schemas.errors import ConfigError, PipelineError

HINTS = {
    "accelerator": r"type:[a-z0-9-]+;count:[1-9][0-9]*(;install-nvidia-driver(:[0-9.]+)?)?",
    "min_ram": r"[0-9]+(\.[0-9]+)?([KMGTP]i?)?B",
}
"""How Beam's resource hints are spelt."""

_HANDING_OVER = ("--template_location", "--no_wait_until_finish")
_LOCAL_RUNNERS = ("FnApiRunner", "DirectRunner")
_PLACES = ("DOCKER", "EXTERNAL", "LOOPBACK", "PROCESS")
_ADDRESS = r"(unix:.+|.+:[0-9]{1,5})"
_JOB_SERVER_S = 60


def is_local(beam_flags: Sequence[str]) -> bool:
    """Whether the runner works in this process."""
    return flag_value(beam_flags, "--runner", "FnApiRunner") in _LOCAL_RUNNERS


def is_handed_over(beam_flags: Sequence[str]) -> bool:
    """Whether the pipeline is only given to a runner, or written for one, and nobody here waits for its end."""
    if is_local(beam_flags):
        return False
    is_dry = flag_value(beam_flags, "--dry_run", "").lower() in ("true", "1")
    return is_dry or any(flag.partition("=")[0] in _HANDING_OVER for flag in beam_flags)


def flag_value(beam_flags: Sequence[str], name: str, default: str) -> str:
    """The value of a flag of Beam, else a default."""
    for at, flag in enumerate(beam_flags):
        given, _, value = flag.partition("=")
        if given == name:
            return value or next(iter(beam_flags[at + 1 :]), default)
    return default


def check_runner(beam_flags: Sequence[str]) -> None:
    """Refuses flags with which Beam would find no job server, or no workers for it, once the corpus is planned.

    Raises:
      ConfigError: an address or the kind of workers is wanting or misspelt.
    """
    if flag_value(beam_flags, "--runner", "").lower() != "portablerunner":
        return
    endpoint = flag_value(beam_flags, "--job_endpoint", "")
    if endpoint != "embed" and not re.fullmatch(_ADDRESS, endpoint):
        found = repr(endpoint) if endpoint else "none"
        raise ConfigError(
            f"expected a job server's --job_endpoint HOST:PORT with --runner=PortableRunner, found {found}"
        )
    place = flag_value(beam_flags, "--environment_type", "")
    if place not in _PLACES and not place.startswith("beam:env:"):
        found = repr(place) if place else "none, which asks for Docker; say so if it is meant"
        raise ConfigError(
            f"expected an --environment_type of {', '.join(_PLACES)} with --runner=PortableRunner, found {found}"
        )
    pool = flag_value(beam_flags, "--environment_config", "")
    is_told = any(flag.startswith("--environment_option") for flag in beam_flags)
    if place == "EXTERNAL" and not is_told and not re.fullmatch(_ADDRESS, pool):
        found = repr(pool) if pool else "none"
        raise ConfigError(
            f"expected a worker pool's --environment_config HOST:PORT with --environment_type=EXTERNAL, found {found}"
        )


def await_job_server(beam_flags: Sequence[str]) -> None:
    """Waits until the job server that Beam's flags name answers, for it may be starting just now.

    Raises:
      PipelineError: it does not, within `--job_server_timeout` or a minute.
    """
    endpoint = flag_value(beam_flags, "--job_endpoint", "")
    if endpoint in ("", "embed"):
        return
    import grpc

    default = flag_value(beam_flags, "--job-server-timeout", str(_JOB_SERVER_S))
    timeout_s = float(flag_value(beam_flags, "--job_server_timeout", default))
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=timeout_s)
        except grpc.FutureTimeoutError as error:
            raise PipelineError(
                f"expected a job server at --job_endpoint {endpoint}, found none within {timeout_s:g} s; start it, or "
                "correct the address"
            ) from error


def choose_hints(accelerator: str, min_ram: str) -> dict[str, str]:
    """What workers of a cluster must have, by the names of Beam's resource hints.

    >>> choose_hints("type:nvidia-l4;count:1", "")
    {'accelerator': 'type:nvidia-l4;count:1'}
    """
    return {name: value for name, value in (("accelerator", accelerator), ("min_ram", min_ram)) if value}


def check_hints(hints: Mapping[str, str], beam_flags: Sequence[str], *, device: str) -> None:
    """Refuses hints that nobody would heed.

    Args:
      hints: as `choose_hints` gives them.
      beam_flags: Beam's own flags.
      device: where the model runs.

    Raises:
      ConfigError: the runner works on this machine, a hint is not spelt as Beam wants it, or an accelerator would idle.
    """
    for name, value in hints.items():
        flag = f"--{name.replace('_', '-')}"
        if is_local(beam_flags):
            raise ConfigError(f"expected the --runner of a cluster with {flag}, found one that works on this machine")
        if not re.fullmatch(HINTS[name], value):
            example = {"accelerator": "type:nvidia-l4;count:1;install-nvidia-driver", "min_ram": "16GB"}[name]
            raise ConfigError(f"expected {flag} such as {example}, found {value!r}")
    if "accelerator" in hints and device == "cpu":
        raise ConfigError("expected --device cuda with --accelerator, found cpu, which would leave it idle")
