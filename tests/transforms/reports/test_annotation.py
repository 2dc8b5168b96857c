"""The report: sums and the HTML file."""

import dataclasses
import json

import pytest

from schemas.manifest import dump_json
from schemas.receipts import Tally, sum_tallies
from tests.transforms.reports.conftest import HOSTILE, RUN, TALLY, Page, make_sample
from transforms.reports.annotation import build_report, render_html

REPORT = build_report(TALLY, run=RUN)


def test_build_report_sums():
    assert REPORT["documents"] == 900
    assert REPORT["failed_documents"] == 100
    assert REPORT["failed_fraction"] == pytest.approx(0.1)
    assert REPORT["dead_letters"] == 5
    assert list(REPORT["dead_letters_by_error"].items()) == [("TokenizationError", 4), ("ParseError", 1)]
    assert REPORT["entities"] == 2000
    assert list(REPORT["entities_by_label"].items()) == [("PER", 1500), ("LOC", 500)]
    assert REPORT["entities_below_threshold_by_label"] == {"LOC": 30}
    assert REPORT["overhead_fraction"] == pytest.approx(0.25)


def test_build_report_names_the_edges_of_its_histograms():
    assert REPORT["score_histogram"]["edges"] == [k / 20 for k in range(21)]
    assert sum(REPORT["score_histogram"]["by_label"]["LOC"]) == 530
    assert REPORT["length_histogram"]["first_tokens"][:6] == [0, 1, 2, 4, 8, 16]
    assert len(REPORT["length_histogram"]["first_tokens"]) == len(REPORT["length_histogram"]["documents"])
    assert sum(REPORT["length_histogram"]["documents"]) == 900


def test_build_report_shares_time_in_the_order_of_the_stages():
    assert list(REPORT["stages"]) == ["read", "forward", "write"]
    assert REPORT["stages"]["forward"] == {"seconds": 75.0, "share": 0.75}
    assert sum(stage["share"] for stage in REPORT["stages"].values()) == pytest.approx(1.0)


def test_build_report_takes_rates_from_this_start_alone():
    assert REPORT["documents_per_s"] == 20.0
    assert REPORT["tokens_per_s"] == 2500.0
    unknown = {key: value for key, value in RUN.items() if not key.endswith("_this_start")}
    assert build_report(TALLY, run=unknown)["tokens_per_s"] is None
    assert build_report(TALLY, run=RUN | {"seconds": 0.0})["documents_per_s"] is None


def test_build_report_scores_only_with_gold():
    assert REPORT["scores"]["micro"]["f1"] == pytest.approx(2 / 3)
    assert [row["label"] for row in REPORT["scores"]["labels"]] == ["LOC", "PER"]
    assert build_report(dataclasses.replace(TALLY, matches={}), run=RUN)["scores"] is None


def test_build_report_of_a_sum_is_of_the_whole():
    report = build_report(sum_tallies([TALLY, TALLY]), run=RUN)
    assert report["entities"] == 4000
    assert report["failed_fraction"] == REPORT["failed_fraction"]


def test_what_taggers_counted_adds_up_and_is_shown():
    report = build_report(sum_tallies([TALLY, TALLY, dataclasses.replace(TALLY, counts={})]), run=RUN)
    assert report["counts"] == {"mentions/exact": 2_468, "mentions/not-found": 112}
    assert "2,468" in render_html(report, [])
    without = build_report(dataclasses.replace(TALLY, counts={}), run=RUN)
    assert 'id="counts"' not in render_html(without, [])


def test_build_report_is_json():
    assert json.loads(dump_json(REPORT)) == REPORT


def test_render_html_is_balanced_and_inert():
    page = Page(render_html(REPORT, [make_sample("Ada in London", ("Ada", "PER"), gold=(("London", "LOC"),))]))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert page.comments == []
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith("#")
        assert "src" not in attrs


def test_render_html_carries_a_strict_policy():
    [policy] = [attrs["content"] for attrs in Page(render_html(REPORT, [])).find("meta") if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_render_html_refers_to_nothing_outside():
    page = render_html(REPORT, [make_sample("Ada in London", ("Ada", "PER"))])
    for forbidden in ("http://", "https://", "<script", "@import", "url(//", "xmlns"):
        assert forbidden not in page


def test_render_html_uses_every_id_once():
    ids = [attrs["id"] for _, attrs in Page(render_html(REPORT, [])).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {"entities", "quality", "samples", "inputs"} <= set(ids)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_render_html_escapes_everything_from_data(hostile):
    tally = dataclasses.replace(
        TALLY,
        dead={hostile: 1},
        entities={hostile: 5},
        below={hostile: 1},
        scores={hostile: [1] * 20},
        seconds={hostile: 1.0},
        matches={hostile: [1, 1, 1]},
    )
    run = RUN | {
        "fingerprint": hostile,
        "settings": {hostile: hostile, "nested": {hostile: [hostile]}},
        "versions": {hostile: hostile, "spanmill": hostile},
        "model": {"name": hostile, "digest": hostile},
        "inputs": [{"uri": hostile, "size_bytes": 1, "rows": 1}],
    }
    sample = make_sample(f"{hostile} and Ada", (hostile, hostile), gold=(("Ada", hostile),), id=hostile, source=hostile)
    page = render_html(build_report(tally, run=run), [sample])
    read = Page(page)
    assert "<script" not in page
    assert "<img" not in page
    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert not [name for _, attrs in read.tags for name in attrs if name.startswith("on")]
    assert "".join(read.texts).count(hostile) >= 15


def test_render_html_shows_thirty_samples():
    samples = [make_sample(f"Ada {k} met Babbage", ("Babbage", "PER"), id=f"doc-{k}") for k in range(30)]
    page = Page(render_html(REPORT, samples))
    assert len(page.find("article")) == 30
    assert len(page.find("mark", "found")) == 30
    assert {f"doc-{k}" for k in range(30)} <= set(page.texts)


def test_render_html_keeps_the_white_space_of_documents():
    text = "\n  first\n\n\tsecond  \n"
    assert f'<div class="text" dir="auto">{text}</div>' in render_html(REPORT, [make_sample(text)])


def test_render_html_keeps_white_space_between_entities():
    page = render_html(REPORT, [make_sample("Ada\nLovelace  x", ("Ada", "PER"), ("Lovelace", "PER"))])
    assert "</mark>\n<mark" in page
    assert "</mark>  x</div>" in page


def test_render_html_shows_label_and_score():
    [mark] = Page(render_html(REPORT, [make_sample("Ada", ("Ada", "PER"))])).find("mark")
    assert mark["title"] == "PER · score 0.987"


def test_render_html_shows_a_legend_only_with_gold():
    assert "in gold, not predicted" not in render_html(REPORT, [make_sample("Ada", ("Ada", "PER"))])
    assert "in gold, not predicted" in render_html(REPORT, [make_sample("Ada", ("Ada", "PER"), gold=())])


def test_render_html_marks_missed_and_spurious():
    sample = make_sample("Ada in London", ("Ada", "ORG"), gold=(("London", "LOC"),))
    page = Page(render_html(REPORT, [sample]))
    assert page.find("mark", "spurious")[-1]["title"] == "ORG · score 0.987 · not in gold"
    assert page.find("span", "missed")[-1]["title"] == "LOC · gold, not predicted"


def test_render_html_groups_thousands():
    assert "2,000" in render_html(REPORT, [])


def test_render_html_gives_the_same_bytes():
    samples = [make_sample("Ada in London", ("Ada", "PER"), gold=(("London", "LOC"),))]
    assert render_html(REPORT, samples) == render_html(REPORT, samples)


def test_render_html_of_a_report_read_back_is_the_same():
    assert render_html(json.loads(dump_json(REPORT)), []) == render_html(
        REPORT | {"settings": json.loads(dump_json(RUN["settings"]))}, []
    )


def test_render_html_of_an_empty_run():
    empty = build_report(Tally(), run=RUN | {"inputs": [], "seconds": 0.0, "settings": {}, "versions": {}})
    page = Page(render_html(empty, []))
    assert "No entity was found." in page.texts
    assert page.find("svg") == []


def test_build_report_of_an_empty_run_has_no_failures():
    assert build_report(Tally(), run=RUN)["failed_fraction"] == 0.0


def test_render_html_does_not_call_a_dead_file_no_loss():
    page = render_html(build_report(Tally(dead={"ParseError": 1}), run=RUN), [])
    assert "about whole files" in page
    assert "no document was lost" not in page


def test_render_html_of_many_labels_and_inputs():
    labels = {f"label-{k:03d}": 1000 - k for k in range(80)}
    inputs = [{"uri": f"part-{k:04d}", "size_bytes": 10, "rows": 1} for k in range(3000)]
    tally = dataclasses.replace(TALLY, entities=labels, scores={}, below={}, matches={})
    page = render_html(build_report(tally, run=RUN | {"inputs": inputs}), [])
    assert "label-079" in page
    assert "part-0049" in page
    assert "part-0050" not in page
    assert "3,000 files" in page
