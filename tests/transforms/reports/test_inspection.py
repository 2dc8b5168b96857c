"""Documents as a page."""

from tests.transforms.reports.conftest import HOSTILE, make_sample
from transforms.reports.excerpts import Sample
from transforms.reports.inspection import render_inspection, shorten
from transforms.reports.terminal import Tones
from transforms.storage.annotations import EntityFilter

ABOUT = {"run": "out/run=1", "progress": "", "versions": {"spanmill": "0.1.0"}}


def render(*samples, wanted=EntityFilter(), about=ABOUT):  # noqa: B008 - frozen
    return render_inspection([shorten(sample, wanted) for sample in samples], wanted, Tones(["PER"]), about)


def test_render_inspection_shows_labels_and_scores_in_the_text():
    page = render(make_sample("Ada met Bob", ("Ada", "PER"), ("Bob", "LOC")), make_sample("", id="empty"))
    assert "2 documents" in page
    assert 'Ada<b class="tag">PER <span class="score">0.99</span></b></mark> met <mark class="found t1"' in page
    assert '<div class="text" dir="auto"></div>' in page


def test_render_inspection_explains_only_the_marks_that_there_are():
    page = render(make_sample("Ada", ("Ada", "PER")))
    assert "not in gold" not in page
    assert "under its threshold" not in page
    sample = make_sample("Ada met Bob", ("Ada", "PER"), ("Bob", "PER"), gold=(("Ada", "LOC"),))
    sample.entities[1]["is_below"] = True
    page = render(sample)
    assert "predicted, not in gold" in page
    assert 'class="spurious t0"' in page
    assert 'class="below t0"' in page


def test_render_inspection_lets_low_scores_stand_out():
    sample = make_sample("Ada met Bob", ("Ada", "PER"), ("Bob", "PER"))
    sample.entities[0]["score"] = 0.25
    page = render(sample, wanted=EntityFilter(below=0.5))
    assert page.count('class="found low t0"') == page.count('class="found faint t0"') == 1
    assert "Scores under <b>0.5</b>" in page


def test_render_inspection_says_how_far_the_run_is():
    assert "2 of 3 slices" in render(about={**ABOUT, "progress": "2 of 3 slices are annotated so far"})


def test_render_inspection_shows_what_is_known_of_a_document_without_text():
    entities = [{"start": 7, "end": 10, "label": "PER", "score": 0.5, "text": "Ada"}]
    page = render(Sample("doc", "a", 3, "", entities, problem="cannot find 'a' any more"))
    assert "The text is not available: cannot find &#39;a&#39; any more" in page
    assert 'Ada<b class="tag">' in page
    assert "7–10" in page


def test_render_inspection_of_nothing_says_so():
    assert "No documents." in render()


def test_render_inspection_escapes_every_string():
    samples = [
        make_sample(f"{bad} x", (bad, bad), gold=(("x", bad),), id=bad, source=bad) for bad in (*HOSTILE, "\x1b[2J")
    ]
    samples += [
        Sample(bad, bad, 0, "", [{"start": 0, "end": 1, "label": bad, "score": 0.5, "text": bad}], problem=bad)
        for bad in HOSTILE
    ]
    wanted = EntityFilter(labels=frozenset(HOSTILE), below=1)
    page = render(*samples, wanted=wanted, about={"run": HOSTILE[0], "progress": HOSTILE[1], "versions": {}})
    assert "<script" not in page
    assert "<img" not in page
    assert "' onload" not in page
    assert "49" not in page.partition("</style>")[2]
    assert "\x1b" not in page
    assert "default-src 'none'" in page
