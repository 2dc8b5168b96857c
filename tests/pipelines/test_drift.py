"""The drift job: two runs in, a verdict out, from their receipts alone."""

import json
import random
import shutil

import pytest

from pipelines.__main__ import main
from tests.conftest import write_checkpoint
from tests.pipelines.conftest import run_folder, snapshot

_NAMES = ("Anna", "Berlin")


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory):
    """A checkpoint with other random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("other") / "model", seed=1)


@pytest.fixture
def drift(tmp_path):
    """Runs the job and returns its exit status."""

    def run(*arguments, a="a", b="b"):
        words = ["drift", str(tmp_path / a), str(tmp_path / b), "--replicates", "50"]
        return main([*words, *map(str, arguments)])

    return run


@pytest.fixture
def report(tmp_path):
    """Reads a report."""
    return lambda output="drift": json.loads((tmp_path / output / "drift.json").read_text())


def _write(folder, *, seed, words=12, unknown=0.0, files=12):
    """Files of 30 documents each, of the words that the tiny models were made for."""
    rng = random.Random(seed)
    folder.mkdir()
    for at in range(files):
        lines = []
        for _ in range(30):
            line = [rng.choice((*_NAMES, "lives", "in", "while", "x")) for _ in range(rng.randint(words // 2, words))]
            lines.append(" ".join("𓀀" if rng.random() < unknown else word for word in line))
        (folder / f"{folder.name}{at:02d}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _measures(report):
    return {(row["name"], row["label"]): row for row in report["measures"]}


@pytest.fixture(scope="module")
def annotated(tiny_checkpoint, tmp_path_factory):
    """Run `a`, run `b` of the same kind of text, run `c` of longer documents with words that nobody knows."""
    folder = tmp_path_factory.mktemp("annotated")
    for name, seed, options in (("a", 0, {}), ("b", 1, {}), ("c", 2, {"words": 60, "unknown": 0.3})):
        text = _write(folder / f"text-{name}", seed=seed, **options)
        words = ["--input", text, "--output", folder / name, "--model", tiny_checkpoint, "--max-restarts", "0"]
        assert main(["annotate", *map(str, words), "--no-progress"]) == 0
    return folder


@pytest.fixture
def runs(annotated, tmp_path):
    """A copy of these runs."""
    shutil.copytree(annotated, tmp_path, dirs_exist_ok=True)


def test_drift_tells_a_run_of_other_text_from_one_of_the_same(runs, drift, report, tmp_path, capsys):
    assert drift("--output", tmp_path / "same") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Stable: ")
    assert "same/drift.html" in printed
    assert report("same")["verdict"] == "stable"
    assert report("same")["slices"] == {"a": 12, "b": 12}
    assert drift("--output", tmp_path / "other", b="c") == 0
    assert capsys.readouterr().out.startswith("Drifted from A to B: ")
    found = report("other")
    measures = _measures(found)
    assert measures["unknown_pieces", ""]["verdict"] == "drifted"
    assert measures["unknown_pieces", ""]["a"] == 0
    assert measures["document_lengths", ""]["verdict"] == "drifted"
    assert measures["dead_letters", ""]["verdict"] == "stable"
    assert {row["caveat"] for row in found["measures"]} == {""}
    assert (found["differences"], found["shared_inputs"]) == ([], 0)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["drift.html", "drift.json"]


def test_numbers_are_those_of_the_runs_own_reports(runs, drift, report, tmp_path):
    drift("--output", tmp_path / "drift", b="c")
    found = report()
    for side, name in (("a", "a"), ("b", "c")):
        own = json.loads((run_folder(tmp_path / name) / "report/report.json").read_text())
        assert found["totals"][side] == {
            "documents": own["documents"],
            "dead_rows": own["failed_documents"],
            "entities": own["entities"],
            "tokens": own["tokens"],
        }
        assert found["lengths"][side] == own["length_histogram"]["documents"]
        entities = {label: row[side]["entities"] for label, row in found["labels"].items() if row[side]["entities"]}
        assert entities == {label: n for label, n in own["entities_by_label"].items() if n}
        rate = _measures(found)["entity_rate", ""][side]
        assert rate == pytest.approx(1000 * own["entities"] / own["tokens"])


def test_no_document_and_no_annotation_is_read(runs, drift, report, tmp_path):
    drift("--output", tmp_path / "before")
    for name in ("a", "b"):
        for path in [*(tmp_path / f"text-{name}").iterdir(), *run_folder(tmp_path / name).glob("data/*")]:
            path.unlink()
    drift("--output", tmp_path / "after")
    assert report("before") == report("after")


def test_the_same_command_twice_writes_the_same_bytes(runs, drift, tmp_path):
    before = [snapshot(tmp_path / name) for name in "ab"]
    drift("--output", tmp_path / "drift")
    first = {name: content for name, (_, content) in snapshot(tmp_path / "drift").items()}
    drift("--output", tmp_path / "drift")
    assert {name: content for name, (_, content) in snapshot(tmp_path / "drift").items()} == first
    assert [snapshot(tmp_path / name) for name in "ab"] == before, "and the runs are as they were"


def test_drift_without_output_writes_nothing(runs, drift, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert drift() == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("b", "options", "status"),
    [
        ("c", [], 0),
        ("c", ["--fail-on", "drifted"], 3),
        ("c", ["--fail-on", "moderate"], 3),
        ("b", ["--fail-on", "moderate"], 0),
        ("b", ["--fail-on", "drifted"], 0),
    ],
)
def test_exit_status_tells_of_drift_where_that_is_wanted(runs, drift, b, options, status):
    assert drift(*options, b=b) == status


def test_thresholds_are_set_by_flags_or_a_file(runs, drift, report, tmp_path):
    (tmp_path / "drift.toml").write_text('threshold = ["unknown-pieces=0.5/0.9"]\n')
    lax = [f"{name}=1000/1000" for name in ("entity-rate", "label_shares", "scores", "document-lengths", "new-forms")]
    options = ["--config", tmp_path / "drift.toml", "--output", tmp_path / "drift"]
    drift(*options, b="c")
    assert _measures(report())["unknown_pieces", ""]["verdict"] == "stable"
    assert report()["settings"]["thresholds"]["unknown_pieces"] == "0.5/0.9"
    drift("--threshold", *lax, "unknown-pieces=0.05/0.9", "--output", tmp_path / "drift", b="c")
    assert report()["verdict"] == "moderate"
    assert drift("--threshold", *lax, "unknown-pieces=0.05/0.9", "--fail-on", "drifted", b="c") == 0
    assert drift("--threshold", *lax, "unknown-pieces=0.05/0.9", "--fail-on", "moderate", b="c") == 3


def test_other_models_and_settings_are_flagged(runs, annotate, other_checkpoint, drift, report, tmp_path, capsys):
    annotate(source=tmp_path / "text-b", output="model", model=other_checkpoint)
    annotate("--threshold=0.5", source=tmp_path / "text-b", output="threshold")
    annotate("--offset-unit=utf8", "--layout=flat", source=tmp_path / "text-b", output="unit")
    capsys.readouterr()
    caveats = {}
    for name in ("model", "threshold", "unit"):
        assert drift("--output", tmp_path / name / "drift", b=name) == 0
        caveats[name] = {row["name"]: row["caveat"] for row in report(f"{name}/drift")["measures"]}
    assert set(caveats["model"].values()) == {"other model", ""}
    assert [name for name, caveat in caveats["model"].items() if not caveat] == ["dead_letters"]
    assert {name for name, caveat in caveats["threshold"].items() if caveat == "other settings"} == {
        *("entity_rate", "label_shares", "scores", "new_forms")
    }
    assert set(caveats["unit"].values()) == {""}
    assert "The runs have different models" in capsys.readouterr().out


def test_receipts_of_an_earlier_version_are_read_and_what_they_lack_is_told(runs, drift, report, tmp_path, capsys):
    for path in (run_folder(tmp_path / "a") / "_commits").iterdir():
        receipt = json.loads(path.read_text())
        del receipt["tally"]["pieces"], receipt["tally"]["forms"]
        path.write_text(json.dumps(receipt))
    assert drift("--output", tmp_path / "drift") == 0
    measures = _measures(report())
    for name in ("unknown_pieces", "new_forms"):
        assert (measures[name, ""]["verdict"], measures[name, ""]["reason"]) == (None, "not_recorded")
    assert measures["entity_rate", ""]["verdict"] == "stable"
    assert "not recorded by 12 slices of A" in capsys.readouterr().out


def test_runs_of_several_taggers_have_their_labels_behind_names(annotate, tiny_checkpoint, drift, report, tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        text = _write(tmp_path / f"text-{name}", seed=seed, files=3)
        taggers = [f"{tagger}=model:model={tiny_checkpoint}" for tagger in ("one", "two")]
        words = ["--input", text, "--output", tmp_path / name, "--no-progress", "--max-restarts", "0"]
        assert main(["annotate", *map(str, words), "--tagger", *taggers]) == 0
    assert drift("--output", tmp_path / "drift") == 0
    assert {label.partition("/")[0] for label in report()["labels"]} == {"one", "two"}
    assert ("scores", "two/PER") in _measures(report())


def test_a_run_that_grew_is_measured_with_what_was_added(annotate, drift, report, tmp_path):
    text = _write(tmp_path / "text", seed=0, files=2)
    annotate(source=text, output="a")
    (text / "new.txt").write_text("Anna\n" * 7)
    annotate(source=text, output="b")
    drift("--output", tmp_path / "drift")
    assert report()["totals"]["b"]["documents"] - report()["totals"]["a"]["documents"] == 7
    assert report()["shared_inputs"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tmp}/a", "{tmp}/none"], "expected a run of spanmill annotate as RUN_B, found none at"),
        (["{tmp}/half", "{tmp}/a"], "expected a complete run as RUN_A, found one without _SUCCESS; run annotate again"),
        (["{tmp}/a"], "expected RUN_B, found none"),
        (["{tmp}/a", "{tmp}/a", "--threshold", "scores=0.1"], "expected two numbers in --threshold scores=MODERATE"),
        (["{tmp}/a", "{tmp}/a", "--threshold", "scores"], "expected --threshold KEY=VALUE"),
        (["{tmp}/a", "{tmp}/a", "--threshold", "score=0.1/0.2"], "did you mean 'scores'"),
        (["{tmp}/a", "{tmp}/a", "--threshold", "scores=0.3/0.2"], "in order, found 0.3 and 0.2"),
        (["{tmp}/a", "{tmp}/a", "--replicates", "-1"], "expected 0 replicates or more"),
        (["{tmp}/a", "{tmp}/a", "--fail-on", "stable"], "--fail-on"),
        (["{tmp}/a", "{tmp}/a", "--output", "nosuch://x"], "cannot write to --output 'nosuch://x'"),
        (["{tmp}/a", "{tmp}/a", "--runner", "DirectRunner"], "unknown flag '--runner'"),
    ],
)
def test_drift_answers_wrong_input_with_one_line(annotate, tmp_path, capsys, words, message):
    annotate(source=_write(tmp_path / "text", seed=0, files=1), output="a")
    if "half" in words[0]:
        annotate(source=tmp_path / "text", output="half")
        (run_folder(tmp_path / "half") / "_SUCCESS").unlink()
    capsys.readouterr()
    assert main(["drift", *(word.format(tmp=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
