"""What is written for clusters fits what is here: versions, options, folders, the steps of the images."""

import importlib.metadata
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import apache_beam
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.annotate import AnnotateOptions
from pipelines.console.options import parse_options
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "flink/compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes/flink.yaml").read_text()))


def _stage(name):
    (body,) = re.findall(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return body


def _packages():
    text = (ROOT / "setup.py").read_text()
    return {name.partition(".")[0] for name in re.findall(r'^        "([a-z.]+)",$', text, re.MULTILINE)}


def _pods():
    """Labels, account and spec of each pod of the Kubernetes example; task managers have what all of Flink has, too."""
    for document in KUBERNETES:
        spec = document.get("spec", {})
        if document["kind"] == "FlinkDeployment":
            account, labels = spec["serviceAccount"], {"app": document["metadata"]["name"]}
            common = spec["podTemplate"]["spec"]
            first, *beside = spec["taskManager"]["podTemplate"]["spec"]["containers"]
            (main,) = common["containers"]
            assert first == {"name": main["name"]}
            yield labels, account, common
            account = spec["flinkConfiguration"]["kubernetes.taskmanager.service-account"]
            yield labels, account, {**common, "containers": [main, *beside]}
        elif "template" in spec:
            pod = spec["template"]["spec"]
            yield spec["template"]["metadata"]["labels"], pod["serviceAccountName"], pod


def _containers():
    return [container for _, _, pod in _pods() for container in pod["containers"]]


def _of_kind(kind):
    return [document for document in KUBERNETES if document["kind"] == kind]


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this machine")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


def test_images_hold_the_beam_that_is_installed():
    tags = re.findall(r"apache/beam_[a-z0-9._]+:([0-9.]+)", DOCKERFILE + json.dumps([COMPOSE, KUBERNETES]))
    assert len(tags) == 3
    assert set(tags) == {apache_beam.__version__}


def test_images_are_named_by_one_version():
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    images += [service["image"] for service in COMPOSE["services"].values()]
    images += [document["spec"]["image"] for document in _of_kind("FlinkDeployment")]
    images += [container["image"] for container in _containers() if "image" in container]
    others = {image for image in images if "spanmill" not in image}
    assert len(others) == 5
    assert [image for image in others if not re.search(r":(\d+\.\d+\.\d+|\d{8}_RC\d\d)(-[\w-]+)?$", image)] == []


def test_images_are_of_one_python():
    versions = re.findall(r"python:?(3\.\d+)", DOCKERFILE) + re.findall(r"python(3\d+)-template", DOCKERFILE)
    assert {version.replace(".", "") for version in versions} == {"311"}


def test_flink_is_one_that_beam_runs_on():
    versions = re.findall(r"flink:(\d\.\d+)|beam_flink(\d\.\d+)_", json.dumps([COMPOSE, KUBERNETES]))
    assert {first or second for first, second in versions} == {"1.20"}
    assert "1.20" in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS


def test_all_that_images_install_is_pinned(monkeypatch):
    """As far as it is known here: what a package that is not installed requires in turn is not."""
    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    extras = runpy.run_path(str(ROOT / "setup.py"))["EXTRAS"]
    page = (ROOT / "docs/runners.md").read_text()
    told = re.findall(r"`EXTRAS`\s[^(]*\(([^)]+)\)|EXTRAS=([a-z\d,]+)", DOCKERFILE + page)
    images = set(re.findall(r"[a-z\d]+", str(told)))
    assert images == {"s3", "gcs", "gcp", "onnx", "openvino", "lineage"}
    waiting, seen = [Requirement(text) for name in images for text in extras[name]], set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) not in seen:
            seen.add(str(requirement))
            waiting += _requirements(requirement)
    assert {canonicalize_name(Requirement(text).name) for text in seen} - _pinned() == set()
    compiled = re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text())
    assert {text for name in images for text in extras[name]} <= {text for name in compiled for text in extras[name]}


def _requirements(requirement):
    """What an installed package asks for, with the extras that are wanted of it."""
    try:
        texts = importlib.metadata.requires(requirement.name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [Requirement(text) for text in texts]
    wanted = [{"extra": extra} for extra in requirement.extras or {""}]
    return [one for one in found if not one.marker or any(one.marker.evaluate(extra) for extra in wanted)]


def _pinned():
    """The packages of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line[0] != "#"}


def test_every_package_goes_into_the_image():
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == _packages()
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied < kept
    files = re.findall(r"^COPY ((?:[\w.]+ )+)\./$", DOCKERFILE, re.MULTILINE)
    assert {name for line in files for name in line.split()} < kept
    assert "deploy" in kept


def test_images_run_as_nobody_in_particular():
    final = DOCKERFILE[DOCKERFILE.index(" AS cpu") :]
    assert re.findall(r"^USER (\S+)$", final, re.MULTILINE) == ["10001"]
    pods = [(pod, container) for _, _, pod in _pods() for container in pod["containers"]]
    assert [container["name"] for _, container in pods] == [
        "flink-main-container",
        "flink-main-container",
        "workers",
        "jobserver",
        "driver",
    ]
    for pod, container in pods:
        uid = 9999 if container["name"] == "flink-main-container" else 10001
        assert {**pod["securityContext"], **container["securityContext"]} == {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "seccompProfile": {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_only_the_job_manager_has_an_account_that_makes_pods():
    accounts = _of_kind("ServiceAccount")
    assert [(a["metadata"]["name"], a["automountServiceAccountToken"]) for a in accounts] == [("spanmill", False)]
    assert [account for _, account, _ in _pods()] == ["flink", "spanmill", "spanmill", "spanmill"]


def test_what_starts_jobs_is_reached_by_those_who_need_it():
    """From the pods of a policy to the callers of each port: nothing else comes through."""
    admitted = {}
    for policy in _of_kind("NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        admitted[policy["spec"]["podSelector"]["matchLabels"]["app"]] = {
            tuple(port["port"] for port in rule.get("ports", [])): [
                value
                for peer in rule["from"]
                for selector in peer.values()
                for value in selector["matchLabels"].values()
            ]
            for rule in policy["spec"]["ingress"]
        }
    assert admitted == {
        "spanmill-jobserver": {(8099, 8098): ["spanmill-annotate"]},
        "spanmill": {(): ["spanmill"], (8081,): ["spanmill-jobserver", "flink-operator"]},
    }
    assert {labels["app"] for labels, _, _ in _pods()} == {*admitted, "spanmill-annotate"}


def test_volumes_are_folders_that_the_image_gives_to_its_user():
    before, _, user = _stage("cpu").partition("\nUSER ")
    owned = re.findall(rf"^RUN .*install --directory --owner={user.split()[0]} (\S+)$", before, re.MULTILINE)
    own = [service for service in COMPOSE["services"].values() if service["image"].startswith("spanmill")]
    mounts = [mount.split(":") for service in own for mount in service["volumes"]]
    assert [folder for name, folder, *_ in mounts if name in COMPOSE["volumes"]] == 2 * owned == 2 * ["/runs"]


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_drivers_are_given_options_that_the_job_takes(where):
    if where == "compose":
        driver = COMPOSE["services"]["driver"]
        words, flags = driver["entrypoint"], driver["command"]
    else:
        (driver,) = [c for c in _containers() if c["name"] == "driver"]
        words, flags = driver["command"], driver["args"]
    assert words == ["spanmill", "annotate"]
    options, beam_flags = parse_options(AnnotateOptions, flags, prog="spanmill annotate", description="")
    assert options.model == "/opt/model"
    assert "--environment_type=EXTERNAL" in beam_flags


def test_pools_listen_where_drivers_say():
    (where,) = re.findall(r"^COPY deploy/flink/worker_pool.py (\S+)$", DOCKERFILE, re.MULTILINE)
    pools = [
        COMPOSE["services"]["workers"]["entrypoint"],
        *(c["command"] for c in _containers() if c["name"] == "workers"),
    ]
    assert pools == 2 * [["python", where, "50000"]]
    assert json.dumps([COMPOSE, KUBERNETES]).count("--environment_config=localhost:50000") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_a_pool_is_reached_by_localhost_alone():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pool = subprocess.Popen([sys.executable, DEPLOY / "flink/worker_pool.py", str(port)])
    try:
        deadline = time.monotonic() + 200
        while not _answers("127.0.0.1", port):
            assert pool.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert not _answers("127.0.0.2", port)
    finally:
        pool.kill()
        pool.wait()


def _answers(host, port):
    with socket.socket() as caller:
        return caller.connect_ex((host, port)) == 0


@pytest.fixture
def bake():
    return runpy.run_path(str(DEPLOY / "bake_model.py"))["main"]


def test_a_baked_model_is_the_wanted_one(bake, tiny_checkpoint, tmp_path, capsys):
    from transforms.models.checkpoint import find_checkpoint

    digest = find_checkpoint(str(tiny_checkpoint)).digest
    assert bake([str(tiny_checkpoint), digest, str(tmp_path / "model")]) == 0
    assert find_checkpoint(str(tmp_path / "model")).digest == digest
    assert bake([str(tiny_checkpoint), "0" * 64, str(tmp_path / "other")]) == 2
    assert bake([str(tiny_checkpoint), "", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
    first, second = capsys.readouterr().err.splitlines()
    assert f"found {digest}" in first
    assert "expected MODEL_DIGEST" in second


def test_the_default_model_needs_no_digest(bake, tmp_path):
    assert bake(["default", "", str(tmp_path / "model")]) == 0
    assert (tmp_path / "model/model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_steps_of_the_image_make_an_environment_that_annotates(tmp_path):
    """Every RUN of the stage that builds, in a folder with what it copies and nothing else."""
    build, target = tmp_path / "build", tmp_path / "spanmill"
    build.mkdir()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.split(" AS cpu")[0], re.MULTILINE):
        for source in sources.split():
            destination = build / source
            destination.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, destination)
    environment = {
        "PATH": f"{target}/bin{os.pathsep}{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(build / "constraints.txt"),
        "HOME": str(tmp_path),
        **{
            name: value for name, value in os.environ.items() if name.startswith(("PIP_INDEX", "PIP_EXTRA", "PIP_FIND"))
        },
        "EXTRAS": "s3,gcs",
        "MODEL": "default",
        "MODEL_DIGEST": "",
    }
    steps = re.findall(r"^RUN (.*)$", _stage("build"), re.MULTILINE)
    assert len(steps) == 3
    for step in steps:
        command = step.replace("/opt/spanmill", str(target)).replace("/opt/model", str(tmp_path / "model"))
        command = command.replace("python -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(
            command, shell=True, cwd=build, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    command = ["python", "-m", "pip", "list", "--format=json"]
    listed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert {canonicalize_name(package["name"]) for package in json.loads(listed.stdout)} - _pinned() == {"spanmill"}
    text = tmp_path / "in.txt"
    text.write_text("Angela Merkel visited Paris.\n")
    command = ["spanmill", "annotate", "--input", text, "--output", tmp_path / "out", "--model", tmp_path / "model"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("out/run=*/_SUCCESS"))) == 1
