"""A small world for cycles: a champion that knows people, files to annotate, gates, and labels of places to come."""

import json
import os
import shutil
from pathlib import Path

from pipelines.__main__ import main
from tests.pipelines.learners import GATES, NEW, OLD, write_conll

CONFIG = """
state = "{world}/state"
registry = "{world}/registry"
reannotate = "{reannotate}"

[annotate]
input = ["{world}/incoming"]
output = "{world}/entities"
max-restarts = 0
progress = false

[drift]
reference = "{reference}"
replicates = 20

[adapt]
labels = ["{world}/labels"]
dev = ["{world}/dev.conll"]
continual = {continual}
remember = ["buffer:size=40"]
epochs = 6
patience = 6
learning-rate = 5e-3
batch-size = 8
max-tokens = 16

[promote]
gates = "{world}/gates.toml"
"""

UNLABELLED = [(words, ["O"] * len(words)) for words, _ in OLD]
"""What teaches a tagger to forget people."""


def make_world(folder: Path, base: Path) -> Path:
    """Makes a world with a champion."""
    (folder / "incoming").mkdir(parents=True)
    write_conll(folder / "old.conll", OLD[:24])
    write_conll(folder / "new.conll", NEW[:24])
    write_conll(folder / "dev.conll", [*OLD[:3], *NEW[:3]])
    write_conll(folder / "people.conll", OLD)
    write_conll(folder / "people-dev.conll", OLD[:6])
    words = ["--train", folder / "people.conll", "--dev", folder / "people-dev.conll", "--base", base]
    words += ["--output", folder / "champion", "--epochs", 6, "--learning-rate", "5e-3", "--batch-size", 8]
    assert main(["train", *map(str, words), "--max-tokens", "16", "--remember", "buffer:size=40"]) == 0
    registry = ["--registry", str(folder / "registry")]
    assert main(["registry", "add", str(folder / "champion"), *registry]) == 0
    digest = champion_of(folder) or json.loads(next((folder / "registry/records").iterdir()).read_text())["digest"]
    assert main(["registry", "promote", digest, "--force", "the first one", *registry]) == 0
    return folder


def copy_world(world: Path, folder: Path, **options: object) -> Path:
    """Another world like one, with the files of a config and of gates; options are those of `write_config`."""
    shutil.copytree(world, folder)
    (folder / "gates.toml").write_text(GATES.format(old=folder / "old.conll", new=folder / "new.conll"))
    write_config(folder, **options)
    return folder


def copy_busy_world(world: Path, folder: Path, *, reannotate: str) -> Path:
    """As `copy_world`, with a cycle behind it and everything to do for the second one."""
    copy_world(world, folder, reannotate=reannotate)
    write_texts(folder, "a")
    assert cycle(folder) == 0
    write_texts(folder, "b")
    write_labels(folder, "monday", NEW)
    return folder


def write_config(
    world: Path, *, reannotate: str = "none", reference: str = "first", continual: str = '["replay:share=0.5"]'
) -> Path:
    path = world / "cycle.toml"
    path.write_text(CONFIG.format(world=world, reannotate=reannotate, reference=reference, continual=continual))
    return path


def write_texts(world: Path, name: str, line: str = "anna went to rome .") -> None:
    """A file to annotate, which is as old wherever and whenever it is written."""
    path = world / "incoming" / f"{name}.txt"
    path.write_text(f"{line}\n" * 6)
    os.utime(path, (1, 1))


def write_labels(world: Path, name: str, sentences: list) -> None:
    """Labelled files, and beside them what `spanmill import` writes too."""
    folder = world / "labels" / name
    folder.mkdir(parents=True)
    write_conll(folder / "train.conll", sentences)
    (folder / "labelled.parquet").write_bytes(b"PAR1")
    (folder / "import.json").write_text("{}")


def cycle(world: Path, *arguments: str) -> int:
    """Runs the command, in this very process."""
    return main(["cycle", "--config", str(world / "cycle.toml"), *arguments])


def read_history(world: Path) -> list[dict]:
    """The history of the registry."""
    return [json.loads(path.read_text()) for path in sorted((world / "registry" / "history").glob("*.json"))]


def champion_of(world: Path) -> str:
    """The digest of the champion; empty for none."""
    history = read_history(world)
    return history[-1]["champion"] if history else ""


def results_of(world: Path, number: int, state: str = "state") -> dict[str, dict]:
    """What the steps of a cycle came to."""
    folder = world / state / "cycles" / f"{number:08d}"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def outcomes_of(world: Path, number: int) -> dict[str, str]:
    return {name: value["outcome"] for name, value in results_of(world, number).items() if name != "begin"}


def describe(world: Path) -> dict[str, object]:
    """All that is alike in a world, at the same place, in which the same was done: times are left out."""
    runs = {
        str(path.relative_to(world)): path.read_bytes()
        for path in (world / "entities").rglob("*")
        if path.is_file() and (path.parent.name in ("data", "dead") or path.name == "_SUCCESS")
    }
    documents = {
        str(path.relative_to(world)): _strip(json.loads(path.read_text()))
        for folder in ("registry/history", "registry/refusals", "registry/records", "state/cycles")
        for path in (world / folder).rglob("*.json")
    }
    return {**runs, **documents}


def _strip(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if key not in ("at", "token", "seconds")}
    return [_strip(item) for item in value] if isinstance(value, list) else value
