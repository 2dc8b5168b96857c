"""M49 and M50: corpora of any size in the same memory, and words that must not get out."""

import json
import random
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

from tests.faults.children import find_listeners
from tests.faults.harness import Bench, Row
from tests.pipelines.conftest import WORDS


def grow_the_corpus(bench: Bench) -> str:
    """M49: once and four times as much, evenly and all in one file beside small ones."""
    peaks = {}
    for name, sizes in {"1x": [_SIZE], "4x": [_SIZE] * 4, "skewed": [*[_SIZE // 4] * 4, 3 * _SIZE]}.items():
        (folder := bench.folder / name).mkdir()
        rng = random.Random(0)
        for at, size in enumerate(sizes):
            (folder / f"{at}.txt").write_text("".join(_make_lines(rng, size)))
        job = bench.job("--slice-size=65536", source=folder, output=f"out-{name}")
        ended = job.run("answer_by_rule=0")
        assert ended.status == 0, ended.last_words()
        peaks[name] = ended.total("peak") >> 10
    assert max(peaks.values()) - peaks["1x"] < _SLACK_MIB, f"peaks of {peaks} MiB"
    return f"{_SIZE >> 20} MB: {peaks['1x']} MiB; 4 times that: {peaks['4x']} even, {peaks['skewed']} skewed"


_SIZE, _SLACK_MIB = 2 << 20, 40


def _make_lines(rng: random.Random, n_bytes: int) -> list[str]:
    lines, size = [], 0
    while size < n_bytes:
        lines.append(" ".join(rng.choices(WORDS, k=rng.randrange(60))) + "\n")
        size += len(lines[-1])
    return lines


def look_for_leaks(bench: Bench) -> str:
    """M50: a name in every text, a script in texts, labels and a file's name, and a file that is no UTF-8."""
    model = Path(shutil.copytree(bench.workshop.model, bench.folder / "model"))
    config = json.loads((model / "config.json").read_text())
    tags = [tag.replace("LOC", _SCRIPT) for tag in config["id2label"].values()]
    config |= {"id2label": dict(enumerate(tags)), "label2id": {tag: at for at, tag in enumerate(tags)}}
    (model / "config.json").write_text(json.dumps(config))
    (folder := bench.folder / "in").mkdir()
    name = f"{_SCRIPT.replace('/', '-')}.txt"
    (folder / name).write_bytes(
        b"".join(f"Anna {_CANARY} {_SCRIPT} {at}\n".encode() for at in range(60))
        + f"\xff {_CANARY}\n".encode("latin-1")
    )
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    job = bench.job("--report-documents=20", "--max-failed-fraction=1", source=folder, model=model)
    child = job.start("slow_down=0.5", f"answer_by_rule={vocabulary['Anna']}")
    listeners = []
    while child.is_running():
        listeners += find_listeners(child.pid)
        time.sleep(0.05)
    ended = child.wait()
    job.check(ended, keys=[(name, at) for at in range(61)], dead={(name, 60): "bad_utf8"})
    assert not listeners, f"listens at {sorted(set(listeners))}"
    assert not ended.count("connect"), "connects to somewhere"
    _check_silence(job.folder, ended.out + ended.err)
    _check_report((job.folder / "report/report.html").read_text())
    failed = bench.job(source=folder, model=model, output="failed").run("answer_nan=1")
    assert failed.status == 1, f"exit status {failed.status}"
    assert _CANARY not in failed.out + failed.err, "a text was printed"
    return "canary only in data and report, report inert, no listener" + _run_offline(bench)


_CANARY = "Xylophagus"
_SCRIPT = "<script>alert('pwned')</script>"


def _check_silence(run: Path, told: str) -> None:
    """The words of a text are where entities are written and where documents are shown, and nowhere else."""
    assert _CANARY not in told, "a text was printed"
    for path in run.rglob("*"):
        if path.is_file() and path.parent.name != "data" and path.name != "report.html":
            assert _CANARY.encode() not in path.read_bytes(), f"a text is quoted in {path.relative_to(run)}"


class _Inert(HTMLParser):
    """Notes whatever a page would do by itself that data has asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_script = tag == "script"
        self.found += [f"{tag} {key}" for key, _ in attrs if key.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._is_script and "pwned" in data:
            self.found.append("script")


def _check_report(html: str) -> None:
    assert "pwned" in html, "the report shows no document"
    parser = _Inert()
    parser.feed(html)
    assert not parser.found, f"the report acts: {parser.found}"
    assert "Content-Security-Policy" in html


def _run_offline(bench: Bench) -> str:
    """A run without any network, where the system lets us take it away."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:
        return ""
    job = bench.job(output="offline")
    job.check(job.start(under=[unshare, "-rn"]).wait())
    return ", runs offline"


ROWS = (
    Row(
        id="M49",
        injected="corpus of 1x and 4x, even and skewed",
        check=grow_the_corpus,
        mutants=("everything_kept",),
    ),
    Row(
        id="M50",
        injected="canaries and scripts in data",
        check=look_for_leaks,
        mutants=("text_in_letters", "listens_everywhere"),
    ),
)
