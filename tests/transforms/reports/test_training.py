"""The page of a training."""

import json

import pytest

from schemas.manifest import dump_json
from tests.transforms.reports.conftest import HOSTILE, Page
from tests.transforms.reports.trainings import make_training
from transforms.reports.training import describe_gain, find_notices, rank_labels, render_training

REPORT = make_training()
PAGE = render_training(REPORT)


def texts_of(page):
    return " ".join(" ".join(Page(page).texts).split())


def test_render_training_is_balanced_and_inert():
    page = Page(PAGE)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith("#")


def test_render_training_leads_every_link_to_a_section():
    page = Page(PAGE)
    ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    links = [attrs["href"].removeprefix("#") for attrs in page.find("a")]
    assert set(links) == {"main", "curves", "scores", "mistakes", "data", "settings"}
    assert set(links) <= ids


@pytest.mark.parametrize("label", HOSTILE)
def test_render_training_escapes_names_and_labels(label):
    harmless = Page(render_training(make_training(("x", "ORG"), names=("x",))))
    page = Page(render_training(make_training((label, "ORG"), names=(label,)) | {"name": label, "command": label}))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert label in "".join(page.texts)


def test_render_training_shows_the_numbers_of_the_run():
    text = texts_of(PAGE)
    for part in (
        "my-encoder",
        "40.0 %",
        "400 of 1,000",
        "5 min 21 s",
        "1.5 GB",
        "spanmill train",
        "2.13.0",
        "12.5 s",
        "all epochs 25.0 s",
    ):
        assert part in text
    for file in REPORT["files"]:
        assert f"{100 * file['after']['micro']['f1']:.1f}" in text
        low, high = file["gain"]["interval"]
        assert f"{100 * low:+.1f} to {100 * high:+.1f}" in text
        assert f"{sum(sum(row.values()) for row in file['errors'].values())} errors" in text


def test_render_training_is_the_same_from_json():
    assert render_training(json.loads(dump_json(REPORT))) == PAGE
    assert render_training(make_training()) == PAGE


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{}],
        [{"loss": 0.5}, {"f1": 0.5}],
        [{"step": 20, "f1": 0.5}],
        [{"step": 1, "epoch": None, "loss": None, "seconds": None}],
        [{"step": 20, "epoch": 1.0, "loss": 0.5, "f1": None, "seconds": None}, {"loss": None, "f1": 0.25}],
    ],
)
def test_render_training_bears_a_history_with_holes(history):
    page = render_training(REPORT | {"history": history})
    assert ("chart-curves" in page) == any(row.get("loss") or row.get("f1") for row in history)


def test_render_training_bears_a_report_without_files():
    page = render_training(REPORT | {"files": []})
    assert "No file was scored." in page
    assert "chart-gains" not in page


def test_render_training_tells_how_files_were_split():
    split = {"given": [0.8, 0.1, 0.1], "found": [0.75, 0.125, 0.125], "sentences": [6, 1, 1], "left_out": 3}
    text = texts_of(render_training(REPORT | {"split": split}))
    assert "80.0 %, 10.0 %, 10.0 % to train" in text
    assert "75.0 %, 12.5 %, 12.5 % found; 3 sentences were left out" in text


def test_describe_gain_speaks_of_the_files_to_choose_on():
    dev = REPORT["files"][0]
    before, after = (f"{100 * dev[side]['micro']['f1']:.1f}" for side in ("before", "after"))
    assert describe_gain(REPORT).startswith(f"Entity F1 went from {before} to {after} (95 % interval ")
    many = REPORT | {"files": [dev, dev]}
    assert describe_gain(many).endswith("as a mean over 2 dev files.")


def test_find_notices_warns_of_what_flatters_or_misleads():
    notices = " ".join(find_notices(REPORT))
    assert "Training stopped after 2 of 5 epochs" in notices
    last = REPORT | {"best_step": 40, "options": {"epochs": 2}}
    assert "more epochs may bring more" in " ".join(find_notices(last))
    rare = REPORT | {"data": [{**REPORT["data"][0], "entities": {"LOC": 30, "ORG": 30, "PER": 2}}]}
    assert "fewer than 10 entities to train on: PER 2." in " ".join(find_notices(rare))
    same = REPORT | {"files": [{**REPORT["files"][0], "gain": {"f1": 0.0, "interval": [-0.1, 0.1]}}]}
    assert "On a/dev.conll the gain is within what chance explains." in list(find_notices(same))
    worse = REPORT | {"files": [{**REPORT["files"][0], "gain": {"f1": -0.2, "interval": [-0.3, -0.1]}}]}
    expected = "On a/dev.conll the checkpoint is worse than before, by more than chance explains."
    assert expected in list(find_notices(worse))


def test_rank_labels_puts_the_frequent_first_and_keeps_those_that_were_not_met():
    report = make_training(("LOC", "PER")) | {"labels": ["LOC", "PER", "ZZZ"]}
    assert rank_labels(report) == ["LOC", "PER", "ZZZ"]
