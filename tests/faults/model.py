"""M44 to M48: models that run out of memory, answer nonsense, carry code, or are shared between threads."""

import json
import os
import pickle
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.harness import Bench, Row
from tests.pipelines.conftest import WORDS
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig


def run_out_of_memory(bench: Bench) -> str:
    """M44: batches that do not fit, and windows that do not fit alone."""
    job = bench.job(output="halved")
    ended = job.run("run_out_of_memory=200")
    assert ended.count("pass") > bench.workshop.undisturbed.count("pass"), "no batch was tried again"
    # The same windows in other batches: scores may differ in their last digits.
    job.check(ended, score_tolerance=1e-5)
    golden = bench.workshop.golden
    most = 20
    dead = {key: "too_large" for key, row in golden.items() if row["tokens"] + 2 > most}
    assert 0 < len(dead) < len(golden)
    job = bench.job("--max-failed-fraction=1", "--batch-tokens=1", output="dead")
    job.check(job.run(f"run_out_of_memory={most}"), dead=dead, score_tolerance=1e-5)
    return f"retried in halves, same rows; {len(dead)} single windows too large: dead"


def answer_nonsense(bench: Bench) -> str:
    """M46."""
    job = bench.job()
    for fault, words in (("answer_short=3", "expected probabilities of shape"), ("answer_nan=4", "found NaN")):
        ended = job.run(fault)
        assert ended.status == 1, f"{fault} was taken for an answer"
        assert words in ended.reason()
        job.check_unfinished()
    job.check(job.run())
    return "wrong count and NaN: exit 1 in one line, nothing written of it"


class _Payload:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


def load_unsafe_models(bench: Bench) -> str:
    """M47."""
    trap = bench.folder / "unpickled"
    models = {name: Path(shutil.copytree(bench.workshop.model, bench.folder / name)) for name in _UNSAFE}
    (models["pickled"] / "model.safetensors").unlink()
    (models["pickled"] / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(trap)))
    _change_config(models["remote"], auto_map={"AutoModelForTokenClassification": "trap.Trap"})
    (models["remote"] / "trap.py").write_text(f"import os\nos.mkdir({str(trap)!r})\n")
    _change_config(models["unlabelled"], id2label=None)
    (models["cut"] / "model.safetensors").write_bytes(b"cut")
    for name, reason in _UNSAFE.items():
        ended = bench.job(model=models[name], output=f"out-{name}").run()
        assert (ended.status, ended.count("load")) == (2, 0), f"model {name} was loaded: {ended.err}"
        assert reason in ended.reason()
        assert not trap.exists(), f"model {name} ran its code"
    return f"{', '.join(_UNSAFE)}: refused with exit 2, no code run"


_UNSAFE = {
    "pickled": "convert the weights to safetensors",
    "remote": "remote code",
    "unlabelled": "id2label",
    "cut": "cannot read model.safetensors",
}


def _change_config(model: Path, **values: object) -> None:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def share_a_tokenizer(bench: Bench) -> str:
    """M48."""
    ended = bench.call(tag_in_threads, bench.workshop.model)
    assert ended.status == 0, ended.last_words()
    assert ended.out.startswith("0 wrong"), ended.out
    return ended.out.strip()


def tag_in_threads(model: Path) -> None:
    """Tags texts of all lengths in four threads at once, each with a tagger around the same model."""
    rng = random.Random(0)
    texts = [[" ".join(rng.choices(WORDS, k=rng.randrange(100))) for _ in range(15)] for _ in range(40)]
    config = configure_tagger(
        find_checkpoint(str(model)),
        backend=BackendConfig(threads=1),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=1024,
    )
    loaded = config.load()

    def count_tokens(part: int) -> list[list[int]]:
        tagger = config.build(loaded)
        return [tagger.tag(some).tokens.tolist() for some in texts[part * 10 : part * 10 + 10]]

    with ThreadPoolExecutor(4) as pool:
        found = [counts for part in pool.map(count_tokens, range(4)) for some in part for counts in some]
    expected = [_count_tokens(text) for some in texts for text in some]
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    print(f"{wrong} wrong of {len(expected)} in 4 threads")


def _count_tokens(text: str) -> int:
    """What the tokenizer makes of a text: some words are in its vocabulary, others are spelt."""
    return sum(1 if word in _VOCABULARY else len(word) for word in text.split())


_VOCABULARY = ("Anna", "Berlin", "in", "lives")


ROWS = (
    Row(
        id="M44",
        injected="out of memory in a pass",
        check=run_out_of_memory,
        mutants=("memory_errors_final",),
        is_fast=True,
    ),
    Row(
        id="M46",
        injected="a window left out, NaN",
        check=answer_nonsense,
        mutants=("answers_zipped",),
        is_fast=True,
    ),
    Row(id="M47", injected="pickles, remote code", check=load_unsafe_models, mutants=("models_unchecked",)),
    Row(id="M48", injected="4 threads, all lengths", check=share_a_tokenizer, mutants=("tokenizer_shared",)),
)
