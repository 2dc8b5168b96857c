"""The Flex Template: its metadata is that of the options, and what it is given becomes flags that the job takes."""

import dataclasses
import json
import re
import typing

import pytest

from pipelines.annotate import AnnotateOptions
from pipelines.console.options import beam_flag_names
from pipelines.flex_template import LOCAL_OPTIONS, describe_template, main, read_arguments
from tests.conftest import ROOT

METADATA = ROOT / "deploy/dataflow/metadata.json"
PARAMETERS = {parameter["name"]: parameter for parameter in describe_template()["parameters"]}
BEAM = ["--runner=DataflowRunner", "--project=p-1", "--region=europe-west4", "--labels=team=nlp", "--job_name=j"]


def test_the_file_is_what_the_options_make():
    assert json.loads(METADATA.read_text()) == describe_template(), "python -m pipelines.flex_template > " + str(
        METADATA
    )


def test_there_is_a_parameter_for_every_option_of_a_cluster():
    names = {name.removeprefix("spanmill_") for name in PARAMETERS}
    assert names | set(LOCAL_OPTIONS) == {field.name for field in dataclasses.fields(AnnotateOptions)}
    assert [name for name, parameter in PARAMETERS.items() if not parameter["isOptional"]] == ["input", "output"]


def test_no_parameter_has_the_name_of_a_flag_of_beam():
    beam = {flag.removeprefix("--") for flag in beam_flag_names()}
    assert not set(PARAMETERS) & beam


def test_dataflow_reads_the_metadata():
    dataflow = pytest.importorskip("google.cloud.dataflow")
    read = dataflow.TemplateMetadata.from_json(METADATA.read_text())
    assert {parameter.name: list(parameter.regexes) for parameter in read.parameters} == {
        name: parameter["regexes"] for name, parameter in PARAMETERS.items()
    }


def test_defaults_match_their_regex_and_are_the_options_own():
    given = [f"--{name}={p['defaultValue']}" for name, p in PARAMETERS.items() if "defaultValue" in p]
    for name, parameter in PARAMETERS.items():
        if "defaultValue" in parameter:
            assert re.fullmatch(parameter["regexes"][0], parameter["defaultValue"]), name
    options, _ = read_arguments(["--input=a", "--output=b", *given])
    assert options == AnnotateOptions(input=("a",), output="b")


SAMPLES = {bool: "true", int: "7", float: "0.25", str: "gs://b/some name"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_matches_the_regex_reaches_the_option(name):
    field = name.removeprefix("spanmill_")
    hint = typing.get_type_hints(AnnotateOptions)[field]
    (field_,) = [f for f in dataclasses.fields(AnnotateOptions) if f.name == field]
    special = {"accelerator": "type:nvidia-l4;count:1", "min_ram": "16GB"}
    is_many = typing.get_origin(hint) is tuple
    sample = field_.metadata["choices"][-1] if field_.metadata["choices"] else special.get(field)
    sample = sample or ("one 'the other'" if is_many else SAMPLES[hint])
    (regex,) = PARAMETERS[name]["regexes"]
    assert re.fullmatch(regex, sample)
    needed = [f"--{other}=x" for other in ("input", "output") if other != name]
    options, _ = read_arguments([*needed, f"--{name}={sample}"])
    expected = ("one", "the other") if is_many else {bool: True, int: 7, float: 0.25}.get(hint, sample)
    assert getattr(options, field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tune", None),
        ("batch_tokens", "-1"),
        ("threshold", "high"),
        ("dedupe", "yes"),
        ("format", "xml"),
        ("accelerator", "nvidia-l4"),
        ("min_ram", "16"),
        ("output", ""),
    ],
)
def test_what_the_job_would_refuse_does_not_match(name, value):
    if value is None:
        assert name not in PARAMETERS
    else:
        assert not re.fullmatch(PARAMETERS[name]["regexes"][0], value)


def test_what_the_launcher_adds_stays_beams():
    options, beam = read_arguments(["--input=a", "--output=b", "--spanmill_labels=PER ORG", "--dedupe=false", *BEAM])
    assert beam == BEAM
    assert (options.labels, options.dedupe) == (("PER", "ORG"), False)


def test_wrong_values_are_told_in_one_line(capsys):
    assert main(["--input=a", "--output=b", "--dedupe=maybe"]) == 2
    assert main(["--input='a", "--output=b"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "spanmill: expected dedupe to be true or false, found 'maybe'",
        "spanmill: expected input with words as in a shell, found No closing quotation",
    ]
