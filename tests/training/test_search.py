import dataclasses
import json

import pytest

from schemas.errors import ConfigError
from training.search import TRIALS_NAME, Trial, find_best, read_search, read_trials, run_trials, trial_folder


def _search(folder, text):
    path = folder / "search.toml"
    path.write_text(text, encoding="utf-8")
    return read_search(path)


def _trial(number, options, f1):
    return Trial(number=number, options=options, f1=f1, files={"a/dev.conll": f1}, steps=3, seconds=0.5)


def _train_by(score, calls):
    """A training whose F1 is a function of its options."""

    def train(number, options, folder):
        calls.append((number, options))
        folder.mkdir()
        return _trial(number, options, score(options))

    return train


GRID = """
[grid]
learning-rate = [1e-4, 3e-4]
objective = [[], ["rdrop"]]
"""
OPTUNA = """
[optuna]
trials = 12
seed = 3
learning-rate = {low = 1e-5, high = 1e-1, log = true}
batch-size = {low = 4, high = 64}
objective = [[], ["rdrop"], ["rdrop", "fgm"]]
"""


def _fit(options):
    """Best at a rate of 1e-3 with rdrop."""
    return 1 / (1 + abs(options["learning-rate"] - 1e-3)) + (options["objective"] == ["rdrop"])


def test_a_grid_is_all_combinations(tmp_path):
    calls = []
    trials = run_trials(_search(tmp_path, GRID), _train_by(lambda options: 0.5, calls), tmp_path)
    assert [options for _, options in calls] == [
        {"learning-rate": 1e-4, "objective": []},
        {"learning-rate": 1e-4, "objective": ["rdrop"]},
        {"learning-rate": 3e-4, "objective": []},
        {"learning-rate": 3e-4, "objective": ["rdrop"]},
    ]
    assert find_best(trials).number == 0


def test_optuna_draws_within_its_ranges_and_learns(tmp_path):
    calls = []
    trials = run_trials(_search(tmp_path, OPTUNA), _train_by(_fit, calls), tmp_path)
    assert len(trials) == 12
    for options in (trial.options for trial in trials):
        assert 1e-5 <= options["learning-rate"] <= 1e-1
        assert 4 <= options["batch-size"] <= 64
        assert isinstance(options["batch-size"], int)
    assert find_best(trials).options["objective"] == ["rdrop"]


@pytest.mark.parametrize("text", [GRID, OPTUNA])
def test_a_search_that_was_interrupted_goes_on_as_it_would_have(tmp_path, text):
    search, calls = _search(tmp_path, text), []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = run_trials(search, _train_by(_fit, []), tmp_path / "whole")

    def die_at_third(number, options, folder):
        if number == 2:
            raise KeyboardInterrupt
        return _train_by(_fit, calls)(number, options, folder)

    with pytest.raises(KeyboardInterrupt):
        run_trials(search, die_at_third, tmp_path / "killed")
    with (tmp_path / "killed" / TRIALS_NAME).open("a", encoding="utf-8") as file:
        file.write('{"number": 2, "opti')
    assert run_trials(search, _train_by(_fit, calls), tmp_path / "killed") == whole
    assert [number for number, _ in calls] == list(range(len(whole)))
    assert read_trials(tmp_path / "killed" / TRIALS_NAME) == whole


def test_every_trial_is_a_line_and_only_the_best_keeps_its_folder(tmp_path):
    trials = run_trials(_search(tmp_path, GRID), _train_by(_fit, []), tmp_path)
    lines = (tmp_path / TRIALS_NAME).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [dataclasses.asdict(trial) for trial in trials]
    assert json.loads(lines[0]).keys() == {"number", "options", "f1", "files", "steps", "seconds"}
    assert [path.name for path in tmp_path.glob("trial=*")] == [trial_folder(tmp_path, find_best(trials).number).name]


def test_samples_of_optuna_have_both_ends_of_each_range(tmp_path):
    samples = _search(tmp_path, OPTUNA).samples()
    assert {sample["learning-rate"] for sample in samples} == {1e-5, 1e-1}
    assert ["rdrop", "fgm"] in [sample["objective"] for sample in samples]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid = 1", "expected a table [grid] or [optuna] alone"),
        ("[grid]\na = [1]\n[optuna]\n", "expected a table [grid] or [optuna] alone"),
        ("[grid]", "expected options to try"),
        ("[grid]\nseed = 1", "expected a list of values for 'seed' in --search, found 1"),
        ("[grid]\nseed = []", "expected a list of values for 'seed'"),
        ("[optuna]\ntrials = 0\ndropout = [0.1]", "expected trials of --search to be a whole number above 0, found 0"),
        ("[optuna]\ndropout = {low = 0.1}", "expected low, high and perhaps log for 'dropout' in --search"),
        ("[optuna]\ndropout = {low = 0.2, high = 0.1}", "expected low below high for 'dropout'"),
        ("[optuna]\ndropout = {low = 'a', high = 0.1}", "expected low below high for 'dropout'"),
        ("[optuna]\ndropout = {low = 0.0, high = 0.1, log = true}", "expected low above 0 for 'dropout'"),
        (
            "[optuna]\ndropout = [0.3, 0.1]",
            "expected a range such as {low = 0.1, high = 0.3} for 'dropout' in [optuna]",
        ),
        ("[optuna", "cannot read --search"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        _search(tmp_path, text)
    assert message in str(error.value)
