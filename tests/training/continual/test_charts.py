from xml.etree import ElementTree

from training.continual.charts import draw_matrices, draw_sequences

TASKS = ("news", "tweets")
MATRICES = {"naive": [[0.91, 0.22], [0.53, 0.84]], "<replay>": [[0.91, 0.22], [0.88, 0.83]]}


def _texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def test_matrices_show_every_number_in_percent_under_its_way():
    texts = _texts(draw_matrices(MATRICES, TASKS))
    assert {"naive", "<replay>", *TASKS} <= set(texts)
    assert sorted(text for text in texts if text.isdigit()) == sorted(["91", "22", "53", "84", "91", "22", "88", "83"])


def test_sequences_have_a_panel_per_task_and_a_line_per_way():
    svg = draw_sequences(MATRICES, TASKS)
    texts = _texts(svg)
    assert {"naive", "<replay>"} <= set(texts)
    assert texts.count("news") == 3
    assert svg == draw_sequences(MATRICES, TASKS)
