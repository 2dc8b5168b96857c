"""Charts of a training: safe to inline, the same bytes every time, and true to their numbers."""

from xml.etree import ElementTree

import pytest

from tests.transforms.reports.conftest import HOSTILE
from transforms.reports.training_charts import draw_curves, draw_gains, read_file_points, read_points

HISTORY = [
    {
        "step": 10 * at,
        "epoch": float(at),
        "loss": 1 / at,
        "learning_rate": 1e-4 / at,
        "f1": 0.5,
        "f1_by_file": {"a": at / 10, "b": at / 20},
    }
    for at in (1, 2, 3)
]


def make_file(name, *, interval):
    score = {"f1": 0.5, "interval": [0.4, 0.6] if interval else None}
    return {"name": name, "before": {"micro": score}, "after": {"micro": score}}


def texts_of(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def dots_of(svg):
    return len(list(ElementTree.fromstring(svg).iter("use")))


def test_draw_curves_draws_a_dot_for_every_number():
    svg = draw_curves(HISTORY, best_step=20)
    assert {"Loss", "Entity F1", "Learning rate"} <= set(texts_of(svg))
    assert dots_of(svg) == 3 * (1 + 2 + 1)
    assert draw_curves(HISTORY, best_step=20) == svg


def test_draw_curves_leaves_out_what_is_not_known():
    svg = draw_curves([{"step": 5, "loss": 0.5}], best_step=5)
    assert "Loss" in texts_of(svg)
    assert not {"Entity F1", "Learning rate"} & set(texts_of(svg))
    assert draw_curves([{}, {"step": 3}], best_step=3) == ""


def test_draw_gains_draws_two_dots_for_every_file():
    svg = draw_gains([make_file("dev.conll", interval=True), make_file("x", interval=False)])
    assert {"dev.conll", "x"} <= set(texts_of(svg))
    assert dots_of(svg) == 4


@pytest.mark.parametrize("name", HOSTILE)
def test_charts_take_any_name(name):
    svg = draw_gains([make_file(name, interval=True)])
    assert not [element for element in ElementTree.fromstring(svg).iter() if element.tag in ("script", "img")]
    assert any(name[:20] in text for text in texts_of(svg))


def test_read_points_counts_rows_where_epochs_are_not_known():
    assert read_points([{"loss": 0.5}, {}, {"loss": 0.25}], "loss") == [(1.0, 0.5), (3.0, 0.25)]


def test_read_file_points_falls_back_on_the_mean():
    assert read_file_points([{"f1": 0.5, "epoch": 1.0}]) == {"": [(1.0, 0.5)]}
    assert read_file_points(HISTORY)["b"] == [(1.0, 0.05), (2.0, 0.1), (3.0, 0.15)]
