import dataclasses

import pytest

from pipelines.annotate import main
from pipelines.taggers.tuning import recall_budget
from schemas.errors import ConfigError
from transforms.models.backends import BackendConfig, default_batch_tokens
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.models.tuning import Trial, TuningCache
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def tagger(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return configure_tagger(
        find_checkpoint(str(tiny_checkpoint)),
        backend=BackendConfig(),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=64,
    )


def test_without_a_memory_the_usual_budget_is_taken(tagger):
    assert recall_budget(tagger) == default_batch_tokens("cpu")


def test_a_remembered_budget_is_taken(tagger):
    TuningCache(tagger.digest, tagger.backend, tagger.windows.max_tokens).write([Trial(777, 1.0)])
    assert recall_budget(tagger) == 777


def test_the_budget_is_no_part_of_what_changes_output(tagger):
    assert tagger.describe() == dataclasses.replace(tagger, batch_tokens=1, dedupe=False).describe()


def test_tune_measures_says_so_and_changes_no_run(tagger, tiny_checkpoint, tmp_path, capsys):
    corpus = tmp_path / "texts.txt"
    corpus.write_text("Anna lives in Berlin\n" * 20)
    command = ["--input", str(corpus), "--output", str(tmp_path / "out"), "--model", str(tiny_checkpoint)]
    assert main([*command, "--tune"]) == 0
    told = capsys.readouterr().err
    assert "--batch-tokens 512" in told
    assert "--window-tokens 64" in told
    assert len(list((tmp_path / "cache" / "spanmill").rglob("*.json"))) == 1
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err, "the budget must not be part of the fingerprint"


def test_tune_refuses_a_runner_whose_workers_are_elsewhere(tagger, tiny_checkpoint, tmp_path):
    (tmp_path / "texts.txt").write_text("Anna\n")
    places = ["--input", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="local runner for --tune"):
        main([*places, "--model", str(tiny_checkpoint), "--tune", "--runner", "FlinkRunner"])
