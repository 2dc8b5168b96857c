import json
import pickle

import pytest

from schemas.calibration import Calibrator, Isotonic, LabelCurve, Temperature, Thresholds
from schemas.errors import ConfigError

_TEMPERATURE = Calibrator(
    kind="temperature",
    overall=Temperature(1.9),
    labels={"PER": LabelCurve(812, Temperature(0.1 + 0.2)), "LOC": LabelCurve(4, None)},
    fitted_on={"gold": "dev.conll", "model": "0" * 64, "documents": 12},
)
_ISOTONIC = Calibrator(
    kind="isotonic",
    overall=Isotonic((0.2, 1 / 3, 0.9), (0.0, 0.5, 1.0)),
    labels={"Ö\n\ud800": LabelCurve(10, Isotonic((0.5,), (2 / 3,)))},
    fitted_on={},
)
_THRESHOLDS = Thresholds(precision=0.9, labels={"PER": 0.1 + 0.2, "ORG": None}, calibrator="0af" + "1" * 61)


@pytest.mark.parametrize("calibrator", [_TEMPERATURE, _ISOTONIC])
def test_calibrator_survives_json_and_pickle(calibrator):
    again = Calibrator.from_json(calibrator.to_json(), file="c.json")
    assert again == calibrator
    assert again.digest == calibrator.digest
    assert pickle.loads(pickle.dumps(calibrator)) == calibrator


def test_thresholds_survive_json_and_pickle():
    assert Thresholds.from_json(_THRESHOLDS.to_json(), file="t.json") == _THRESHOLDS
    assert pickle.loads(pickle.dumps(_THRESHOLDS)) == _THRESHOLDS


def test_calibrator_says_in_its_file_which_labels_have_no_curve_of_their_own():
    value = json.loads(_TEMPERATURE.to_json())
    assert value == {
        "calibrator_version": 1,
        "kind": "temperature",
        "overall": {"temperature": 1.9},
        "labels": {
            "LOC": {"entities": 4, "curve": "overall"},
            "PER": {"entities": 812, "curve": {"temperature": 0.1 + 0.2}},
        },
        "fitted_on": {"gold": "dev.conll", "model": "0" * 64, "documents": 12},
    }
    assert _TEMPERATURE.curve_of("PER") == Temperature(0.1 + 0.2)
    assert _TEMPERATURE.curve_of("LOC") == _TEMPERATURE.curve_of("never seen") == Temperature(1.9)


def test_thresholds_have_null_where_no_threshold_will_do():
    value = json.loads(_THRESHOLDS.to_json())
    assert value.pop("thresholds_version") == 1
    assert value == {"precision": 0.9, "labels": {"ORG": None, "PER": 0.1 + 0.2}, "calibrator": _THRESHOLDS.calibrator}


def test_digest_is_of_the_content_and_not_of_its_layout():
    value = json.loads(_TEMPERATURE.to_json())
    shuffled = json.dumps(dict(reversed(value.items())), indent=7)
    assert Calibrator.from_json(shuffled, file="c.json").digest == _TEMPERATURE.digest
    value["labels"]["PER"]["curve"]["temperature"] = 2.0
    assert Calibrator.from_json(json.dumps(value), file="c.json").digest != _TEMPERATURE.digest


def _changed(artefact, path, value):
    """The artefact's JSON with the value at a path of keys replaced."""
    root = json.loads(artefact.to_json())
    *parents, last = path
    inner = root
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return json.dumps(root)


@pytest.mark.parametrize(
    ("artefact", "path", "value", "message"),
    [
        (_TEMPERATURE, ["calibrator_version"], 2, "expected calibrator_version 1, found 2"),
        (_TEMPERATURE, ["calibrator_version"], True, "found True"),
        (_TEMPERATURE, ["kind"], "platt", "['isotonic', 'temperature'], found 'platt'"),
        (_TEMPERATURE, ["kind"], [], "found []"),
        (_TEMPERATURE, ["kind"], "isotonic", "['calibrated', 'scores']"),
        (_TEMPERATURE, ["extra"], 1, "'extra'"),
        (_TEMPERATURE, ["overall"], None, "found None"),
        (_TEMPERATURE, ["overall", "temperature"], 0, "between 0.1 and 10.0, found 0"),
        (_TEMPERATURE, ["overall", "temperature"], float("nan"), "found nan"),
        (_TEMPERATURE, ["overall", "temperature"], 10**400, "found 1000"),
        (_TEMPERATURE, ["overall", "temperature"], "1", "found '1'"),
        (_TEMPERATURE, ["overall", "temperature"], True, "found True"),
        (_TEMPERATURE, ["overall", "temperature"], [1.0], "found (1.0,)"),
        (_TEMPERATURE, ["labels"], [], "an object for labels"),
        (_TEMPERATURE, ["labels", "LOC"], {"entities": 4}, "['curve', 'entities'] for label 'LOC'"),
        (_TEMPERATURE, ["labels", "LOC", "entities"], -1, "number of entities for label 'LOC', found -1"),
        (_TEMPERATURE, ["labels", "LOC", "curve"], "none", "found 'none'"),
        (_TEMPERATURE, ["fitted_on"], "dev", "an object for fitted_on, found 'dev'"),
        (_ISOTONIC, ["overall", "scores"], [0.2, 0.2, 0.9], "scores that rise"),
        (_ISOTONIC, ["overall", "scores"], [0.2, 0.9], "3 and 2"),
        (_ISOTONIC, ["overall", "scores"], 5, "a list of scores, found 5"),
        (_ISOTONIC, ["overall", "scores"], None, "a list of scores, found None"),
        (_ISOTONIC, ["overall", "calibrated"], [0.0, 0.5, 0.4], "never fall"),
        (_ISOTONIC, ["overall", "calibrated"], [0.0, 0.5, 1.1], "between 0 and 1, found 1.1"),
        (_ISOTONIC, ["overall"], {"scores": [], "calibrated": []}, "0 and 0"),
        (_THRESHOLDS, ["thresholds_version"], "1", "expected thresholds_version 1, found '1'"),
        (_THRESHOLDS, ["precision"], 90, "a precision between 0 and 1, found 90"),
        (_THRESHOLDS, ["precision"], None, "found None"),
        (_THRESHOLDS, ["labels", "PER"], 1.5, "label 'PER' between 0 and 1, found 1.5"),
        (_THRESHOLDS, ["labels"], None, "an object for labels"),
        (_THRESHOLDS, ["calibrator"], "x" * 64, "digest or '', found 'xxx"),
        (_THRESHOLDS, ["calibrator"], None, "found None"),
    ],
)
def test_from_json_names_the_file_and_what_is_wrong_in_one_line(artefact, path, value, message):
    with pytest.raises(ConfigError, match="make the file anew") as caught:
        type(artefact).from_json(_changed(artefact, path, value), file="a/b.json")
    assert "from 'a/b.json'" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"calibrator"', "{}", "[" * 100_000])
@pytest.mark.parametrize("kind", [Calibrator, Thresholds])
def test_from_json_refuses_what_is_no_artefact(text, kind):
    with pytest.raises(ConfigError, match=r"'f\.json'"):
        kind.from_json(text, file="f.json")


def test_each_artefact_is_told_from_the_other():
    with pytest.raises(ConfigError, match="thresholds_version"):
        Thresholds.from_json(_TEMPERATURE.to_json(), file="c.json")
    with pytest.raises(ConfigError, match="calibrator_version"):
        Calibrator.from_json(_THRESHOLDS.to_json(), file="t.json")


def test_calibrator_refuses_curves_of_another_kind():
    with pytest.raises(ConfigError, match="Isotonic"):
        Calibrator(kind="temperature", overall=Isotonic((0.5,), (0.5,)), labels={}, fitted_on={})
    with pytest.raises(ConfigError, match="'platt'"):
        Calibrator(kind="platt", overall=Temperature(1.0), labels={}, fitted_on={})
