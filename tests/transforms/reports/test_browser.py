"""The pages in a real browser: what they load, run, show and let people reach.

One headless Chromium opens each page from a file, as a reader does.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transforms.reports.conftest import HOSTILE, RUN, TALLY, make_sample
from tests.transforms.reports.drifts import make_drift
from tests.transforms.reports.evaluations import MANY_LABELS, make_hostile_report, make_report, make_void_report
from tests.transforms.reports.labelled import make_labels
from tests.transforms.reports.trainings import make_training
from transforms.reports.annotation import build_report, render_html
from transforms.reports.drift import render_drift
from transforms.reports.evaluation import render_evaluation
from transforms.reports.labels import render_labels
from transforms.reports.training import render_training

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
TITLES = dict.fromkeys(("evaluation", "hostile", "void"), "Evaluation report")
TITLES["annotation"] = f"Annotation report {RUN['fingerprint']}"
TITLES |= {"training": "Training report", "labels": "Labelled files", "drift": "Drift between two runs"}
PHONE, DESK, PAPER = 390, 1280, 720
READABLE = 4.5
"""Contrast of text with its background that WCAG 2.2 asks for at level AA."""

MEASURE_CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function paint(color, under) {
  canvas.clearRect(0, 0, 1, 1);
  for (const layer of [under, color]) { if (layer) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); } }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
const css = (rgb) => `rgb(${rgb.join(",")})`;
function ground(element) {
  const parents = [];
  for (let at = element; at; at = at.parentElement) parents.unshift(getComputedStyle(at).backgroundColor);
  return parents.reduce((under, color) => css(paint(color, under)), "white");
}
function light(rgb) {
  const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const worst = {};
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest("svg")) continue;
  const style = getComputedStyle(element);
  const under = ground(element);
  const pair = [light(paint(style.color, under)), light(paint(under))].sort();
  const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  const name = element.tagName.toLowerCase() + "." + element.className;
  if (!(worst[name] < ratio)) worst[name] = ratio;
}
return worst;
"""

FIND_OVERFLOW = """
const wide = [...document.querySelectorAll("body *")].filter((element) =>
  !element.closest(".scroll") && !element.closest(".skip") && element.getBoundingClientRect().right > innerWidth + 1);
return [document.documentElement.scrollWidth - innerWidth, wide.map((element) => element.className || element.tagName)];
"""


@pytest.fixture(scope="module")
def driver() -> Iterator:
    if not BROWSER or not DRIVER:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    sample = make_sample(
        "Ada Lovelace in London", ("Ada Lovelace", "PER"), ("London", "ORG"), gold=(("London", "LOC"),)
    )
    hostile = " ".join([*HOSTILE, "\u202e{{7*7}}\x00\x1b[31m", "x" * 200])
    written = {
        "annotation": render_html(build_report(TALLY, run=RUN), [sample]),
        "evaluation": render_evaluation(make_report()),
        "hostile": render_evaluation(make_hostile_report(hostile)),
        "void": render_evaluation(make_void_report()),
        "many": render_evaluation(make_report(MANY_LABELS)),
        "training": render_training(make_training(names=("a/dev.conll", hostile))),
        "labels": render_labels(make_labels(hostile)),
        "drift": render_drift(make_drift(hostile)),
    }
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


@pytest.fixture(params=TITLES)
def page(request, driver, pages):
    """A page that is open, and its name."""
    _resize(driver, DESK)
    _open(driver, pages[request.param])
    return request.param


def _open(driver, path):
    driver.get_log("performance")
    driver.get_log("browser")
    driver.get(path.as_uri())


def _resize(driver, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _prefer(driver, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _events(driver):
    return [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]


def test_page_requests_nothing_but_itself(page, driver, pages):
    events = [event for event in _events(driver) if event["method"] == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in events]
    assert [url for url in urls if not url.startswith("data:")] == [pages[page].as_uri()]


def test_page_runs_no_script_and_reports_no_errors(page, driver):
    from selenium.common.exceptions import NoAlertPresentException

    assert driver.title == TITLES[page]
    assert driver.execute_script("return document.scripts.length") == 0
    assert driver.execute_script("return document.images.length") == 0
    with pytest.raises(NoAlertPresentException):
        driver.switch_to.alert.text  # noqa: B018 - looking for the alert is what raises
    assert driver.get_log("browser") == []


def test_policy_stops_a_script_that_got_in(driver, pages, tmp_path):
    bad = tmp_path / "bad.html"
    text = pages["evaluation"].read_text(encoding="utf-8")
    bad.write_text(
        text.replace("</main>", "<script>document.title = 'run'</script><img src='http://x.example/'></main>")
    )
    _open(driver, bad)
    assert driver.title == TITLES["evaluation"]
    failures = [event["params"] for event in _events(driver) if event["method"] == "Network.loadingFailed"]
    assert [failure["blockedReason"] for failure in failures] == ["csp"]
    assert len([entry for entry in driver.get_log("browser") if "Content Security Policy" in entry["message"]]) == 2


def test_every_link_leads_to_a_place_on_the_page(page, driver):
    targets = "return [...document.links].map((a) => [a.getAttribute('href'), !!document.querySelector(a.hash)])"
    links = driver.execute_script(targets)
    assert links
    assert [href for href, found in links if not found] == []


def test_tab_reaches_every_link_and_every_region_that_scrolls(page, driver):
    from selenium.webdriver import ActionChains, Keys

    mark = "document.querySelectorAll('a, summary, [tabindex]').forEach((element, k) => element.dataset.stop = k)"
    driver.execute_script(mark)
    visible = "[...document.querySelectorAll('[data-stop]')].filter((element) => element.checkVisibility())"
    wanted = driver.execute_script(f"return {visible}.map((element) => element.dataset.stop)")
    driver.execute_script(
        "window.stops = []; document.addEventListener('focusin', (event) => stops.push(event.target.dataset.stop))"
    )
    ActionChains(driver, duration=0).send_keys(Keys.TAB * len(wanted)).perform()
    assert driver.execute_script("return window.stops") == wanted


def test_skip_link_shows_itself_and_leads_to_the_figures(driver, pages):
    from selenium.webdriver import ActionChains, Keys

    _open(driver, pages["evaluation"])
    ActionChains(driver, duration=0).send_keys(Keys.TAB).perform()
    left, outline = driver.execute_script(
        "const e = document.activeElement; return [e.getBoundingClientRect().left, getComputedStyle(e).outlineStyle]"
    )
    assert left >= 0
    assert outline == "solid"
    ActionChains(driver, duration=0).send_keys(Keys.ENTER).perform()
    assert driver.current_url.endswith("#main")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_page_is_not_wider_than_its_window(page, driver, width):
    _resize(driver, width)
    driver.execute_script("document.querySelectorAll('details').forEach((element) => element.open = true)")
    assert driver.execute_script(FIND_OVERFLOW) == [0, []]


def test_first_screen_tells_how_good_and_where_to_look(driver, pages):
    _resize(driver, DESK)
    _open(driver, pages["evaluation"])
    for selector in (".lede", ".headline .main .value", ".headline .figure:last-child"):
        find = f"return document.querySelector('{selector}').getBoundingClientRect().bottom"
        assert driver.execute_script(find) < 800


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(page, driver, scheme):
    _prefer(driver, scheme)
    driver.execute_script("document.querySelectorAll('details').forEach((element) => element.open = true)")
    ratios = driver.execute_script(MEASURE_CONTRAST)
    assert len(ratios) > 10
    assert {name: ratio for name, ratio in ratios.items() if ratio < READABLE} == {}


def test_page_follows_the_preferred_colours(page, driver):
    colours = {}
    for scheme in ("light", "dark"):
        _prefer(driver, scheme)
        colours[scheme] = driver.execute_script(
            "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
        )
    assert colours["light"][0] != colours["dark"][0]
    assert colours["light"][1] != colours["dark"][1]


@pytest.fixture
def printed(driver):
    _resize(driver, PAPER)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    yield driver
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("name", ["evaluation", "annotation", "many", "training"])
def test_print_fits_on_paper_and_shows_what_is_folded(printed, pages, name):
    _open(printed, pages[name])
    assert printed.execute_script(FIND_OVERFLOW) == [0, []]
    find = "return [...document.querySelectorAll('details table, article')].map((one) => one.offsetHeight)"
    heights = printed.execute_script(find)
    assert heights
    assert all(heights)
    assert not printed.execute_script("return document.querySelector('nav').offsetHeight")
