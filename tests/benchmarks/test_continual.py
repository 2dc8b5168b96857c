"""The benchmark of sequences, on tiny files and a tiny encoder."""

import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import continual
from benchmarks.continual import TASKS, Corpus, Sequence, Trials, collect, rename_tag, spread, tabulate, write_chart

MATRIX = [[0.9, 0.2, 0, 0, 0], *([0.5, 0.8, 0, 0, 0] for _ in range(4))]


@pytest.fixture
def trials(tmp_path):
    return Trials(tmp_path / "trials.jsonl", Console(quiet=True))


def _add(trials, way, rows):
    for task, row in zip(TASKS, rows, strict=True):
        name = "first" if task is TASKS[0] else way
        trials.add(f"{name}/0/{task.name}", {"f1": row, "seconds": 30.0, "cpu_seconds": 60.0})


def test_labels_of_all_domains_have_one_name():
    assert [rename_tag(line) for line in ("Rome\tB-LOC", "x\tI-PER", "Torch\tB-product", "a\tO", "")] == [
        "Rome\tB-location",
        "x\tI-person",
        "Torch\tB-product",
        "a\tO",
        "",
    ]


def test_sentences_come_from_all_parts_of_a_file():
    assert spread("abcdef", 3) == ["a", "c", "e"]
    assert spread("abcdef", 4) == ["a", "b", "d", "e"]
    assert spread("ab", 9) == ["a", "b"]


def test_finished_steps_are_read_again(trials, tmp_path):
    _add(trials, "naive", MATRIX)
    again = Trials(tmp_path / "trials.jsonl", Console(quiet=True))
    assert again.read_matrix("naive", 0) == MATRIX
    assert again.read_minutes("naive", 0) == 4
    assert again.read_matrix("naive", 1) is again.read_matrix("ewc", 0) is None


def test_ways_are_compared_with_naive_seed_by_seed(trials):
    _add(trials, "naive", MATRIX)
    _add(trials, "ewc", [MATRIX[0], *([0.8, 0.7, 0, 0, 0] for _ in range(4))])
    matrices = collect(trials, ["naive", "ewc", "l2"], [0, 1])
    assert set(matrices) == {"naive", "ewc"}
    rows = {row[0]: row[1:] for row in tabulate(trials, matrices).rows}
    # Forgetting: (0.9 - 0.5) / 4 and (0.9 - 0.8) / 4; new domains: (0.9 + 0.8) / 5 and (0.9 + 0.7) / 5.
    assert rows["naive"] == ("26.0", "10.0", "-10.0", "34.0", "", "", "4.0")
    assert rows["ewc"] == ("30.0", "2.5", "-2.5", "32.0", "+75 %", "-2.0", "4.0")


def test_a_chart_stands_by_itself(tmp_path):
    write_chart('<svg viewBox="0 0 1 1"><path stroke="var(--ink)" /></svg>', tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text


def _write_data(folder):
    labels = {"news": "location", "tweets": "LOC", "ai": "product"}
    for task in TASKS[:3]:
        for path in {task.train, task.dev, task.test}:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            lines = f"anna\tB-person\nsaw\tO\nthe\tO\nrome\tB-{labels[task.name]}\n\n".replace("person", "PER")
            (folder / path).write_text(lines * 9)


def test_sequences_run_once(base, trials, tmp_path, monkeypatch):
    _write_data(tmp_path / "data")
    fast = ("--epochs", "1", "--batch-size", "8")
    monkeypatch.setattr(continual, "N_DEV", 4)
    monkeypatch.setattr(continual, "MAX_TOKENS", 12)
    monkeypatch.setattr(
        continual, "TASKS", tuple(continual.dataclasses.replace(task, options=fast) for task in TASKS[:3])
    )
    corpus = Corpus(tmp_path / "data", base, tmp_path / "cut")
    assert corpus.labels == {
        "news": {"person", "location"},
        "tweets": {"person", "location"},
        "ai": {"person", "product"},
    }
    for _ in range(2):
        for way in ("sum", "adapters"):
            Sequence(way, 0, corpus, tmp_path / "out", trials).run(base)
    names = [json.loads(line)["trial"] for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert names == ["first/0/news", "sum/0/tweets", "sum/0/ai", "adapters/0/tweets", "adapters/0/ai"]
    matrices = collect(trials, ["sum", "adapters"], [0])
    assert set(matrices) == {"sum", "adapters", "routed"}
    own = matrices["adapters"][0]
    # Nothing that was learned changes.
    assert own[0][0] == own[1][0] == own[2][0]
    assert own[1][1] == own[2][1]
    assert not (tmp_path / "out" / "seed=0" / "sum").exists()
