"""The file of a cycle: what may stand in it, and one line for what may not."""

import pytest

from pipelines.__main__ import main
from pipelines.cycling.config import read_cycle_config
from schemas.errors import ConfigError

LEAST = """
state = "state"
registry = "models"
[annotate]
input = ["in"]
output = "out"
"""
ADAPT = '[adapt]\nlabels = "labels/*.conll"\nsplit = "0.8/0.2"\n'
PROMOTE = '[promote]\ngates = "gates.toml"\n'


@pytest.fixture
def read(tmp_path):
    """The text of a file in, what it says out."""

    def run(text):
        (tmp_path / "cycle.toml").write_text(text)
        return read_cycle_config(tmp_path / "cycle.toml")

    return run


def test_the_least_of_files_annotates_and_trains_nothing(read):
    config = read(LEAST)
    assert (config.annotate.input, config.annotate.output) == (("in",), "out")
    assert (config.drift, config.labels, config.promote) == (None, (), None)
    assert str(config.work) == "state/work"


def test_options_of_the_jobs_are_theirs(read):
    config = read(
        LEAST + 'threshold = 0.5\n[beam]\nrunner = "FlinkRunner"\n[drift]\n' + ADAPT + "epochs = 2\n" + PROMOTE
    )
    assert config.annotate.threshold == 0.5
    assert config.beam_flags == ("--runner=FlinkRunner",)
    assert config.drift.reference == "first"
    assert config.labels == ("labels/*.conll",)
    assert config.train == {"split": "0.8/0.2", "epochs": 2}
    assert (config.promote.gates, config.promote.device) == ("gates.toml", "cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot read --config"),
        ('state = "s"\nregistry = "r"\n', r"expected a table \[annotate\]"),
        (LEAST.replace("[annotate]", "annotate = 3\n[x]"), r"expected a table \[annotate\] .* found int"),
        (LEAST.replace('registry = "models"', ""), "expected 'registry' in .* found none"),
        (LEAST.replace('output = "out"', ""), "expected 'output' in .* found none"),
        (LEAST + "model = 'x'\n", "expected no 'model' in .* a cycle annotates with the champion"),
        (LEAST + "thresholt = 1\n", "unknown key 'thresholt' .* did you mean 'threshold'"),
        (LEAST + "[drift]\nfail_on = 'x'\n", "expected key 'fail_on' .* to be one of"),
        (LEAST + "[beam]\nrunnner = 'x'\n", "unknown flag '--runnner'"),
        (LEAST + ADAPT, r"expected a table \[promote\] with \[adapt\]"),
        (LEAST + PROMOTE, r"expected a table \[adapt\] with \[promote\]"),
        (LEAST + "[adapt]\nepochs = 1\n" + PROMOTE, "expected labels, files or globs or folders"),
        (LEAST + ADAPT + "base = 'x'\n" + PROMOTE, "expected no 'base' in .* a cycle sets it"),
        (LEAST + ADAPT + "epochs = 0\n" + PROMOTE, "epochs"),
        (LEAST + ADAPT + "method = 'lora'\n" + PROMOTE, "expected a whole checkpoint .* add merge = true"),
        ("reannotate = 'some'\n" + LEAST, "expected key 'reannotate' .* to be one of"),
        (LEAST.replace('"state"', '"s3://bucket/state"'), "expected work, a folder on this machine"),
    ],
)
def test_what_is_wrong_gets_one_line(text, message, read):
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_config_is_asked_for(capsys):
    assert main(["cycle"]) == 2
    assert "expected --config FILE.toml, found none" in capsys.readouterr().err
