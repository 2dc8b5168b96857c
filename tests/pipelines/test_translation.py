"""The job as clusters get it: the graph keeps to one stage and small, goes through its proto, and fits Dataflow."""

import json

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.translations import (
    create_and_optimize_stages,
    standard_optimize_phases,
)

from pipelines.__main__ import main
from pipelines.workers.annotating import SliceWork
from pipelines.workers.runners import is_handed_over
from schemas.errors import PipelineError
from schemas.slices import FileRef, Slice
from schemas.tables import SliceTable
from tests.pipelines.handmade import span, write_run
from transforms.annotate_rows import Annotate
from transforms.corpora.documents import CorpusConfig
from transforms.models.annotator import EntityConfig
from transforms.models.catalog import find_tagger
from transforms.storage.store import open_store
from transforms.storage.work import listed_work

pytestmark = pytest.mark.filterwarnings("ignore")

ACCELERATOR = "type:nvidia-l4;count:1;install-nvidia-driver"
IMAGE = "europe-docker.pkg.dev/p-1/r/spanmill@sha256:" + "0" * 64
DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=p-1",
    "--region=europe-west4",
    "--no_auth",
    "--sdk_location=container",
    f"--sdk_container_image={IMAGE}",
    "--job_name=nightly",
    "--temp_location=gs://placeholder-bucket-x/tmp",
    "--staging_location=gs://placeholder-bucket-x/stg",
    "--max_num_workers=8",
    "--dry_run=True",
]


def _work(root, **hints):
    return SliceWork(
        root=str(root),
        corpus=CorpusConfig(),
        tagger=find_tagger(),
        entities=EntityConfig(),
        output_format="parquet",
        layout="document",
        metadata={},
        is_strict=True,
        timeout_s=600.0,
        beam_flags=(),
        hints=hints,
    )


def _listed(root, n=3):
    slices = [
        Slice(FileRef(f"gs://bucket/corpus/part-{at:07d}.parquet", 1 << 26, "0" * 32), "parquet", 0, 1, 0, 9, number=at)
        for at in range(n)
    ]
    with listed_work(open_store(str(root)), SliceTable.of(slices), is_kept=True) as listed:
        return listed


def _steps(proto, *names):
    transforms = proto.components.transforms.values()
    return [t for t in transforms if t.unique_name.split("/")[0] in names and t.spec.urn == "beam:transform:pardo:v1"]


@pytest.fixture
def hinted(tmp_path):
    built = beam.Pipeline("FnApiRunner")
    _work(tmp_path, accelerator=ACCELERATOR, min_ram="16GB").construct(built, _listed(tmp_path))
    return built


def test_read_annotate_and_commit_ask_for_the_same_workers(hinted):
    proto = hinted.to_runner_api()
    steps = _steps(proto, "Read", "Annotate", "Commit")
    assert len(steps) == 3
    (environment,) = {step.environment_id for step in steps}
    hints = proto.components.environments[environment].resource_hints
    assert hints["beam:resources:accelerator:v1"] == ACCELERATOR.encode()
    assert hints["beam:resources:min_ram_bytes:v1"] == b"16000000000"
    (plain,) = {step.environment_id for step in _steps(proto, "Plan")}
    assert not proto.components.environments[plain].resource_hints


@pytest.mark.parametrize("hints", [{}, {"accelerator": ACCELERATOR}], ids=["plain", "hinted"])
def test_they_are_one_stage(hints, tmp_path):
    built = beam.Pipeline("FnApiRunner")
    _work(tmp_path, **hints).construct(built, _listed(tmp_path))
    _, stages = create_and_optimize_stages(
        built.to_runner_api(), phases=standard_optimize_phases(), known_runner_urns=frozenset()
    )
    together = [{t.unique_name.split("/")[0] for t in stage.transforms} for stage in stages]
    (stage,) = [names for names in together if names & {"Read", "Annotate", "Commit"}]
    assert stage >= {"Read", "Annotate", "Commit"}


def test_the_graph_goes_through_its_proto(hinted):
    proto = hinted.to_runner_api()
    again = beam.Pipeline.from_runner_api(proto, hinted.runner, PipelineOptions()).to_runner_api()
    names = [sorted(t.unique_name for t in graph.components.transforms.values()) for graph in (proto, again)]
    assert names[0] == names[1]
    payloads = [
        sorted(step.spec.payload for step in _steps(graph, "Read", "Annotate", "Commit")) for graph in (proto, again)
    ]
    assert payloads[0] == payloads[1]


def test_the_graph_is_as_small_for_many_slices_as_for_few(tmp_path):
    sizes = []
    for n in (3, 30_000):
        built = beam.Pipeline("FnApiRunner")
        _work(tmp_path).construct(built, _listed(tmp_path, n))
        sizes.append(built.to_runner_api().ByteSize())
    assert sizes[0] == pytest.approx(sizes[1], abs=1000)
    assert max(sizes) < 100_000


@pytest.fixture
def graph_size(monkeypatch, capsys):
    """The size of the graph that a command would run, in bytes."""

    def translate(command, *words):
        sizes = []

        def build(construct, _):
            built = beam.Pipeline("FnApiRunner")
            construct(built)
            sizes.append(built.to_runner_api().ByteSize())
            raise PipelineError("translated and not run")

        monkeypatch.setattr(f"pipelines.{command}.run_pipeline", build)
        assert main([command, *map(str, words), "--no-progress"]) == 1
        assert "translated and not run" in capsys.readouterr().err
        return sizes[0]

    return translate


def _runs(folder, n):
    """Two runs over so many slices, which are files of a labelled document each."""
    (folder / "gold").mkdir(parents=True)
    for at in range(n):
        row = {"id": str(at), "text": "Anna went to Rome", "gold": [[0, 4, "PER"]]}
        (folder / "gold" / f"{at:03d}.jsonl").write_text(json.dumps(row) + "\n")
    for name in "ab":
        write_run(folder / name, folder / "gold", {"0": [span(0, 4, "PER")]}, model=name * 64)
    return [folder / "a", folder / "b"]


def _combine(folder, n):
    return "combine", *_runs(folder, n), "--output", folder / "out"


def _compare(folder, n):
    return "compare", *_runs(folder, n), "--gold", folder / "gold", "--output", folder / "out"


def _evaluate(folder, n):
    run, _ = _runs(folder, n)
    words = ("--gold", folder / "gold", "--predicted", run, "--output", folder / "out")
    return "evaluate", *words, "--calibrate", "temperature"


def _evaluate_tags(folder, n):
    for side in ("gold", "predicted"):
        (folder / side).mkdir(parents=True)
        for at in range(n):
            (folder / side / f"{at:03d}.conll").write_text("Anna B-PER\nslept O\n")
    return "evaluate", "--gold", folder / "gold", "--predicted", folder / "predicted", "--output", folder / "out"


@pytest.mark.parametrize("prepare", [_combine, _compare, _evaluate, _evaluate_tags])
def test_the_graphs_of_other_jobs_are_as_small_for_many_slices_as_for_few(prepare, graph_size, tmp_path):
    few, many = (graph_size(*prepare(tmp_path / str(n), n)) for n in (3, 60))
    assert few == pytest.approx(many, abs=1000)
    assert many < 200_000


def test_the_step_for_other_pipelines_goes_through_its_proto_too():
    built = beam.Pipeline("FnApiRunner")
    rows = built | beam.Create(["a"])
    _ = (rows | Annotate().with_resource_hints(accelerator=ACCELERATOR)).annotated | beam.Map(str)
    proto = built.to_runner_api()
    again = beam.Pipeline.from_runner_api(proto, built.runner, PipelineOptions()).to_runner_api()
    for graph in (proto, again):
        (environment,) = {step.environment_id for step in _steps(graph, "Annotate")}
        hints = graph.components.environments[environment].resource_hints
        assert hints["beam:resources:accelerator:v1"] == ACCELERATOR.encode()
    assert proto.ByteSize() < 100_000


@pytest.fixture
def dataflow():
    pytest.importorskip("apitools")
    return pytest.importorskip("apache_beam.runners.dataflow.internal.apiclient", exc_type=ImportError)


def test_a_dry_run_of_dataflow_carries_image_accelerator_and_options(dataflow, tmp_path):
    built = beam.Pipeline(options=PipelineOptions(DATAFLOW))
    _work(tmp_path, accelerator=ACCELERATOR).construct(built, _listed(tmp_path))
    result = built.run()
    proto = built.runner.proto_pipeline
    environments = proto.components.environments
    (hinted,) = {step.environment_id for step in _steps(proto, "Read", "Annotate", "Commit")}
    assert environments[hinted].resource_hints["beam:resources:accelerator:v1"] == ACCELERATOR.encode()
    assert {e.urn for e in environments.values()} == {"beam:env:docker:v1"}
    assert all(IMAGE.encode() in e.payload for e in environments.values())
    assert result.job.proto.name == "nightly"
    job = dataflow.Environment([], result.job.options, "1", "gs://placeholder-bucket-x/stg/pipeline.pb", proto).proto
    told = json.loads(dataflow.json_format.MessageToJson(dataflow.dataflow.Environment.pb(job)))
    options = told["sdkPipelineOptions"]["options"]
    assert (options["project"], options["max_num_workers"]) == ("p-1", 8)
    (pool,) = told["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}


def test_the_command_line_translates_for_dataflow_and_waits_for_nobody(
    dataflow, corpus, tmp_path, tiny_checkpoint, capfd
):
    command = ["annotate", "--input", str(corpus), "--output", str(tmp_path / "out"), "--model", str(tiny_checkpoint)]
    command += ["--precision", "fp32"]
    assert main([*command, "--device", "cuda", "--accelerator", ACCELERATOR, *DATAFLOW]) == 0
    assert "handed over to the runner" in capfd.readouterr().err
    assert not list(tmp_path.glob("out/run=*/_SUCCESS"))
    # Whoever goes on without the cluster goes on with the same run.
    assert main([*command, "--no-progress", "--max-restarts", "0"]) == 0
    assert len(list(tmp_path.glob("out/run=*/_SUCCESS"))) == len(list(tmp_path.glob("out/run=*"))) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--accelerator", ACCELERATOR], "expected the --runner of a cluster with --accelerator"),
        (["--accelerator", "l4", "--runner=FlinkRunner"], "expected --accelerator such as type:nvidia-l4"),
        (["--accelerator", ACCELERATOR, "--runner=FlinkRunner"], "expected --device cuda with --accelerator"),
        (["--min-ram", "16", "--runner=FlinkRunner"], "expected --min-ram such as 16GB, found '16'"),
    ],
)
def test_hints_that_nobody_would_heed_are_refused(flags, message, corpus, tmp_path, capsys):
    assert main(["annotate", "--input", str(corpus), "--output", str(tmp_path / "out"), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "is_waited_for"),
    [
        ([], True),
        (["--dry_run=True"], True),
        (["--runner=DataflowRunner"], True),
        (["--runner=DataflowRunner", "--dry_run=True"], False),
        (["--runner=DataflowRunner", "--template_location=gs://b/t"], False),
        (["--runner=FlinkRunner", "--no_wait_until_finish"], False),
    ],
)
def test_only_what_is_handed_over_is_not_waited_for(flags, is_waited_for):
    assert is_handed_over(flags) is not is_waited_for
