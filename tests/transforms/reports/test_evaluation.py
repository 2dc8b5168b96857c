"""The page of an evaluation, and the schema of the report that it is made from."""

import copy
import json

import jsonschema
import pytest

from schemas.manifest import dump_json
from tests.transforms.reports.conftest import HOSTILE, Page
from tests.transforms.reports.evaluations import (
    MANY_LABELS,
    SCHEMA,
    make_hostile_report,
    make_report,
    make_void_report,
)
from transforms.reports.evaluation import render_evaluation

REPORT = make_report()
PAGE = render_evaluation(REPORT)
HARMLESS = Page(render_evaluation(make_hostile_report("x")))
SECTIONS = (
    *("scores", "overlaps", "confusion", "errors", "calibration", "breakdowns", "worst", "samples", "data", "settings"),
)


def _validate(report):
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


def _change(**parts):
    """The report with other parts, and without calibration unless that is asked for: its charts take long to draw."""
    return copy.deepcopy(REPORT) | {"calibration": None} | parts


def _links(page):
    return [attrs["href"] for attrs in page.find("a")]


def test_render_evaluation_is_balanced_and_inert():
    page = Page(PAGE)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert page.comments == []
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith("#")
        assert "src" not in attrs


def test_render_evaluation_carries_a_strict_policy():
    [policy] = [attrs["content"] for attrs in Page(PAGE).find("meta") if "http-equiv" in attrs]
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("forbidden", ["http://", "https://", "<script", "@import", "url(//", "xmlns"])
def test_render_evaluation_refers_to_nothing_outside(forbidden):
    assert forbidden not in PAGE


def test_render_evaluation_uses_every_id_once_and_links_to_those_that_exist():
    page = Page(PAGE)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in SECTIONS} <= set(_links(page))
    assert {link.removeprefix("#") for link in _links(page)} <= set(ids)


def test_render_evaluation_names_every_region_that_scrolls():
    regions = Page(PAGE).find("div", "scroll")
    assert len(regions) > 15
    assert all(attrs["role"] == "region" and attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)
    names = [attrs["aria-label"] for attrs in regions]
    assert len(names) == len(set(names))


def test_render_evaluation_begins_with_how_good_it_is():
    texts = Page(PAGE).texts
    f1 = f"{100 * REPORT['exact']['default']['micro']['f1']:.1f}"
    [lede] = [text for text in texts if text.startswith("F1 is ")]
    low, high = REPORT["intervals"]["exact.default.micro.f1"]
    assert f"F1 is {f1} (95 % interval {100 * low:.1f} to {100 * high:.1f})" in lede
    assert texts.index(lede) < texts.index(f1) < texts.index("Weakest label") < texts.index("Scores by label")


def test_render_evaluation_shows_every_label_with_its_scores():
    texts = Page(PAGE).texts
    for label, row in REPORT["exact"]["default"]["labels"].items():
        assert label in texts
        for name in ("precision", "recall", "f1"):
            low, high = REPORT["intervals"][f"exact.default.labels.{label}.{name}"]
            assert f"{100 * row[name]:.1f}" in texts
            assert f"{100 * low:.1f}–{100 * high:.1f}" in texts


@pytest.mark.parametrize("path", ["partial.type", "partial.partial", "surface.micro", "exact.strict.macro"])
def test_render_evaluation_shows_the_other_scores(path):
    scores = REPORT
    for name in path.split("."):
        scores = scores[name]
    low, high = REPORT["intervals"][f"{path}.f1"]
    assert f"{100 * scores['f1']:.1f}</b><small>{100 * low:.1f}–{100 * high:.1f}</small>" in PAGE


def test_render_evaluation_fills_the_table_of_confusions():
    report = make_void_report() | {
        "exact": REPORT["exact"],
        "confusion": {"PER": {"PER": 711, "ORG": 712, "O": 713}, "ORG": {"ORG": 714}, "O": {"ORG": 715}},
    }
    texts = Page(render_evaluation(report)).texts
    assert [text for text in texts if text.startswith("71")] == ["711", "712", "713", "714", "715"]
    assert texts.count("·") == 3


def test_render_evaluation_stacks_errors_by_kind():
    page = Page(PAGE)
    assert len(page.find("span", "stack")) == len(REPORT["exact"]["default"]["labels"])
    for kind, by_label in REPORT["errors"].items():
        assert f"{sum(by_label.values())} {kind}" in page.texts


def test_render_evaluation_marks_gold_and_predicted_in_context():
    sample = {
        **{"id": "doc", "source": "a.conll", "row": 4, "kind": "boundary"},
        "gold": {"start": 104, "end": 112, "label": "LOC", "text": "New York"},
        "predicted": {"start": 108, "end": 112, "label": "LOC", "text": "York", "score": 0.625},
        **{"context": "in\nNew York today", "context_start": 101},
    }
    page = render_evaluation(_change(samples=[sample]))
    read = Page(page)
    [mark] = [attrs for attrs in read.find("mark") if "title" in attrs]
    assert mark["title"] == "LOC · score 0.625 · not in gold"
    assert 'dir="auto">in\n<span class="missed' in page
    assert "New " in read.texts
    assert "York" in read.texts
    assert "score 0.625" in read.texts


def test_render_evaluation_shows_an_entity_without_a_score():
    [sample] = [sample for sample in REPORT["samples"] if sample["kind"] == "spurious"][:1]
    sample = copy.deepcopy(sample)
    sample["predicted"]["score"] = None
    page = Page(render_evaluation(_change(samples=[sample])))
    [mark] = [attrs for attrs in page.find("mark") if "title" in attrs]
    assert "score" not in mark["title"]


@pytest.mark.parametrize(("start", "end"), [(0, 5), (90, 400), (500, 600), (100, 100)])
def test_render_evaluation_survives_places_outside_of_the_context(start, end):
    span = {"start": start, "end": end, "label": "PER", "text": "x"}
    sample = {**{"id": "a", "source": "b", "row": 0, "kind": "missed"}, "gold": span, "predicted": None}
    page = Page(render_evaluation(_change(samples=[{**sample, "context": "some text", "context_start": 100}])))
    assert "1 missed" in page.texts


def test_render_evaluation_groups_samples_by_kind_and_opens_the_first():
    details = Page(PAGE).find("details")
    assert sum("open" in attrs for attrs in details) == 1
    assert len(Page(PAGE).find("article")) == len(REPORT["samples"])


def test_render_evaluation_lists_what_is_odd_about_the_data():
    texts = Page(PAGE).texts
    for name in ("weblog-11", "email-7", "answers-3", "reviews-9", "don't", "dont"):
        assert name in texts
    assert any("3 predicted sequences" in text for text in texts)


def test_render_evaluation_tells_of_thresholds_that_cannot_be_reached():
    texts = Page(PAGE).texts
    assert texts.count("not reached") == 1
    assert f"{REPORT['calibration']['thresholds']['labels']['PER']:.3f}" in texts


@pytest.mark.parametrize("name", ["thresholds", "calibrator"])
def test_render_evaluation_does_without_parts_of_calibration(name):
    report = _change(calibration=REPORT["calibration"] | {name: None})
    assert "<h2>Calibration</h2>" in render_evaluation(report)


@pytest.mark.parametrize(
    ("part", "value", "section"),
    [
        ("calibration", None, "calibration"),
        ("breakdowns", {}, "breakdowns"),
        ("worst", [], "worst"),
        ("samples", [], "samples"),
    ],
)
def test_render_evaluation_leaves_sections_without_data_out(part, value, section):
    page = Page(render_evaluation(_change(**{part: value})))
    assert f"#{section}" not in _links(page)
    assert section not in [attrs.get("id") for attrs in page.find("section")]


def test_render_evaluation_says_where_both_modes_agree():
    report = _change()
    report["exact"]["strict"] = report["exact"]["default"]
    assert "Both modes read the same entities." in Page(render_evaluation(report)).texts


def test_render_evaluation_says_in_a_line_what_a_breakdown_with_one_value_says():
    texts = Page(PAGE).texts
    assert "source" in texts
    assert PAGE.count("uner_en_ewt/dev.conll</bdi> for all entities") == 1


def test_render_evaluation_folds_long_breakdowns():
    group = REPORT["breakdowns"]["genre"][0]
    page = Page(render_evaluation(_change(breakdowns={"genre": [group | {"value": f"g{k}"} for k in range(30)]})))
    assert "18 more" in page.texts
    assert "g29" in page.texts


def test_render_evaluation_of_nothing_says_so():
    page = Page(render_evaluation(make_void_report()))
    assert "There is nothing to score: neither gold nor the prediction has an entity." in page.texts
    assert "There are no entities to score." in page.texts
    assert page.find("svg") == []
    assert "–" in page.texts


def test_render_evaluation_of_a_perfect_prediction_says_so():
    report = make_void_report() | {"exact": REPORT["exact"]}
    report["counts"] |= {"documents": 1, "gold_entities": 5, "predicted_entities": 5}
    assert "No errors: every entity in gold was found, and nothing else." in Page(render_evaluation(report)).texts


def test_render_evaluation_of_many_labels_stays_readable():
    page = Page(render_evaluation(make_report(MANY_LABELS)))
    assert page.find("div", "dense")
    assert "LANGUAGE" in page.texts
    many = make_report(tuple(f"label-{k:02d}" for k in range(60)), n_entities=4000)
    texts = Page(render_evaluation(many | {"calibration": None})).texts
    assert "label-59" in texts
    assert any("The 20 most frequent of 60 labels are shown." in text for text in texts)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_render_evaluation_escapes_everything_from_data(hostile):
    page = render_evaluation(make_hostile_report(hostile))
    read = Page(page)
    assert "<script" not in page
    assert "<img" not in page
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in HARMLESS.tags]
    assert not [name for _, attrs in read.tags for name in attrs if name.startswith("on")]
    assert "".join(read.texts).count(hostile) >= 60
    assert read.find("title") == [{}]
    assert "Evaluation report" in read.texts


@pytest.mark.parametrize("code", ["\x00", "\x1b", "\x7f", "\x85", "\u202d", "\u202e", "\ud800"], ids=ascii)
def test_render_evaluation_replaces_characters_that_would_do_harm(code):
    page = render_evaluation(make_hostile_report(f"a{code}b") | {"calibration": None})
    page.encode()
    assert code not in page
    assert "a\ufffdb" in page


def test_render_evaluation_keeps_lines_of_contexts_and_not_of_names():
    page = render_evaluation(make_hostile_report("a\nb") | {"calibration": None})
    assert "a\ufffdb" in page
    assert "a\nb and a\nb" in "".join(Page(page).texts).replace("a\ufffdb", "")


def test_render_evaluation_gives_the_same_bytes_of_a_report_read_back():
    assert render_evaluation(json.loads(dump_json(REPORT))) == PAGE


@pytest.mark.parametrize("report", [REPORT, make_void_report(), make_hostile_report("x"), make_report(MANY_LABELS)])
def test_schema_describes_reports(report):
    _validate(report)


def test_schema_is_a_schema_of_its_draft():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def _walk(value, path=()):
    """Paths of all mappings in a value, and of the first item of all sequences."""
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list) and value:
        yield from _walk(value[0], (*path, 0))


def _at(value, path):
    for key in path:
        value = value[key]
    return value


_BY_NAME = ("settings", "versions", "labels", "confusion", "breakdowns", "intervals", *REPORT["errors"])
"""Mappings whose keys come from data or options, or may be missing."""
FIXED = [path for path in _walk(REPORT) if not path or path[-1] not in _BY_NAME]
FIXED = [path for path in FIXED if path[:1] not in (("settings",), ("confusion",)) and path[-2:] != ("exact", "labels")]


@pytest.mark.parametrize("path", FIXED, ids=lambda path: ".".join(map(str, path)) or "report")
def test_schema_refuses_keys_that_are_missing_or_unknown(path):
    report = copy.deepcopy(REPORT)
    part = _at(report, path)
    part["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError, match="unknown"):
        _validate(report)
    del part["unknown"]
    _validate(report)
    for key in list(part):
        value = part.pop(key)
        with pytest.raises(jsonschema.ValidationError, match="required property"):
            _validate(report)
        part[key] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("report_version",), 2),
        (("kind",), "annotation"),
        (("seconds",), -1),
        (("counts", "documents"), 1.5),
        (("counts", "tokens"), -1),
        (("exact", "default", "micro", "f1"), 1.2),
        (("exact", "strict", "labels", "PER", "found"), "5"),
        (("tokens", "accuracy"), None),
        (("samples", 0, "kind"), "other"),
        (("samples", 0, "gold"), {}),
        (("calibration", "labels", "PER", "curve"), [[0.5, 1.0]]),
        (("calibration", "thresholds", "labels", "PER"), 2),
        (("intervals", "exact.default.micro.f1"), [0.5]),
        (("intervals", "other"), [0.1, 0.2]),
        (("settings", "x"), {"y": {"z": 1}}),
        (("errors", "missed"), {"PER": -1}),
        (("listed", "duplicate_ids"), ["x"] * 101),
        (("confusion", "PER"), {"PER": None}),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_schema_refuses_values_of_another_kind(path, value):
    report = copy.deepcopy(REPORT)
    _at(report, path[:-1])[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        _validate(report)
