"""`spanmill annotate` with a calibrator and thresholds: what is written, what is another run, what is refused."""

import dataclasses
import gzip
import json

import fsspec
import numpy as np
import pytest

from pipelines.__main__ import main
from schemas.calibration import Calibrator, Isotonic, LabelCurve, Temperature, Thresholds
from tests.pipelines.conftest import read_report, read_rows, run_folder, snapshot
from transforms.scoring.calibration import calibrate_scores

CALIBRATOR = Calibrator(
    kind="isotonic",
    overall=Isotonic((0.3, 0.9), (0.1, 0.6)),
    labels={"PER": LabelCurve(99, Isotonic((0.5, 1.0), (0.2, 0.9))), "ORG": LabelCurve(3, None)},
    fitted_on={"gold": "dev.conll"},
)


@pytest.fixture
def save(tmp_path):
    """Writes an artefact to a file and returns its path."""

    def write(artefact, name="artefact.json"):
        (tmp_path / name).write_text(artefact.to_json())
        return tmp_path / name

    return write


def _entities(output, column="entities"):
    return [
        (row["source"], row["row"], entity["start"], entity["end"], entity["label"], entity["score"])
        for row in read_rows(output)
        for entity in row[column]
    ]


def test_scores_are_calibrated(annotate, corpus, tmp_path, save):
    annotate(source=corpus)
    assert annotate("--calibrator", save(CALIBRATOR), source=corpus, output="calibrated") == 0
    raw, calibrated = _entities(tmp_path / "out"), _entities(tmp_path / "calibrated")
    assert [entity[:5] for entity in calibrated] == [entity[:5] for entity in raw]
    labels = sorted({entity[4] for entity in raw})
    scores = np.array([entity[5] for entity in raw], dtype=np.float32)
    label = np.array([labels.index(entity[4]) for entity in raw])
    expected = calibrate_scores(CALIBRATOR, scores, label, labels)
    assert [entity[5] for entity in calibrated] == expected.tolist()
    assert len({entity[5] for entity in calibrated}) > 5
    assert labels == ["LOC", "ORG", "PER"]
    histograms = read_report(tmp_path / "calibrated")["score_histogram"]["by_label"]
    bins = np.bincount((expected[label == 2] * 20).astype(int), minlength=20)
    assert histograms["PER"] == bins.tolist()


def test_a_calibrator_makes_another_run_whatever_its_file_is_called(annotate, corpus, tmp_path, save):
    annotate(source=corpus)
    plain = snapshot(tmp_path / "out")
    annotate("--calibrator", save(CALIBRATOR), source=corpus)
    both = snapshot(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("run=*"))) == 2
    assert {name: both[name] for name in plain} == plain
    assert annotate("--calibrator", save(CALIBRATOR, "same.json"), source=corpus) == 0
    assert snapshot(tmp_path / "out") == both
    other = dataclasses.replace(CALIBRATOR, overall=Isotonic((0.3, 0.9), (0.1, 0.7)))
    annotate("--calibrator", save(other), source=corpus)
    assert len(list((tmp_path / "out").glob("run=*"))) == 3


def test_a_run_tells_which_calibrator_and_thresholds_it_used(annotate, corpus, tmp_path, save):
    thresholds = Thresholds(precision=0.9, labels={"PER": 0.5, "LOC": None}, calibrator=CALIBRATOR.digest)
    options = ["--calibrator", save(CALIBRATOR), "--thresholds", save(thresholds, "thresholds.json")]
    assert annotate(*options, source=corpus) == 0
    settings = read_report(tmp_path / "out")["settings"]["entities"]
    assert settings["calibrator"] == CALIBRATOR.digest
    assert settings["thresholds"] == {"PER": 0.5, "LOC": None}
    assert CALIBRATOR.digest in (run_folder(tmp_path / "out") / "report/report.html").read_text()


def test_thresholds_cut_each_label_at_its_own(annotate, corpus, tmp_path, save):
    annotate(source=corpus)
    raw = _entities(tmp_path / "out")
    cut = float(np.median([entity[5] for entity in raw if entity[4] == "PER"]))
    thresholds = Thresholds(precision=0.9, labels={"PER": cut, "LOC": None})
    assert annotate("--thresholds", save(thresholds), "--keep-below", source=corpus, output="cut") == 0
    is_above = [entity[4] == "ORG" or (entity[4] == "PER" and entity[5] >= np.float32(cut)) for entity in raw]
    above = [entity for entity, is_one in zip(raw, is_above, strict=True) if is_one]
    assert _entities(tmp_path / "cut") == above
    assert _entities(tmp_path / "cut", "below") == [e for e, is_one in zip(raw, is_above, strict=True) if not is_one]
    assert 0 < sum(entity[4] == "PER" for entity in above) < sum(entity[4] == "PER" for entity in raw)


def test_a_threshold_by_flag_wins_over_the_file(annotate, corpus, tmp_path, save):
    annotate(source=corpus)
    thresholds = save(Thresholds(precision=0.9, labels={"PER": None, "LOC": None, "ORG": None}))
    assert annotate("--thresholds", thresholds, "--label-threshold=PER=0", source=corpus, output="cut") == 0
    assert _entities(tmp_path / "cut") == [entity for entity in _entities(tmp_path / "out") if entity[4] == "PER"]


def test_artefacts_are_read_from_urls_and_compressed_files(annotate, corpus, tmp_path, save):
    with fsspec.open("memory://artefacts/calibrator.json", "w") as file:
        file.write(CALIBRATOR.to_json())
    (tmp_path / "calibrator.json.gz").write_bytes(gzip.compress(CALIBRATOR.to_json().encode()))
    assert annotate("--calibrator", "memory://artefacts/calibrator.json", source=corpus) == 0
    before = snapshot(tmp_path / "out")
    assert annotate("--calibrator", tmp_path / "calibrator.json.gz", source=corpus) == 0
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrator", "{tmp}/none.json"], "expected a file at --calibrator '{tmp}/none.json', found none"),
        (["--thresholds", "{tmp}/none.json"], "expected a file at --thresholds '{tmp}/none.json', found none"),
        (["--thresholds", "memory://nowhere.json"], "expected a file at --thresholds 'memory://nowhere.json'"),
        (["--thresholds", "{tmp}"], "cannot read --thresholds"),
        (["--thresholds", "nonsense://x/t.json"], "cannot read --thresholds 'nonsense://x/t.json'"),
        (["--calibrator", "{tmp}/binary.json"], "cannot read --calibrator"),
        (["--calibrator", "{tmp}/cut.json"], "cannot read a calibrator from '{tmp}/cut.json': expected JSON"),
        (["--calibrator", "{tmp}/thresholds.json"], "expected calibrator_version 1, found None; make the file anew"),
        (["--thresholds", "{tmp}/calibrator.json"], "expected thresholds_version 1, found None; make the file anew"),
        (["--calibrator", "{tmp}/stranger.json"], "in the calibrator, found 'DOG'"),
        (["--thresholds", "{tmp}/strangers.json"], "in the thresholds, found 'DOG'"),
        (
            ["--thresholds", "{tmp}/calibrated.json"],
            "no calibrator, found some of calibrator " + CALIBRATOR.digest[:16],
        ),
        (["--thresholds", "{tmp}/thresholds.json", "--calibrator", "{tmp}/calibrator.json"], "some of no calibrator"),
        (["--thresholds", "{tmp}/calibrated.json", "--calibrator", "{tmp}/other.json"], "give the calibrator that"),
    ],
)
def test_a_wrong_artefact_is_answered_in_one_line_before_any_model_is_loaded(
    arguments, message, tmp_path, tiny_checkpoint, save, monkeypatch, capsys
):
    temperature = Calibrator(kind="temperature", overall=Temperature(2.0), labels={}, fitted_on={})
    save(CALIBRATOR, "calibrator.json")
    save(temperature, "other.json")
    save(dataclasses.replace(temperature, labels={"DOG": LabelCurve(1, None)}), "stranger.json")
    save(Thresholds(precision=0.9, labels={"PER": 0.5}), "thresholds.json")
    save(Thresholds(precision=0.9, labels={"PER": 0.5}, calibrator=CALIBRATOR.digest), "calibrated.json")
    save(Thresholds(precision=0.9, labels={"DOG": None}), "strangers.json")
    (tmp_path / "cut.json").write_text(CALIBRATOR.to_json()[:100])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    (tmp_path / "a.txt").write_text("Anna\n")
    monkeypatch.setattr("transforms.models.torch_classifier.load_network", None)
    words = ["annotate", "--input", tmp_path / "a.txt", "--output", tmp_path / "out", "--model", tiny_checkpoint]
    status = main([*map(str, words), *(word.format(tmp=tmp_path) for word in arguments)])
    error = capsys.readouterr().err.strip()
    assert status == 2
    assert message.format(tmp=tmp_path) in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--calibrator", "--thresholds"])
def test_a_broken_artefact_is_found_before_the_model_is_looked_for(annotate, corpus, tmp_path, flag, capsys):
    (tmp_path / "broken.json").write_text(json.dumps([]))
    assert annotate(flag, tmp_path / "broken.json", source=corpus, model=tmp_path / "no-model") == 2
    assert "broken.json" in capsys.readouterr().err
