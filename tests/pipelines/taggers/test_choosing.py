"""`spanmill annotate --tagger`: taggers without labelled data, alone and beside each other.

The language model is a stand-in behind a real socket: it names the capitalised words of a text.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines import evaluate
from pipelines.__main__ import main
from schemas.errors import ConfigError
from tests.pipelines.conftest import read_dead, read_report, read_rows, run_folder
from tests.transforms.models.language.chat_server import ChatServer, completion, fail, hold, reply

TEXTS = ("Anna went to see Otto", "nobody came", "then Mia left for Rome")


class NamingServer(ChatServer):
    """Answers with the capitalised words of a text as people."""

    def answer(self, handler, body):
        text = body["messages"][-1]["content"].removeprefix("Text: ")
        reply(handler, 200, completion(json.dumps({"PER": re.findall(r"\b[A-Z]\w+", text)})))


@pytest.fixture
def server():
    server = NamingServer()
    yield server
    server.close()


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(TEXTS)))
    return path


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("name,label\nRome,LOC\nMia,PER\n")
    return path


def _command(texts, output, *more):
    return ["annotate", "--input", str(texts), "--output", str(output), "--no-progress", *map(str, more)]


def _annotate(texts, output, *more, status=0):
    assert main(_command(texts, output, "--max-restarts", "0", *more)) == status
    return output


def _ask(server, options=""):
    return ("--tagger", f"prompt:endpoint={server.url},attempts=2{options}", "--model", "tiny", "--labels", "PER")


def _found(rows, column="entities"):
    return [[entity["text"] for entity in row[column]] for row in rows]


def test_a_gazetteer_tags_without_a_model(texts, names, tmp_path):
    rows = read_rows(_annotate(texts, tmp_path / "out", "--tagger", f"gazetteer:file={names}"))
    assert _found(rows) == [[], [], ["Mia", "Rome"]]
    assert [entity["label"] for entity in rows[2]["entities"]] == ["PER", "LOC"]


def test_a_language_model_tags_what_it_names(texts, server, tmp_path):
    output = _annotate(texts, tmp_path / "out", *_ask(server))
    assert _found(read_rows(output)) == [["Anna", "Otto"], [], ["Mia", "Rome"]]
    counts = read_report(output)["counts"]
    assert counts["prompts"] == counts["answers/strict"] == 3
    assert counts["mentions/exact"] == 4
    page = (run_folder(output) / "report" / "report.html").read_text()
    assert "mentions/exact" in page


def test_taggers_beside_each_other_have_a_column_each(texts, names, server, tmp_path):
    taggers = ("--tagger", f"gazetteer:file={names}", f"llm=prompt:endpoint={server.url}")
    output = _annotate(texts, tmp_path / "out", *taggers, "--model", "tiny", "--labels", "PER")
    rows = read_rows(output)
    assert _found(rows, "entities_gazetteer") == [[], [], ["Mia", "Rome"]]
    assert _found(rows, "entities_llm") == [["Anna", "Otto"], [], ["Mia", "Rome"]]
    assert read_report(output)["counts"]["llm/prompts"] == 3


def test_runs_of_taggers_with_names_are_compared(texts, names, tmp_path, capsys):
    folders = []
    for case in ("exact", "fold"):
        spec = f"gazetteer:file={names},case={case}"
        output = _annotate(texts, tmp_path / case, "--tagger", f"a={spec}", f"b=gazetteer:file={names}")
        folders.append(str(run_folder(output)))
    assert main(["compare", *folders, "--output", str(tmp_path / "compared")]) == 0
    assert "a/LOC" in capsys.readouterr().out


def test_one_of_several_taggers_is_scored(texts, names, tmp_path):
    gold = tmp_path / "gold.jsonl"
    spans = [[(0, 4), (17, 21)], [], [(5, 8), (18, 22)]]
    lines = [
        {"id": str(at), "text": text, "gold": [{"start": a, "end": b, "label": "PER"} for a, b in spans[at]]}
        for at, text in enumerate(TEXTS)
    ]
    gold.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "other.csv").write_text("name,label\nOtto,PER\nnobody,PER\n")
    taggers = ("--tagger", f"a=gazetteer:file={names}", f"b=gazetteer:file={tmp_path / 'other.csv'}")
    output = _annotate(texts, tmp_path / "out", *taggers)
    words = ["evaluate", "--gold", str(gold), "--gold-column", "gold", "--predicted", str(output), "--no-progress"]
    assert main([*words, "--output", str(tmp_path / "scores"), "--tagger", "b"]) == 0
    micro = json.loads((tmp_path / "scores" / "report.json").read_text())["exact"]["default"]["micro"]
    assert (micro["precision"], micro["recall"]) == (0.5, 0.25)
    with pytest.raises(ConfigError, match=r"a tagger of the run, found 'c' and \['a', 'b'\]"):
        evaluate.main([*words[1:], "--output", str(tmp_path / "none"), "--tagger", "c"])


def test_a_document_without_an_answer_is_a_dead_letter(texts, server, tmp_path):
    server.misbehave("Text: nobody came", fail(500), fail(500))
    output = _annotate(texts, tmp_path / "out", *_ask(server), "--max-failed-fraction", "0.5")
    assert [row["id"] for row in read_rows(output)] == ["0", "2"]
    [letter] = read_dead(output)
    assert (letter["id"], letter["stage"]) == ("1", "annotate")


def test_a_server_is_asked_many_at_a_time_however_often_the_run_was_stopped(texts, server, tmp_path):
    words = (texts, tmp_path / "out", *_ask(server, ",concurrency=3,answers=none"))
    run = run_folder(_annotate(*words))
    for name in ("_SUCCESS", "_MANIFEST.json"):
        (run / name).unlink()
    for name in ("_commits", "data"):
        shutil.rmtree(run / name)
    [claim] = (run / "_claims").iterdir()
    shutil.copy(claim, claim.with_suffix(".2"))
    everyone = threading.Barrier(3)

    def meet(handler, body):
        everyone.wait(20)
        server.answer(handler, body)

    server.always(meet)
    _annotate(*words)
    assert len(read_rows(tmp_path / "out")) == 3


def test_answers_are_never_paid_for_twice(texts, server, tmp_path):
    _annotate(texts, tmp_path / "out", *_ask(server))
    asked = server.requests.total()
    assert main(_command(texts, tmp_path / "out", *_ask(server), "--threshold", "0.5")) == 0
    assert server.requests.total() == asked == 3
    assert len(list((tmp_path / "out").glob("run=*"))) == 2


def test_a_killed_run_asks_only_for_what_was_not_answered(tmp_path, server):
    texts = tmp_path / "many.jsonl"
    texts.write_text("".join(json.dumps({"text": f"Anna saw number {at}"}) + "\n" for at in range(12)))
    go_on = threading.Event()
    slow = {f"Text: Anna saw number {at}" for at in (7, 9)}
    for prompt in slow:
        server.misbehave(prompt, hold(go_on))
    words = _command(texts, tmp_path / "out", *_ask(server, ",concurrency=3"), "--max-restarts", "0")
    process = subprocess.Popen([sys.executable, "-m", "pipelines", *words], start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while server.requests.total() < 12 and time.monotonic() < deadline:
            time.sleep(0.05)
        kept = list((tmp_path / "out" / "answers").rglob("*.json"))
        assert len(kept) <= 10
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        go_on.set()
    before = server.requests.copy()
    assert main(words) == 0
    again = server.requests - before
    assert set(again) >= slow
    assert again.total() == 12 - len(kept)
    assert len(read_rows(tmp_path / "out")) == 12


def test_secrets_of_an_endpoint_are_written_nowhere(texts, server, tmp_path, capfd):
    url = server.url.replace("http://", "http://user:hunter2@")
    _annotate(texts, tmp_path / "out", "--tagger", f"prompt:endpoint={url}", "--model", "tiny", "--labels", "PER")
    assert server.headers[0]["Authorization"].startswith("Basic ")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if b"hunter2" in path.read_bytes()]
    assert "hunter2" not in "".join(capfd.readouterr())


def test_descriptions_and_examples_come_from_files(texts, server, tmp_path):
    (tmp_path / "labels.toml").write_text('PER = "people"\n')
    (tmp_path / "train.conll").write_text("Eva\tB-PER\nslept\tO\n")
    more = ("--label-file", tmp_path / "labels.toml", "--shots", "1", "--examples", tmp_path / "train.conll")
    tagger = ("--tagger", f"prompt:endpoint={server.url}", "--model", "tiny")
    _annotate(texts, tmp_path / "out", *tagger, *more)
    messages = server.bodies[0]["messages"]
    assert "PER: people" in messages[0]["content"]
    assert messages[1:3] == [
        {"role": "user", "content": "Text: Eva slept"},
        {"role": "assistant", "content": '{"PER": ["Eva"]}'},
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tagger", "prompts"], "--tagger to name one of .*did you mean 'prompt'"),
        (["--tagger", "prompt:shot=3"], "options .* of --tagger prompt, found 'shot'; did you mean 'shots'"),
        (["--tagger", "prompt:endpoint=http://x/v1"], "--labels or --label-file .*found neither"),
        (["--tagger", "prompt", "--labels", "PER"], "--model with a language model"),
        (["--tagger", "prompt:endpoint=http://x/v1", "--labels", "PER,PER"], "each label once"),
        (["--tagger", "prompt:endpoint=http://x/v1", "--labels", "PER"], "the name of a model"),
        (
            ["--tagger", "prompt:endpoint=http://x/v1,template=marks", "--model", "m", "--labels", "PER"],
            "grammars=llama.cpp or vllm for template 'marks'",
        ),
        (
            ["--tagger", "prompt:endpoint=http://x/v1,choice=bm25", "--labels", "PER"],
            "--shots of 1 or more with choice",
        ),
        (["--tagger", "prompt:endpoint=http://x/v1", "--labels", "O"], "other than 'O'"),
        (["--tagger", "prompt:endpoint=http://x/v1", "--labels", "PER;ORG"], "labels with commas"),
        (["--tagger", "prompt", "--labels", "PER", "--decoder", "argmax"], "--decoder with --tagger model"),
        (["--tagger", "gazetteer", "--device", "cuda"], "--device with --tagger gliner or model or prompt"),
        (["--tagger", "gazetteer"], "found none"),
        (["--labels", "PER"], "--labels with --tagger .*prompt.*, found it with model"),
        (["--tagger", "model", "model"], "different names, found \\['model'\\] twice"),
        (["--tagger", "a b=model"], "a name of letters"),
        (["--tagger", "model", "--adapter", "x"], "--tagger or --adapter, found both"),
        (["--tagger", "a=model", "--tune"], "a single model with --tune"),
    ],
)
def test_options_that_do_not_go_together_are_refused(texts, tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        _parse(texts, tmp_path, words)


def test_examples_with_other_labels_are_refused(texts, server, tmp_path):
    (tmp_path / "train.conll").write_text("Eva\tB-person\nslept\tO\n")
    words = [*_ask(server), "--shots", "1", "--examples", str(tmp_path / "train.conll")]
    with pytest.raises(ConfigError, match=r"some of the labels .*'PER'.*found .*'person'"):
        _parse(texts, tmp_path, words)


def _parse(texts, tmp_path, words):
    from pipelines import annotate

    annotate.main(_command(texts, tmp_path / "out", *words)[1:])
